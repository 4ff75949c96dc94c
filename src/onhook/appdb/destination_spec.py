"""The specification of a destination, and its validation."""

import base64
import binascii
import re
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from onhook.cdr.number_masking import Mask
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.certificates import normalize_certificates, parse_fingerprint
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.hosts import NO_PROXY, PROXY_CHARACTERS_MAX, UrlHost, parse_proxy, parse_url_host
from onhook.lib.messages import _

Kind = Literal[
    "webhook",
    "http",
    "postgresql",
    "mysql",
    "syslog",
    "email",
    "nats",
    "redis",
    "mqtt",
    "amqp",
    "kafka",
    "files",
    "s3",
    "clickhouse",
    "otlp",
    "odoo",
]
FieldValue = str | int | float | bool
Method = Literal["POST", "GET"]
NotifiesOf = Literal["records", "calls", "alarms", "issues"]
RetryPolicy = Literal["days", "original"]
PayloadFormat = Literal["p-2023", "p-2025", "p-2026", "doc", "object", "flat"]
"""PBX generations whose event format can be written (yeastar-p-series.md 3.2)."""

OPERATIONAL = frozenset({"alarms", "issues"})
"""Subjects that are not calls: their notifications are on no stream, and cannot be replayed or filtered by calls."""

HTTP_FIELDS = frozenset({"headers", "accept_redirects", "fingerprint", "proxy"})
"""Fields that only webhooks and other kinds of HTTP requests have."""

REDIRECT_FIELDS = frozenset({"accept_redirects"})
"""Fields that kinds with a protocol of their own over HTTP do not have: none of them redirects what it has accepted."""

WEBHOOK_FIELDS = frozenset({"method", "payload_format", "with_standard_webhooks"})
"""Fields that only webhooks have. Other kinds declare theirs in `delivery/destinations/kinds.py`; here they are stored
in `fields`, and not decoded.
"""

PLAIN_HTTP_KINDS: frozenset[Kind] = frozenset({"webhook", "http"})

HTTP_KINDS: frozenset[Kind] = PLAIN_HTTP_KINDS | {"s3", "clickhouse", "otlp", "odoo"}
"""Kinds whose address is a URL of HTTP."""

KIND_FIELDS_MAX = 20
"""More than any kind declares."""

TRANSFORM_CHARACTERS_MAX = 8_192
"""Some fifty rules with templates."""

URL_CHARACTERS_MAX = 2_000
"""Longer URLs are cut off by some programs; a PBX stores fewer characters."""

TIMEOUT_SECONDS_LIMITS = (1.0, 120.0)
"""The original allows 3 to 10 (yeastar-p-series.md 4); more than two minutes is no useful time-out."""

MAX_ATTEMPTS_LIMITS = (1, 5)
"""Of the retry policy `original` (yeastar-p-series.md 4)."""

RATE_LIMITS = (0.0, 10_000.0)
"""Notifications per second: more than one destination can be sent."""

LOG_DAYS_MAX = 365
"""Of a destination's log, which is for finding errors; the calls themselves may be kept for longer."""

LOG_DAYS_AS_INSTALLATION = -1
"""The value of a destination without a time of its own."""

SPEC_VERSION = 1
"""Of the JSON of a specification."""

HEADERS_MAX = 20
"""A key or two for a gateway."""

HEADER_CHARACTERS_MAX = 1_000
"""Long enough for a signed token."""

PEM_CHARACTERS_MAX = 65_536
"""Some ten certificate authorities."""

WHSEC_PREFIX = "whsec_"
"""Prefix of a secret of Standard Webhooks; Base64 follows."""

KEY_BYTES_LIMITS = (24, 64)
"""Bytes of a secret of Standard Webhooks, by its specification."""

RESERVED_HEADERS = frozenset(
    {"content-length", "content-type", "host", "transfer-encoding", "connection", "x-signature", "user-agent"}
    | {"webhook-id", "webhook-timestamp", "webhook-signature", "x-onhook-test"}
)
"""Headers that describe the content and its signature: they cannot be set by hand."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


class DestinationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent to a destination, where, and how: its fields, declared here and nowhere else.

    The API's documents, the options of the command line and the form derive from them. `notifies_of` is `records` (one
    notification per record), `calls` (one per call), `alarms` of PBXs, or all `issues`. `retry_policy` is `days`, or
    `original` with `max_attempts`. `mask` is that of external numbers of calls. `headers` are sent in addition. An
    empty `proxy` is that of the configuration. `transform` has the rules of `delivery/record_transform`. `fields` are
    those of the kind, by their names.
    """

    url: Annotated[
        str,
        msgspec.Meta(
            description="URL of its webhook, or address of its server", min_length=1, max_length=URL_CHARACTERS_MAX
        ),
    ]
    kind: Annotated[Kind, msgspec.Meta(description="Kind of destination")] = "webhook"
    notifies_of: Annotated[NotifiesOf, msgspec.Meta(description="Subject of its notifications")] = "records"
    chosen_by_users: Annotated[
        bool, msgspec.Meta(description="Notifies only of what users choose on their page Alerts, of issues alone")
    ] = False
    method: Annotated[Method, msgspec.Meta(description="HTTP method")] = "POST"
    payload_format: Annotated[PayloadFormat, msgspec.Meta(description="Event format")] = "p-2026"
    mask: Annotated[
        Mask,
        msgspec.Meta(description="External numbers: none masked, last3 (three digits hidden), hash (keyed hash)"),
    ] = "none"
    transform: Annotated[
        str,
        msgspec.Meta(
            description="Changes of members of each record, one in a line", max_length=TRANSFORM_CHARACTERS_MAX
        ),
    ] = ""
    timeout_seconds: Annotated[
        float,
        msgspec.Meta(description="Time-out in seconds", ge=TIMEOUT_SECONDS_LIMITS[0], le=TIMEOUT_SECONDS_LIMITS[1]),
    ] = 5.0
    retry_policy: Annotated[
        RetryPolicy, msgspec.Meta(description="Retry policy: ten attempts in three days, or that of a PBX")
    ] = "days"
    max_attempts: Annotated[
        int,
        msgspec.Meta(
            description="Attempts of the policy original, 1 to 5", ge=MAX_ATTEMPTS_LIMITS[0], le=MAX_ATTEMPTS_LIMITS[1]
        ),
    ] = 3
    rate_limit: Annotated[
        float,
        msgspec.Meta(description="Notifications per second at most; 0: no limit", ge=RATE_LIMITS[0], le=RATE_LIMITS[1]),
    ] = 0.0
    log_days: Annotated[
        int,
        msgspec.Meta(
            description="Days that its log is kept; 0: no log, -1: as the installation",
            ge=LOG_DAYS_AS_INSTALLATION,
            le=LOG_DAYS_MAX,
        ),
    ] = LOG_DAYS_AS_INSTALLATION
    headers: Annotated[
        dict[str, str], msgspec.Meta(description="Custom header; repeatable", max_length=HEADERS_MAX)
    ] = {}
    with_standard_webhooks: Annotated[bool, msgspec.Meta(description="Also send the headers of Standard Webhooks")] = (
        False
    )
    fields: Annotated[
        dict[str, FieldValue], msgspec.Meta(description="Fields of its kind, by name", max_length=KIND_FIELDS_MAX)
    ] = {}
    allow_private: Annotated[bool, msgspec.Meta(description="Allow private addresses")] = False
    accept_redirects: Annotated[bool, msgspec.Meta(description="A redirect counts as accepted; it is not followed")] = (
        False
    )
    ca_certificates: Annotated[
        str,
        msgspec.Meta(
            description="Certificates (PEM) that the receiver's must be signed by, instead of the system's",
            max_length=PEM_CHARACTERS_MAX,
        ),
    ] = ""
    fingerprint: Annotated[
        str, msgspec.Meta(description="SHA-256 of the receiver's certificate, which is pinned", max_length=100)
    ] = ""
    proxy: Annotated[
        str,
        msgspec.Meta(
            description="HTTP proxy, with user and password if it needs them; none: no proxy",
            max_length=PROXY_CHARACTERS_MAX,
        ),
    ] = ""


class DestinationSpec(DestinationSettings, frozen=True, kw_only=True):
    """The settings of a destination and its `filter`, which selects records, or whole calls where it notifies of
    `calls`; alarms and issues are selected by `sn` alone.
    """

    filter: RecordFilter = RecordFilter()

    def __repr__(self) -> str:
        return f"DestinationSpec({self.method} {mask_url(self.url)}, {len(self.headers)} headers)"


class StoredSpec(DestinationSpec, frozen=True, kw_only=True):
    """A specification as the column `destinations.spec` holds it, in JSON."""

    version: int = SPEC_VERSION


SPEC_FIELDS: tuple[str, ...] = DestinationSpec.__struct_fields__


def log_days_of(spec: DestinationSpec, installation_days: int) -> int:
    """Return for how many days the log of a destination is kept; 0 where it has none."""
    return installation_days if spec.log_days == LOG_DAYS_AS_INSTALLATION else spec.log_days


def validate_spec(spec: DestinationSpec) -> DestinationSpec:
    """Return the specification, certificates and fingerprint in their usual form. Raises `UsageError` for an invalid
    one; never shows a password.
    """
    spec = _with_parsed_trust(spec)
    if spec.kind in HTTP_KINDS:
        _check_url(spec.url)
    else:
        _check_address(spec.url)
    _check_fields_of_kind(spec)
    for field in msgspec.structs.fields(DestinationSettings):
        _check_field(field, getattr(spec, field.name))
    if spec.notifies_of in OPERATIONAL and spec.filter != RecordFilter(sn=spec.filter.sn):
        raise UsageError(
            _("alarms cannot be filtered by calls")
            if spec.notifies_of == "alarms"
            else _("issues cannot be filtered by calls"),
            hint=_("filter by sn only, or not at all"),
        )
    if spec.chosen_by_users and spec.notifies_of != "issues":
        raise UsageError(
            _("users choose among issues alone"),
            location="chosen_by_users",
            hint=_("let the destination notify of issues"),
        )
    _check_headers(spec.headers)
    return spec


def _with_parsed_trust(spec: DestinationSpec) -> DestinationSpec:
    """Return the specification with its certificates, fingerprint and proxy parsed. Raises `UsageError`."""
    is_http = spec.kind in HTTP_KINDS
    if is_http and (spec.ca_certificates or spec.fingerprint) and not spec.url.lower().startswith("https:"):
        raise UsageError(_("there is no certificate without TLS"), location="url", hint=_("use https://"))
    if spec.ca_certificates and spec.fingerprint:
        raise UsageError(
            _("a pinned certificate needs no certificate authority"), hint=_("give certificates or a fingerprint")
        )
    return msgspec.structs.replace(
        spec,
        ca_certificates=normalize_certificates(spec.ca_certificates) if spec.ca_certificates else "",
        fingerprint=parse_fingerprint(spec.fingerprint) if spec.fingerprint else "",
        proxy=spec.proxy if spec.proxy in ("", NO_PROXY) else parse_proxy(spec.proxy, "proxy"),
    )


def encode_spec(spec: DestinationSpec) -> str:
    """Return the JSON that the column holds."""
    return msgspec.json.encode(StoredSpec(**{name: getattr(spec, name) for name in SPEC_FIELDS})).decode()


def decode_spec(text: str) -> StoredSpec:
    """Return the specification in the column's JSON. Raises `OnhookError` for the version of another Onhook."""
    try:
        stored = msgspec.json.decode(text, type=StoredSpec)
    except msgspec.ValidationError as error:
        raise _newer_spec_error(str(error)) from error
    if stored.version != SPEC_VERSION:
        raise _newer_spec_error(
            _("version {version}, supported: {supported}", version=stored.version, supported=SPEC_VERSION)
        )
    return stored


def _newer_spec_error(reason: str) -> OnhookError:
    return OnhookError(
        _("a destination cannot be read: {reason}", reason=reason), location="onhook.db", hint=_("upgrade Onhook")
    )


def parse_standard_webhooks_key(text: str) -> bytes:
    """Return the key of a secret for Standard Webhooks: the Base64 after `whsec_`, or the bytes of a usual secret.

    A key has 24 to 64 bytes. Raises `UsageError`.
    """
    minimum, maximum = KEY_BYTES_LIMITS
    try:
        is_prefixed = text.startswith(WHSEC_PREFIX)
        key = base64.b64decode(text.removeprefix(WHSEC_PREFIX), validate=True) if is_prefixed else text.encode()
    except (binascii.Error, ValueError):
        key = b""
    if not minimum <= len(key) <= maximum:
        raise UsageError(
            _("a secret of this destination cannot be used for Standard Webhooks"),
            hint=_(
                "add one of {minimum} to {maximum} characters, or {whsec_prefix} and as many bytes in Base64:"
                " `onhook destination secret add` generates one; then remove the old one",
                whsec_prefix=WHSEC_PREFIX,
                minimum=minimum,
                maximum=maximum,
            ),
        )
    return key


def format_standard_webhooks_secret(text: str) -> str:
    """Return a secret as receivers by Standard Webhooks need it: `whsec_` and Base64 of the same key. Raises
    `UsageError`.

    >>> format_standard_webhooks_secret("0123456789abcdefghijABCDEFGHIJ01")
    'whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWpBQkNERUZHSElKMDE='
    """
    return WHSEC_PREFIX + base64.b64encode(parse_standard_webhooks_key(text)).decode()


def mask_url(url: str) -> str:
    """Return a URL for display: values in its query are hidden, because they are often keys.

    >>> mask_url("https://crm.example.com/calls?key=1f2e3d&on")
    'https://crm.example.com/calls?key=…&on'
    """
    address, separator, query = url.partition("?")
    return (
        address
        + separator
        + "&".join(f"{part.partition('=')[0]}=…" if "=" in part else part for part in query.split("&"))
    )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_webhook = parts.scheme in ("http", "https") and parts.port != 0
        has_password = "@" in parts.netloc
        host: UrlHost | None = parse_url_host(url)
    except ValueError:  # an open bracket, a port that is not a number, a host that is neither a name nor an address
        is_webhook, has_password, host = False, False, None
    if has_password:
        raise UsageError(_("a URL must not contain a password"), hint=_("send it in a header: Authorization"))
    if host is None or not is_webhook or len(url) > URL_CHARACTERS_MAX or not url.isprintable() or " " in url:
        raise UsageError(
            _("this is not the URL of a webhook"), hint=_("write one such as https://crm.example.com/calls")
        )
    if not host.is_canonical:
        raise UsageError(
            _("{host} is another notation of {address}", host=host.text, address=host.address),
            hint=_("write {address}", address=host.address),
        )


def _check_fields_of_kind(spec: DestinationSpec) -> None:
    """Check that a destination has no field of another kind."""
    if spec.kind == "webhook":
        return
    foreign_fields = WEBHOOK_FIELDS
    if spec.kind not in PLAIN_HTTP_KINDS:
        foreign_fields |= REDIRECT_FIELDS if spec.kind in HTTP_KINDS else HTTP_FIELDS
    for field in msgspec.structs.fields(DestinationSettings):
        if field.name in foreign_fields and getattr(spec, field.name) not in (field.default, {}):
            raise UsageError(
                _("{name} is for webhooks only", name=field.name), location=field.name, hint=_("leave it out")
            )


def _check_address(url: str) -> None:
    """Check the address of a destination that is not reached by HTTP: a URL with the kind's own scheme."""
    try:
        parts = urlsplit(url)
    except ValueError:  # an open bracket
        parts = urlsplit("")
    if not parts.scheme or len(url) > URL_CHARACTERS_MAX or not url.isprintable() or " " in url:
        raise UsageError(_("this is not the address of a destination"), location="url", hint=_("write a URL"))
    if ":" in parts.netloc.rpartition("@")[0]:
        raise UsageError(
            _("a URL must not contain a password"), location="url", hint=_("give it as the secret of the destination")
        )


def _check_headers(headers: dict[str, str]) -> None:
    if len(headers) > HEADERS_MAX:
        raise UsageError(
            _("there are {count} headers", count=len(headers)), hint=_("set at most {maximum}", maximum=HEADERS_MAX)
        )
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
            raise UsageError(_("the header {name} cannot be set", name=repr(name[:80])), hint=_("choose another name"))
        if len(value) > HEADER_CHARACTERS_MAX or not value.isascii() or not value.isprintable():
            raise UsageError(
                _("the value of the header {name} cannot be sent", name=name), hint=_("write printable ASCII")
            )


def value_type(field: msgspec.structs.FieldInfo) -> Any:
    """Return the type of a field without its description and limits."""
    return get_args(field.type)[0]


def field_meta(field: msgspec.structs.FieldInfo) -> msgspec.Meta:
    """Return the description and the limits of a field."""
    meta: msgspec.Meta = get_args(field.type)[1]
    return meta


def _check_field(field: msgspec.structs.FieldInfo, value: Any) -> None:
    """Raise `UsageError` for a value that is not one of the field's choices, or outside its limits."""
    meta = field_meta(field)
    if get_origin(value_type(field)) is Literal:
        _check_choice(field.name, value, get_args(value_type(field)))
    elif meta.ge is not None and meta.le is not None:
        _check_range(field.name, value, (meta.ge, meta.le))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(
            _("invalid {name}: {value}", name=name, value=repr(value[:80])),
            hint=_("use one of {choices}", choices=", ".join(choices)),
        )


def _check_range(name: str, value: float, limits: tuple[float, float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise UsageError(
            _("invalid {name}: {value}", name=name, value=f"{value:g}"),
            hint=_("write {limits} to {limits_2}", limits=f"{limits[0]:g}", limits_2=f"{limits[1]:g}"),
        )
