"""Options of a destination, shared by `add` and `change`; derived from the fields of `DestinationSettings`."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import typer

from onhook.appdb.destination_spec import PEM_CHARACTERS_MAX, DestinationSettings, field_meta, value_type
from onhook.cli.options import AsyncCommand, option_with_default, optional_parameter, with_options
from onhook.delivery.destinations.kinds import kind_fields
from onhook.lib.certificates import normalize_certificates
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

_FLAG_OF: Mapping[str, str] = MappingProxyType(
    {"timeout_seconds": "--timeout", "headers": "--header", "ca_certificates": "--ca-file"}
)
"""Of fields whose option is shorter than their name; that of `with_…` is without `with`."""

_METAVAR_OF: Mapping[str, str] = MappingProxyType(
    {
        "timeout_seconds": "SECONDS",
        "max_attempts": "N",
        "rate_limit": "N",
        "log_days": "DAYS",
        "ca_certificates": "FILE",
        "fingerprint": "SHA256",
        "proxy": "URL",
    }
)

_ADD_ONLY = frozenset({"kind", "notifies_of", "chosen_by_users"})
"""Fields that a change does not have: the streams of the destination depend on them."""

_OPTION_OF_ITS_OWN = frozenset({"url", "fields"})

_KIND_FIELD_PREFIX = "kind_field_"
"""Of the parameters for fields of one kind, which must differ from those of all kinds."""


def with_destination_options(command: AsyncCommand) -> AsyncCommand:
    """Add the options to a command, which receives the given ones, by field, in `spec_values`."""
    return with_options(command, "spec_values", _options(frozenset()), _parse_options)


def with_destination_change_options(command: AsyncCommand) -> AsyncCommand:
    """Add the options to a command that changes a destination: permissions can be revoked."""
    options = [*_options(_ADD_ONLY), *(optional_parameter(*item) for item in _RESET_OPTIONS.items())]
    return with_options(command, "spec_values", options, _parse_options)


def _options(excluded: frozenset[str]) -> Sequence[inspect.Parameter]:
    return [
        optional_parameter(field.name, _option(field))
        for field in msgspec.structs.fields(DestinationSettings)
        if field.name not in excluded | _OPTION_OF_ITS_OWN
    ] + _kind_options()


def _kind_options() -> list[inspect.Parameter]:
    """Return the options for fields that not all kinds have: one for each name, which has one meaning."""
    kinds: dict[str, list[str]] = {}
    for kind, field in kind_fields():
        kinds.setdefault(field.name, []).append(kind)
    fields = {field.name: field for _kind, field in reversed(kind_fields())}
    return [
        optional_parameter(f"{_KIND_FIELD_PREFIX}{name}", _option(fields[name], ", ".join(kinds[name])))
        for name in kinds
    ]


def _option(field: msgspec.structs.FieldInfo, kind: str = "") -> Any:
    """Return the annotation of the option for a field, of all kinds or of some."""
    flag = _FLAG_OF.get(field.name) or f"--{field.name.removeprefix('with_').replace('_', '-')}"
    description = field_meta(field).description or ""
    help_text = _("{description}; only for {kind}", description=description, kind=kind) if kind else description
    value = value_type(field)
    if value is bool:
        return _flag_option(flag, help_text)
    if value == dict[str, str]:
        return Annotated[list[str] | None, typer.Option(flag, metavar="NAME:VALUE", help=help_text, show_default=False)]
    if value is str:
        option = typer.Option(flag, metavar=_METAVAR_OF.get(field.name, "TEXT"), help=help_text, show_default=False)
        return Annotated[str | None, option]
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    return Annotated[
        value | None,
        option_with_default(flag, metavar=_METAVAR_OF.get(field.name), help_text=help_text, default=default),
    ]


def _flag_option(flag: str, help_text: str) -> Any:
    return Annotated[bool | None, option_with_default(flag, metavar="", help_text=help_text, default="no")]


_RESET_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "no_standard": _flag_option("--no-standard", _("Do not send the headers of Standard Webhooks")),
        "no_private": _flag_option("--no-private", _("Do not allow private addresses")),
        "no_redirects": _flag_option("--no-redirects", _("A redirect is a failed attempt")),
    }
)
# Separate flags: as --x/--no-x they would need a column, and at 80 columns names would be cut.
_RESET_FIELDS: Mapping[str, str] = MappingProxyType(
    {"no_standard": "with_standard_webhooks", "no_private": "allow_private", "no_redirects": "accept_redirects"}
)


def _parse_options(values: dict[str, Any]) -> Mapping[str, Any]:
    """Return the given values. Typer passes an empty list without headers. A revoked permission has precedence."""
    kind_values = {
        name.removeprefix(_KIND_FIELD_PREFIX): value
        for name, value in values.items()
        if name.startswith(_KIND_FIELD_PREFIX)
    }
    fields = {
        name: value
        for name, value in values.items()
        if name not in _RESET_FIELDS and name != "headers" and not name.startswith(_KIND_FIELD_PREFIX)
    }
    if kind_values:
        fields["fields"] = kind_values
    if fields.get("ca_certificates"):
        fields["ca_certificates"] = _read_certificates(fields["ca_certificates"])
    headers = {"headers": dict(map(_parse_header, header_texts))} if (header_texts := values.get("headers")) else {}
    return fields | headers | {field: False for name, field in _RESET_FIELDS.items() if values.get(name)}


def _read_certificates(path: str) -> str:
    """Return the content of a file with certificates. Raises `UsageError`."""
    try:
        with Path(path).open(encoding="ascii", errors="replace") as file:
            return normalize_certificates(file.read(PEM_CHARACTERS_MAX))
    except OSError as error:
        raise UsageError(
            _("cannot read certificates: {error}", error=error.strerror or error),
            location="--ca-file",
            hint=_("name a file with certificates in PEM"),
        ) from error


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(_("a header has no value"), hint=_("write --header 'Name: value'"))
    return name.strip(), value.strip()
