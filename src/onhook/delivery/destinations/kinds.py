"""Kinds of destinations: a table line each, with the fields that the kind has beside those of all destinations.

The options of the command line, the form, the API's document and `docs/destinations.md` derive from these fields. A
client library is imported when a destination of its kind is opened, so that the others work without it.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.destination_spec import (
    HTTP_KINDS,
    OPERATIONAL,
    PLAIN_HTTP_KINDS,
    DestinationSpec,
    Kind,
    NotifiesOf,
)
from onhook.appdb.subject_texts import refuse_subject, refuse_transform
from onhook.delivery.destinations.service_fields import ClickhouseFields, OdooFields, OtlpFields
from onhook.lib.errors import UsageError
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _, mark

if TYPE_CHECKING:
    from onhook.delivery.record_transform import RecordTransform

TEMPLATE_CHARACTERS_MAX = 8_192
"""Of a body; the largest request that a vendor's documentation shows has some thousand."""

SCHEMA_NAME_PATTERN = "^[A-Za-z_][A-Za-z0-9_]{0,62}$"
"""A name that PostgreSQL takes without a doubt about its letters."""

BATCH_RECORDS_MAX = 2_000
"""Some two megabytes, which are read ahead and held in memory."""

BATCH_SECONDS_MAX = 3_600
"""Longer ones would look like a destination that hangs."""

NAME_PATTERN = r"^(?:[A-Za-z0-9_./:-]|\{(?:type|sn|call_id)\})+$(?!\n)"
"""Name under which a broker takes messages, without wildcards; `broker_message.fill_name` fills it. A `$` alone would
allow a line feed at the end.
"""

EXCHANGE_PATTERN = r"^[A-Za-z0-9_./:-]*$(?!\n)"

NAME_CHARACTERS_MAX = 100
"""Of such a name, without the values in it."""

STREAM_LENGTH_MAX = 1_000_000_000
"""More messages than a Redis has memory for."""


class NoFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind without fields of its own."""


class HttpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of an HTTP request: templates (docs/http.md). `id_pointer` is a JSON pointer (RFC 6901)."""

    request_method: Annotated[str, msgspec.Meta(description=mark("Method; a template"), max_length=500)] = "POST"
    request_path: Annotated[
        str, msgspec.Meta(description=mark("Path and query after the URL; a template"), max_length=2_000)
    ] = ""
    content_type: Annotated[
        Literal["application/json", "application/x-www-form-urlencoded", "text/plain"],
        msgspec.Meta(description=mark("Type of the body")),
    ] = "application/json"
    body: Annotated[
        str, msgspec.Meta(description=mark("Body of the request; a template"), max_length=TEMPLATE_CHARACTERS_MAX)
    ] = "{{ event|tojson }}"
    id_pointer: Annotated[
        str,
        msgspec.Meta(
            description=mark("JSON pointer to the id in the response, as /id"), max_length=200, pattern="^(/.*)?$"
        ),
    ] = ""


class DatabaseFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of every database: `tls` is `verify`, or `off` for a server without TLS."""

    tls: Annotated[Literal["verify", "off"], msgspec.Meta(description=mark("TLS: verify the certificate, or off"))] = (
        "verify"
    )


class PostgresqlFields(DatabaseFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a database with schemas."""

    schema_name: Annotated[str, msgspec.Meta(description=mark("Schema of the tables"), pattern=SCHEMA_NAME_PATTERN)] = (
        "public"
    )


class FilesFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a folder: a file is written once so many records are there, or once the oldest has waited so long."""

    file_format: Annotated[
        Literal["parquet", "csv", "jsonl"], msgspec.Meta(description=mark("Format of the files"))
    ] = "parquet"
    batch_records: Annotated[
        int, msgspec.Meta(description=mark("Records that are written at once, at most"), ge=1, le=BATCH_RECORDS_MAX)
    ] = BATCH_RECORDS_MAX
    batch_seconds: Annotated[
        int,
        msgspec.Meta(description=mark("Seconds that a record waits for others; 0: none"), ge=0, le=BATCH_SECONDS_MAX),
    ] = 300


class S3Fields(FilesFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a bucket: `addressing` is `path` where the path of the URL begins with the bucket, `host` where the
    host names it.
    """

    access_key: Annotated[
        str,
        msgspec.Meta(description=mark("Access key; its secret key is the secret of the destination"), max_length=200),
    ] = ""
    region: Annotated[
        str, msgspec.Meta(description=mark("Region in signatures"), max_length=100, pattern="^[A-Za-z0-9-]+$")
    ] = "us-east-1"
    addressing: Annotated[
        Literal["path", "host"],
        msgspec.Meta(description=mark("Where the URL names the bucket: in its path or its host")),
    ] = "path"


class EmailFields(DatabaseFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of mails: mailboxes and templates (docs/email.md); empty templates are those of the subject."""

    mail_to: Annotated[str, msgspec.Meta(description=mark("Recipients, separated by commas"), max_length=2_000)] = ""
    mail_from: Annotated[
        str, msgspec.Meta(description=mark("Sender: an address, or Name <address>"), max_length=400)
    ] = ""
    mail_subject: Annotated[
        str, msgspec.Meta(description=mark("Subject of the mail; a template, empty: the usual one"), max_length=500)
    ] = ""
    mail_body: Annotated[
        str,
        msgspec.Meta(
            description=mark("Text of the mail; a template, empty: the usual one"), max_length=TEMPLATE_CHARACTERS_MAX
        ),
    ] = ""
    digest_seconds: Annotated[
        int,
        msgspec.Meta(
            description=mark("Seconds for which notifications are collected in one mail; 0: one mail each"),
            ge=0,
            le=BATCH_SECONDS_MAX,
        ),
    ] = 0


class SyslogFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a syslog server."""

    facility: Annotated[int, msgspec.Meta(description=mark("Facility, 0 to 23; 16 is local0"), ge=0, le=23)] = 16


def _name_meta(description: str) -> msgspec.Meta:
    """Return the description and the limits of a name under which a broker takes messages."""
    return msgspec.Meta(
        description=description,
        max_length=NAME_CHARACTERS_MAX,
        pattern=NAME_PATTERN,
    )


class NatsFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a NATS server with JetStream."""

    subject: Annotated[str, _name_meta(mark("Subject; may contain {type}, {sn}, {call_id}"))] = "onhook.{type}.{sn}"


class RedisFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a Redis stream."""

    stream: Annotated[str, _name_meta(mark("Stream; may contain {type}, {sn}, {call_id}"))] = "onhook"
    stream_length: Annotated[
        int, msgspec.Meta(description=mark("Messages that the stream keeps; 0: all"), ge=0, le=STREAM_LENGTH_MAX)
    ] = 0


class TopicFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a broker with topics."""

    topic: Annotated[str, _name_meta(mark("Topic; may contain {type}, {sn}, {call_id}"))] = "onhook"


class KafkaFields(TopicFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a Kafka cluster."""

    sasl: Annotated[
        Literal["scram-sha-512", "scram-sha-256", "plain"],
        msgspec.Meta(description=mark("How to log in where the address has a user")),
    ] = "scram-sha-512"


class AmqpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of an AMQP broker; the exchange without a name has each queue as a routing key."""

    exchange: Annotated[
        str,
        msgspec.Meta(
            description=mark("Exchange; empty: the routing key is a queue"),
            max_length=NAME_CHARACTERS_MAX,
            pattern=EXCHANGE_PATTERN,
        ),
    ] = ""
    routing_key: Annotated[str, _name_meta(mark("Routing key; may contain {type}, {sn}, {call_id}"))] = "onhook"


class DestinationKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind: the `schemes` of its address, its fields, what it can be notified of, and the module that opens it
    with the function `open_client`; `library` is the module that this one needs, and `extra` the extra of the package
    that has it, or empty. `check_module` has the functions `check_spec`, for what the types of the fields do not say,
    and `describe_request`, for the preview. A kind that `follows_deletions` keeps no call that retention deletes, and
    no number that is erased.
    """

    title: str
    url_example: str
    module: str
    schemes: tuple[str, ...]
    notifies_of: frozenset[NotifiesOf]
    fields: type[msgspec.Struct] = NoFields
    library: str = ""
    extra: str = ""
    check_module: str = ""
    has_host: bool = True
    follows_deletions: bool = False


_CALLS: frozenset[NotifiesOf] = frozenset({"records", "calls"})
_ALL: frozenset[NotifiesOf] = _CALLS | {"alarms", "issues"}
_PACKAGE = "onhook.delivery.destinations"


def _broker(
    name: str, *, title: str, url_example: str, schemes: tuple[str, ...], fields: type[msgspec.Struct], library: str
) -> DestinationKind:
    """Return the kind of a broker: its module and its extra have its name."""
    return DestinationKind(
        title=title,
        url_example=url_example,
        module=f"{_PACKAGE}.{name}",
        schemes=schemes,
        notifies_of=_ALL,
        fields=fields,
        library=library,
        extra=name,
        check_module=f"{_PACKAGE}.broker_message",
    )


def _http_service(
    name: str,
    *,
    title: str,
    url_example: str,
    notifies_of: frozenset[NotifiesOf],
    fields: type[msgspec.Struct],
    follows_deletions: bool = False,
) -> DestinationKind:
    """Return the kind of a service with a protocol of its own over HTTP: its module has its name."""
    return DestinationKind(
        title=title,
        url_example=url_example,
        module=f"{_PACKAGE}.{name}",
        schemes=("https", "http"),
        notifies_of=notifies_of,
        fields=fields,
        follows_deletions=follows_deletions,
    )


KINDS: Mapping[Kind, DestinationKind] = MappingProxyType(
    {
        "webhook": DestinationKind(
            title="Webhook",
            url_example="https://crm.example.com/calls",
            module=f"{_PACKAGE}.webhook",
            schemes=("https", "http"),
            notifies_of=_ALL,
        ),
        "http": DestinationKind(
            title=mark("HTTP request"),
            url_example="https://api.example.com/v1",
            module=f"{_PACKAGE}.http",
            schemes=("https", "http"),
            notifies_of=_ALL,
            fields=HttpFields,
            check_module=f"{_PACKAGE}.http_request",
        ),
        "postgresql": DestinationKind(
            title="PostgreSQL",
            url_example="postgresql://onhook@db.example.com/calls",
            module=f"{_PACKAGE}.postgresql",
            schemes=("postgresql",),
            notifies_of=_CALLS,
            fields=PostgresqlFields,
            library="pg8000",
            follows_deletions=True,
        ),
        "mysql": DestinationKind(
            title="MariaDB, MySQL",
            url_example="mysql://onhook@db.example.com/calls",
            module=f"{_PACKAGE}.mysql",
            schemes=("mysql", "mariadb"),
            notifies_of=_CALLS,
            fields=DatabaseFields,
            library="pymysql",
            follows_deletions=True,
        ),
        "syslog": DestinationKind(
            title="Syslog",
            url_example="syslog+tls://logs.example.com",
            module=f"{_PACKAGE}.syslog",
            schemes=("syslog", "syslog+tls"),
            notifies_of=_ALL,
            fields=SyslogFields,
        ),
        "email": DestinationKind(
            title=mark("E-mail"),
            url_example="smtps://onhook@mail.example.com",
            module=f"{_PACKAGE}.email",
            schemes=("smtps", "smtp"),
            notifies_of=_ALL,
            fields=EmailFields,
            library="aiosmtplib",
            check_module=f"{_PACKAGE}.email_message",
        ),
        "nats": _broker(
            "nats",
            title="NATS JetStream",
            url_example="nats+tls://onhook@nats.example.com",
            schemes=("nats", "nats+tls"),
            fields=NatsFields,
            library="nats",
        ),
        "redis": _broker(
            "redis",
            title=mark("Redis stream"),
            url_example="rediss://onhook@redis.example.com/0",
            schemes=("redis", "rediss"),
            fields=RedisFields,
            library="redis",
        ),
        "mqtt": _broker(
            "mqtt",
            title="MQTT 5",
            url_example="mqtts://onhook@mqtt.example.com",
            schemes=("mqtt", "mqtts"),
            fields=TopicFields,
            library="paho",
        ),
        "amqp": _broker(
            "amqp",
            title="AMQP, RabbitMQ",
            url_example="amqps://onhook@rabbitmq.example.com/calls",
            schemes=("amqp", "amqps"),
            fields=AmqpFields,
            library="aiormq",
        ),
        "kafka": _broker(
            "kafka",
            title="Kafka",
            url_example="kafka+tls://onhook@kafka.example.com:9093",
            schemes=("kafka", "kafka+tls"),
            fields=KafkaFields,
            library="aiokafka",
        ),
        "files": DestinationKind(
            title=mark("Files"),
            url_example="file:///var/lib/calls",
            module=f"{_PACKAGE}.files",
            schemes=("file",),
            notifies_of=_CALLS,
            fields=FilesFields,
            has_host=False,
        ),
        "s3": _http_service(
            "s3",
            title=mark("S3, files in a bucket"),
            url_example="https://s3.eu-central-1.amazonaws.com/calls",
            notifies_of=_CALLS,
            fields=S3Fields,
        ),
        "clickhouse": _http_service(
            "clickhouse",
            title="ClickHouse",
            url_example="https://clickhouse.example.com:8443/calls",
            notifies_of=_CALLS,
            fields=ClickhouseFields,
            follows_deletions=True,
        ),
        "otlp": _http_service(
            "otlp",
            title=mark("OpenTelemetry logs"),
            url_example="https://otel.example.com:4318",
            notifies_of=_ALL,
            fields=OtlpFields,
        ),
        "odoo": _http_service(
            "odoo",
            title="Odoo",
            url_example="https://odoo.example.com",
            notifies_of=_CALLS,
            fields=OdooFields,
            follows_deletions=True,
        ),
    }
)


def check_kind(spec: DestinationSpec) -> None:
    """Check what the kind of a destination requires: address, fields and subject. Raises `UsageError`."""
    kind = KINDS[spec.kind]
    decode_fields(spec, kind.fields)
    if spec.transform and spec.notifies_of in OPERATIONAL:
        raise UsageError(
            refuse_transform(spec.notifies_of),
            location="transform",
            hint=_("leave it out"),
        )
    open_transform(spec)
    if spec.kind == "webhook":
        return  # its address is checked when it is stored, with reasons of its own
    if spec.notifies_of not in kind.notifies_of:
        raise UsageError(
            refuse_subject(spec.kind, spec.notifies_of),
            location="notifies_of",
            hint=_("use one of {choices}", choices=", ".join(sorted(kind.notifies_of))),
        )
    has_place = _has_host(spec.url) if kind.has_host else _has_path(spec.url)
    if has_place and spec.kind in HTTP_KINDS - PLAIN_HTTP_KINDS:
        has_place = not any(urlsplit(spec.url)[3:])  # requests of services have queries of their own
    if spec.url.partition("://")[0].lower() not in kind.schemes or not has_place:
        raise UsageError(
            _("this is not the address of a destination of the kind {kind}", kind=spec.kind),
            location="url",
            hint=_("write one such as {example}", example=kind.url_example),
        )
    if kind.check_module:
        import_module(kind.check_module).check_spec(spec)


def open_transform(spec: DestinationSpec) -> "RecordTransform | None":
    """Return the changes of members of a destination; None where there are none. The module is imported then. Raises
    `UsageError`.
    """
    if not spec.transform.strip():
        return None
    transform: RecordTransform = import_module("onhook.delivery.record_transform").RecordTransform(spec.transform)
    return transform


def needs_names(spec: DestinationSpec) -> bool:
    """Return whether the notifications of a destination have the names of the parties as members of their own: event
    30012 and tables have none.
    """
    is_flat = spec.kind == "webhook" and spec.payload_format == "flat"
    return spec.notifies_of not in OPERATIONAL and (is_flat or spec.kind in ("http", "email"))


def decode_fields(spec: DestinationSpec, fields_type: type[msgspec.Struct]) -> Any:
    """Return the fields of the kind, with their defaults. Raises `UsageError`."""
    try:
        return msgspec.convert(spec.fields, fields_type, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(
            _("invalid fields of the kind {kind}: {error}", kind=spec.kind, error=error),
            location="fields",
            hint=_("its fields are: {names}", names=", ".join(sorted(fields_type.__struct_fields__)) or _("none")),
        ) from error


def kind_fields() -> list[tuple[Kind, msgspec.structs.FieldInfo]]:
    """Return all fields that kinds have of their own, in the order of the table."""
    return [(name, field) for name, kind in KINDS.items() for field in msgspec.structs.fields(kind.fields)]


def _has_path(url: str) -> bool:
    parts = urlsplit(url)
    return not parts.netloc and parts.path.startswith("/") and not parts.query and ".." not in parts.path.split("/")


def _has_host(url: str) -> bool:
    try:
        return parse_url_host(url).is_canonical and urlsplit(url).port != 0
    except ValueError:
        return False
