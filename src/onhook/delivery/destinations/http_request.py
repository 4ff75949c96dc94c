"""Requests that templates make of a call, an alarm or an issue, and the id in a response. Pure.

Invariants: a request goes to the host of the destination's URL, whatever its templates say. The same event, with the
same id of the other side, gives the same request. What is announced as JSON is JSON.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from yarl import URL

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec, NotifiesOf, mask_url
from onhook.delivery.destinations.http_transport import TEST_HEADER, OutgoingRequest
from onhook.delivery.destinations.kinds import HttpFields, decode_fields
from onhook.delivery.samples import sample_for, sample_operational_event
from onhook.delivery.template_functions import SecretText, TemplateFailed
from onhook.delivery.template_sandbox import Escape, SandboxedTemplate
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")

URL_CHARACTERS_MAX = 8_000
"""Of a URL that was made; most servers take no longer one."""

HEADER_CHARACTERS_MAX = 4_000
"""Of the value of a header that was made."""

EXTERNAL_ID_CHARACTERS_MAX = 200
"""Longer than the ids of all known systems."""

SECRET_PLACEHOLDER = "SECRET"  # noqa: S105 - stands for one
SAMPLE_TIME = datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC)
_COMMON_VARIABLES = frozenset({"event", "external_id", "is_test", "notification_id", "secret"})
_BODY_ESCAPES: Mapping[str, Escape] = {"application/json": "json", "application/x-www-form-urlencoded": "form"}


class RequestTemplates:
    """The templates of a destination. Raises `UsageError` for one that cannot be compiled."""

    def __init__(self, spec: DestinationSpec) -> None:
        fields: HttpFields = decode_fields(spec, HttpFields)
        self._subject = subject_of(spec.notifies_of)
        self._url = spec.url
        self._content_type = fields.content_type
        variables = _COMMON_VARIABLES | {self._subject}

        def compile_template(source: str, escape: Escape, location: str) -> SandboxedTemplate:
            return SandboxedTemplate(source, escape, variables=variables, location=location)

        self._method = compile_template(fields.request_method, "plain", "request_method")
        self._path = compile_template(fields.request_path, "url", "request_path")
        self._headers = {
            name: compile_template(value, "header", f"headers.{name}") for name, value in spec.headers.items()
        }
        self._body = compile_template(fields.body, _BODY_ESCAPES.get(fields.content_type, "plain"), "body")

    def render(
        self, body: bytes, *, notification_id: str, external_id: str = "", secret: str = "", is_test: bool = False
    ) -> OutgoingRequest:
        """Return the request of a notification with this body. Raises `TemplateFailed`."""
        values = self._variables(
            body, notification_id=notification_id, external_id=external_id, secret=secret, is_test=is_test
        )
        request_body = self._render_body(values)
        headers = {name: self._render_header(name, values) for name in self._headers}
        if request_body is not None:
            headers["Content-Type"] = self._content_type
        if is_test:
            headers[TEST_HEADER] = "true"
        return OutgoingRequest(
            method=self._render_method(values), url=self._render_url(values), headers=headers, body=request_body
        )

    def render_logged(
        self,
        request: OutgoingRequest,
        body: bytes,
        *,
        notification_id: str,
        external_id: str = "",
        is_test: bool = False,
    ) -> OutgoingRequest:
        """Return a request of `render` as the log shows it: what is made with the secret is rendered again, so that it
        does not have it, whatever a template makes of it. Values of headers are not shown. Raises `TemplateFailed`.
        """
        if not any(template.uses("secret") for template in (self._method, self._path, self._body)):
            return request
        values = self._variables(
            body, notification_id=notification_id, external_id=external_id, secret=SECRET_PLACEHOLDER, is_test=is_test
        )
        return msgspec.structs.replace(
            request,
            method=self._render_method(values) if self._method.uses("secret") else request.method,
            url=self._render_url(values) if self._path.uses("secret") else request.url,
            body=self._render_body(values) if self._body.uses("secret") else request.body,
        )

    def _variables(
        self, body: bytes, *, notification_id: str, external_id: str, secret: str, is_test: bool
    ) -> dict[str, Any]:
        event = msgspec.json.decode(body)
        event = event[self._subject] if self._subject != "call" else event
        return {
            self._subject: event,
            "event": event,
            "notification_id": notification_id,
            "external_id": external_id,
            "secret": SecretText(secret),
            "is_test": is_test,
        }

    def _render_method(self, values: Mapping[str, Any]) -> str:
        method = self._method.render(values).strip().upper()
        if method not in METHODS:
            raise TemplateFailed(
                _("{method} is not a method", method=repr(method[:20])),
                location="request_method",
                hint=_("use one of {choices}", choices=", ".join(METHODS)),
            )
        return method

    def _render_url(self, values: Mapping[str, Any]) -> URL:
        path = self._path.render(values).strip()
        text = self._url + path
        url = _parse_url(text) if (not path or path[0] in "/?&") and len(text) <= URL_CHARACTERS_MAX else None
        if url is None:
            raise TemplateFailed(
                _("this is not the path of a URL: {path}", path=repr(path[:80])),
                location="request_path",
                hint=_("begin it with / or ?, without blanks"),
            )
        base = URL(self._url)
        if url.origin() != base.origin():
            raise TemplateFailed(_("the path changes the host"), location="request_path", hint=_("begin it with /"))
        return url

    def _render_header(self, name: str, values: Mapping[str, Any]) -> str:
        value = self._headers[name].render(values).strip()
        if len(value) > HEADER_CHARACTERS_MAX:
            raise TemplateFailed(_("the header {name} is too long", name=name), hint=_("shorten it"))
        return value

    def _render_body(self, values: Mapping[str, Any]) -> bytes | None:
        """Return the body; None where the template makes nothing."""
        text = self._body.render(values).strip()
        if not text:
            return None
        if self._content_type == "application/json":
            try:
                msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError) as error:
                raise TemplateFailed(
                    _("the body is not JSON: {error}", error=error),
                    location="body",
                    hint=_("write texts in quotation marks, and other values with tojson"),
                ) from error
        return text.encode()


def _parse_url(text: str) -> URL | None:
    """Return a URL; None where the text has blanks or other characters, or is none, as with a port of five nines."""
    if not all("!" <= character <= "~" for character in text):
        return None
    try:
        return URL(text)
    except ValueError:
        return None


def subject_of(notifies_of: NotifiesOf) -> str:
    """Return the name that the event has in templates: `call`, `alarm` or `issue`."""
    return notifies_of.removesuffix("s") if notifies_of in OPERATIONAL else "call"


def sample_event(spec: DestinationSpec, now: datetime) -> bytes:
    """Return the body of the notification of an event that never was."""
    if spec.notifies_of in OPERATIONAL:
        return sample_operational_event(spec.notifies_of, now)
    return msgspec.json.encode(sample_for(spec, now))


def describe_request(spec: DestinationSpec, body: bytes, notification_id: str) -> str:
    """Return the request of a notification as a text, with `SECRET` instead of the secret, and without the values of
    headers, which may be keys. Raises `UsageError` where a template fails.
    """
    try:
        request = RequestTemplates(spec).render(body, notification_id=notification_id, secret=SECRET_PLACEHOLDER)
    except TemplateFailed as error:
        raise UsageError(error.message, location=error.location, hint=error.hint) from error
    lines = [f"{request.method} {mask_url(str(request.url))}", *(f"{name}: …" for name in request.headers)]
    return "\n".join([*lines, "", (request.body or b"").decode()])


def check_spec(spec: DestinationSpec) -> None:
    """Check the templates of a destination with a sample event, the first and a later one of its call. Raises
    `UsageError`.
    """
    fields: HttpFields = decode_fields(spec, HttpFields)
    if fields.request_path and "#" in spec.url:
        raise UsageError(_("a URL has nothing after its fragment"), location="url", hint=_("leave out #"))
    templates = RequestTemplates(spec)
    body = sample_event(spec, SAMPLE_TIME)
    for external_id in ("", "1"):
        try:
            templates.render(body, notification_id="sample-1", external_id=external_id, secret="secret")  # noqa: S106 - stands for one
        except TemplateFailed as error:
            raise UsageError(error.message, location=error.location, hint=error.hint) from error


def find_external_id(response: bytes, pointer: str) -> str:
    """Return the text or number at a JSON pointer (RFC 6901) in a response, or an empty text.

    >>> find_external_id(b'{"data": [{"details": {"id": 4711}}]}', "/data/0/details/id")
    '4711'
    >>> find_external_id(b"no JSON", "/id"), find_external_id(b'{"id": {}}', "/id")
    ('', '')
    """
    try:
        value = _resolve(msgspec.json.decode(response), pointer.split("/")[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, ValueError):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return text if len(text) <= EXTERNAL_ID_CHARACTERS_MAX and text.isprintable() else ""


def _resolve(value: Any, names: Sequence[str]) -> Any:
    """Return the member of a value. Raises `LookupError`, `ValueError`."""
    for name in names:
        value = value[int(name)] if isinstance(value, list) else _member(value, name)
    return value


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise LookupError(name)
    return value[name.replace("~1", "/").replace("~0", "~")]
