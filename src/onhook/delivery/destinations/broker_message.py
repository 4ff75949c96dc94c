"""Messages to brokers: body, key and headers of a notification, and the name under which a broker takes it. Pure.

Invariants: a notification is the same message in every attempt, so that brokers and readers recognise repeats by its
id. Values of headers are printable ASCII, which no protocol takes for a separator.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote, urlsplit

import msgspec

from onhook.appdb.destination_spec import DestinationSpec, Kind
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.kinds import KINDS, decode_fields
from onhook.delivery.samples import TEST_BODY
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

FORMAT_VERSION = 1
"""Of the members of a body; members may be added without a new number."""

CONTENT_TYPE = "application/json"

NAME_FIELD: Mapping[Kind, str] = MappingProxyType(
    {"nats": "subject", "redis": "stream", "mqtt": "topic", "amqp": "routing_key", "kafka": "topic"}
)
"""Field of each kind with the name under which a broker takes a message."""

_PATH: Mapping[Kind, str] = MappingProxyType({"redis": r"/?\d{0,4}", "amqp": "/?[^/]*"})
"""Path of the address, as a regular expression; that of the others is empty."""

_VALUE_CHARACTERS_MAX = 60
"""Of one value in a name: serial numbers and call ids have some twenty."""

_FILLED_CHARACTERS_MAX = 240
"""Of a name with its values: a topic of Kafka has 249 at most, a routing key of AMQP 255."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_PRINTABLE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


class BrokerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `type` is `record`, `call`, `alarm`, `issue` or `test`; `sn` and `call_id` may be empty."""

    notification_id: str
    type: str
    sn: str
    call_id: str
    body: bytes
    is_test: bool = False

    @property
    def key(self) -> str:
        """Return what is equal for all messages of a call, in printable ASCII."""
        return encode_header(f"{self.sn}/{self.call_id}")

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers: ids, and how to read the body."""
        headers = {
            "onhook-id": self.notification_id,
            "onhook-format": f"{self.type}-{FORMAT_VERSION}",
            "onhook-sn": self.sn,
            "onhook-call-id": self.call_id,
        }
        values = {name: encode_header(value) for name, value in headers.items() if value}
        return values | ({"onhook-test": "true"} if self.is_test else {})


class _Members(msgspec.Struct):
    """Members of a body that identify its call."""

    sn: str | None = None
    call_id: str | None = None


def make_message(spec: DestinationSpec, notification: Notification) -> BrokerMessage:
    """Return the message of a notification of this destination.

    >>> spec, body = DestinationSpec(kind="nats", url="nats://a"), b'{"sn": "S1", "call_id": "7.1", "status": "BUSY"}'
    >>> message = make_message(spec, Notification("r-7", body, 0))
    >>> message.key, message.headers["onhook-format"]
    ('S1/7.1', 'record-1')
    """
    members = msgspec.json.decode(notification.body, type=_Members)
    is_test = notification.is_test or notification.body == TEST_BODY
    return BrokerMessage(
        notification_id=notification.notification_id,
        type="test" if notification.body == TEST_BODY else spec.notifies_of.removesuffix("s"),
        sn=members.sn or "",
        call_id=members.call_id or "",
        body=notification.body,
        is_test=is_test,
    )


def encode_header(text: str) -> str:
    """Return a text in printable ASCII; other characters, blanks and `%` are percent-encoded (RFC 3986, 2.1).

    >>> encode_header("Zo\\u00eb 1%\\n")
    'Zo%C3%AB%201%25%0A'
    """
    return quote(text, safe=_PRINTABLE)


def fill_name(pattern: str, message: BrokerMessage) -> str:
    """Return a name with its placeholders filled. Of values, letters, digits, `_` and `-` stay, others are `_`; an
    empty value is `-`.

    >>> message = BrokerMessage(notification_id="r-7", type="record", sn="S1", call_id="7.1*", body=b"")
    >>> fill_name("pbx.{type}.{sn}.{call_id}", message)
    'pbx.record.S1.7_1_'
    """

    def fill(match: re.Match[str]) -> str:
        return _UNSAFE.sub("_", getattr(message, match[1]))[:_VALUE_CHARACTERS_MAX] or "-"

    return _PLACEHOLDER.sub(fill, pattern)[:_FILLED_CHARACTERS_MAX]


def name_pattern(spec: DestinationSpec) -> str:
    """Return the pattern of the names under which the broker takes messages. Raises `UsageError`."""
    fields = decode_fields(spec, KINDS[spec.kind].fields)
    return str(getattr(fields, NAME_FIELD[spec.kind]))


def has_names_by_call(pattern: str) -> bool:
    """Return whether messages of different PBXs or calls have different names.

    >>> has_names_by_call("pbx.{type}"), has_names_by_call("pbx.{sn}")
    (False, True)
    """
    return not {"sn", "call_id"}.isdisjoint(_PLACEHOLDER.findall(pattern))


def check_spec(spec: DestinationSpec) -> None:
    """Check the part of the address behind the host. Raises `UsageError`."""
    parts = urlsplit(spec.url)
    if not re.fullmatch(_PATH.get(spec.kind, "/?"), parts.path) or parts.query or parts.fragment:
        raise UsageError(
            _("the address has a part that destinations of the kind {kind} do not have", kind=spec.kind),
            location="url",
            hint=_("write one such as {example}", example=KINDS[spec.kind].url_example),
        )


def describe_request(spec: DestinationSpec, body: bytes, notification_id: str) -> str:
    """Return the message of a notification, for the preview."""
    message = make_message(spec, Notification(notification_id, body, 0))
    lines = [f"{NAME_FIELD[spec.kind]}: {fill_name(name_pattern(spec), message)}", f"key: {message.key}"]
    lines += [f"{name}: {value}" for name, value in message.headers.items()]
    return "\n".join([*lines, "", body.decode(errors="replace")])
