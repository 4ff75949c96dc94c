"""The form of a destination, filled with the settings of a stored one. Pure.

Invariant: nothing that may be a key is on the page: values of headers and of the query of the URL, and the password of
the proxy. `…` stands for each, keeps the stored one where it stays, and is sent to no other host or proxy than before.
"""

from collections.abc import Mapping

from onhook.appdb.destination_spec import LOG_DAYS_AS_INSTALLATION, mask_url
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import FILTER_NAMES
from onhook.delivery.address_check import check_kept_values
from onhook.lib.errors import UsageError
from onhook.lib.hosts import mask_proxy
from onhook.lib.messages import _

HIDDEN = "…"
"""Stands for a hidden value."""

KIND_FIELD_PREFIX = "field-"
"""Of the names of inputs for fields of one kind; the kind and the field follow."""

FORM_FILTERS = ("since", "number", "status", "extra", "pbx", "type", "did_number", "trunk")
"""Filters of the form; the command line has all."""


def fill_form(destination: Destination) -> dict[str, str]:
    """Return the texts of the form, by the names of its inputs; an empty one is the default."""
    flags = ("allow_private", "accept_redirects", "with_standard_webhooks", "chosen_by_users")
    choices = ("notifies_of", "payload_format", "mask", "method", "retry_policy", "kind")
    texts = ("name", "transform", "ca_certificates", "fingerprint")
    return {
        **{name: _filter_text(getattr(destination.filter, name)) for name in FORM_FILTERS},
        **{name: "true" if getattr(destination, name) else "" for name in flags},
        **{name: getattr(destination, name) for name in (*choices, *texts)},
        "rate_limit": f"{destination.rate_limit:g}" if destination.rate_limit else "",
        "timeout_seconds": f"{destination.timeout_seconds:g}",
        "max_attempts": str(destination.max_attempts),
        "log_days": "" if destination.log_days == LOG_DAYS_AS_INSTALLATION else str(destination.log_days),
        "url": mask_url(destination.url),
        "proxy": mask_proxy(destination.proxy),
        "headers": "\n".join(f"{name}: {HIDDEN}" for name in destination.headers),
        **{f"{KIND_FIELD_PREFIX}{destination.kind}-{name}": str(value) for name, value in destination.fields.items()},
    }


def list_other_filters(destination: Destination) -> dict[str, str]:
    """Return the texts of the filters that are set and that the form does not have."""
    texts = {name: _filter_text(getattr(destination.filter, name)) for name in FILTER_NAMES if name not in FORM_FILTERS}
    return {name: text for name, text in texts.items() if text}


def reveal_hidden(form: Mapping[str, str], stored: Destination) -> dict[str, str]:
    """Return the texts of a form with the stored values in place of hidden ones. Raises `UsageError` where a hidden
    value is left that is none of the stored ones, or would be sent to another host.
    """
    texts = dict(form)
    url_text, proxy_text, headers_text = (texts.get(name, "").strip() for name in ("url", "proxy", "headers"))
    if url_text == mask_url(stored.url):
        texts["url"] = stored.url
    elif HIDDEN in url_text:
        raise UsageError(_("the URL has hidden values"), location="url", hint=_("enter the whole URL"))
    if stored.proxy and proxy_text == mask_proxy(stored.proxy):
        texts["proxy"] = stored.proxy
    elif HIDDEN in proxy_text:
        raise UsageError(_("the proxy has a hidden password"), location="proxy", hint=_("enter the whole address"))
    lines = [_reveal_header(line, stored) for line in headers_text.splitlines()]
    has_hidden_headers = lines != headers_text.splitlines()
    check_kept_values(stored, texts.get("url", ""), texts.get("proxy", "").strip(), has_headers=has_hidden_headers)
    texts["headers"] = "\n".join(lines)
    return texts


def _reveal_header(line: str, stored: Destination) -> str:
    name, _colon, value = line.partition(":")
    if value.strip() != HIDDEN:
        return line
    values = {stored_name.casefold(): stored_value for stored_name, stored_value in stored.headers.items()}
    if name.strip().casefold() not in values:
        raise UsageError(_("a header has no value"), location="headers", hint=_("enter its value"))
    return f"{name.strip()}: {values[name.strip().casefold()]}"


def _filter_text(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    if isoformat is not None:
        return str(isoformat())
    return "" if value is None else str(value)
