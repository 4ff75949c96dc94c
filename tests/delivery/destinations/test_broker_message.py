"""Messages to brokers: headers, names and settings."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.appdb.destination_spec import DestinationSpec
from onhook.delivery.destinations.broker_message import (
    NAME_FIELD,
    BrokerMessage,
    describe_request,
    encode_header,
    fill_name,
    make_message,
)
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.kinds import KINDS, check_kind
from onhook.delivery.samples import TEST_BODY
from onhook.lib.errors import UsageError
from tests.factories import record

SPEC = DestinationSpec(kind="nats", url="nats://nats.example.com", fields={"subject": "pbx.{type}.{sn}"})


def message(**changes: Any) -> BrokerMessage:
    fields = {"notification_id": "r-7", "type": "record", "sn": "S1", "call_id": "7.1", "body": b"{}"}
    return BrokerMessage(**(fields | changes))


@given(st.text(max_size=50))
def test_broker_message_header_is_printable_ascii(text: str) -> None:
    header = encode_header(text)
    assert header.isascii()
    assert all("!" <= character <= "~" for character in header)


@given(st.text(max_size=200), st.text(max_size=200))
def test_broker_message_name_has_no_separator_of_a_value(sn: str, call_id: str) -> None:
    name = fill_name("a.{sn}/{call_id}", message(sn=sn, call_id=call_id))
    assert (name.count("."), name.count("/"), name.isascii(), len(name) <= 240) == (1, 1, True, True)
    assert not set(name) & set("*>#+ \r\n\0")


def test_broker_message_long_name_is_cut() -> None:
    assert len(fill_name("{sn}" * 25, message(sn="1" * 100))) == 240


def test_broker_message_of_an_operational_event_has_no_call() -> None:
    spec = DestinationSpec(kind="nats", url="nats://nats.example.com", notifies_of="issues")
    body = b'{"type": "issue", "issue": {"issue_id": 7, "sn": "S1"}}'
    issue = make_message(spec, Notification("issue-7", body, 0))
    assert issue.headers == {"onhook-id": "issue-7", "onhook-format": "issue-1"}


def test_broker_message_test_is_marked() -> None:
    test = make_message(SPEC, Notification("test-1", TEST_BODY, 0))
    assert test.headers == {"onhook-id": "test-1", "onhook-format": "test-1", "onhook-test": "true"}
    assert fill_name("pbx.{type}.{sn}", test) == "pbx.test.-"


def test_broker_message_preview_has_name_key_headers_and_body() -> None:
    source = record(sn="S1", call_id="7.1")
    body = msgspec.json.encode(source)
    expected = ["subject: pbx.record.S1", "key: S1/7.1", "onhook-id: r-7", "onhook-format: record-1", "onhook-sn: S1"]
    assert describe_request(SPEC, body, "r-7").split("\n") == [*expected, "onhook-call-id: 7.1", "", body.decode()]


@pytest.mark.parametrize("kind", NAME_FIELD)
@pytest.mark.parametrize("name", ["", "a b", "a*", "a.>", "a/#", "a+", "a\n", "{pin_code}", "{", "x" * 101])
def test_broker_message_invalid_name_is_refused(kind: Any, name: str) -> None:
    with pytest.raises(UsageError, match="invalid fields"):
        check_kind(DestinationSpec(kind=kind, url=KINDS[kind].url_example, fields={NAME_FIELD[kind]: name}))


@pytest.mark.parametrize(
    "url",
    [
        "nats://a/path",
        "nats://a?tls=off",
        "kafka://a:9092/topic",
        "mqtt://a/topic",
        "redis://a/0/1",
        "redis://a/x",
        "redis://a/0?ssl_cert_reqs=none",
        "amqp://a/b/c",
        "amqps://a/?no_verify_ssl=1",
        "nats://a#b",
        "nats://",
        "https://a",
    ],
)
def test_broker_message_address_with_another_part_is_refused(url: str) -> None:
    kind: Any = url.partition("://")[0].replace("amqps", "amqp").replace("https", "nats")
    with pytest.raises(UsageError, match="address"):
        check_kind(DestinationSpec(kind=kind, url=url))


@pytest.mark.parametrize(
    "url", ["redis://a", "redis://a/", "redis://a/15", "rediss://u@a:1/0", "amqp://a", "amqp://a/v"]
)
def test_broker_message_address_may_have_the_part_of_its_kind(url: str) -> None:
    kind: Any = url.partition("://")[0].replace("rediss", "redis")
    check_kind(DestinationSpec(kind=kind, url=url))
