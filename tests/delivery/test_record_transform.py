"""Changes of the members of records, and the preview of a notification."""

import json
from typing import Any

import pytest

from onhook.appdb.destination_spec import DestinationSpec, FieldValue
from onhook.cdr.record import Record
from onhook.delivery.destinations.kinds import check_kind, open_transform
from onhook.delivery.preview import preview_notification
from onhook.delivery.record_transform import RULES_MAX, TRANSFORM_ERROR, RecordTransform
from onhook.lib.errors import NotFound, UsageError
from tests.delivery.destinations.contract import open_client
from tests.delivery.harness import DeliveryHarness, WebhookReceiver, make_calls
from tests.factories import call, record
from tests.waiting import wait_until

KEY = b"key"


def transform(rules: str, **changes: Any) -> Record:
    return RecordTransform(rules).apply(record(**changes), KEY)


def test_transform_drop_empties_members_of_the_event_and_removes_others() -> None:
    rules = "drop did_name\ndrop talk_duration\ndrop account\ndrop nothing"
    changed = transform(rules, did_name="Shop", extra={"account": "1", "b": 2})
    assert (changed.did_name, changed.talk_duration, changed.extra) == ("", None, {"b": 2})


def test_transform_rename_moves_the_value_to_a_member_of_its_own() -> None:
    changed = transform("rename did_name shop\n\nrename account tenant", did_name="Shop", extra={"account": "1"})
    assert (changed.did_name, changed.extra) == ("", {"shop": "Shop", "tenant": "1"})


def test_transform_mask_hides_digits_or_hashes() -> None:
    """The name of a party goes with its digits; the same number has the same hash."""
    parties: dict[str, Any] = {
        "call_from": "Bob<+49 30 1234567>",
        "call_to": "004930 1234567",
        "extra": {"phone": "030123456", "n": 1},
    }
    changed = transform("mask call_from last3\nmask phone last3\nmask n last3", **parties)
    assert (changed.call_from, changed.extra["phone"], changed.extra["n"]) == ("+49 30 1234***", "030123***", "")
    hashed = transform("mask call_from hash\nmask call_to hash", **parties)
    assert hashed.call_from == hashed.call_to
    assert "1234567" not in hashed.call_from
    assert hashed.call_from != RecordTransform("mask call_from hash").apply(record(**parties), b"other").call_from


def test_transform_set_is_constant_or_computed_of_the_record_as_it_was() -> None:
    rules = """
        set tenant = acme
        drop status
        set note = {{ call.status|lower }} {{ call.call_to|number }}
        set talk_duration = {{ call.talk_duration * 2 }}
        set call_duration =
    """
    changed = transform(rules, talk_duration=14)
    assert changed.extra == {"tenant": "acme", "note": "answered 1002"}
    assert (changed.status, changed.talk_duration, changed.call_duration) == ("", 28, None)


LOOPS = "{% for a in call.extra.l %}{% for b in call.extra.l %}{{ a }}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ call.nothing }}", "minus", LOOPS])
def test_transform_value_that_cannot_be_computed_is_empty_with_its_reason(template: str) -> None:
    changed = transform(f"set talk_duration = {template}", extra={"l": list(range(200))})
    assert changed.talk_duration is None
    assert changed.extra[TRANSFORM_ERROR]


def test_transform_never_changes_what_identifies_a_record() -> None:
    source = record()
    changed = RecordTransform("drop call_to\nset call_from = x").apply(source, KEY)
    for name in ("sn", "call_id", "record_id", "started_at", "seq", "uid", "time_start"):
        assert getattr(changed, name) == getattr(source, name)


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ("delete a", "this is not a rule"),
        ("drop", "this is not a rule"),
        ("drop a b", "this is not a rule"),
        ("mask call_from first3", "this is not a rule"),
        ("mask talk_duration last3", "is not a number of a party"),
        ("drop call_id", "call_id cannot be changed"),
        ("set record_id = 1", "record_id cannot be changed"),
        ("drop extra", "extra cannot be changed"),
        ("set transform_error = 1", "transform_error cannot be changed"),
        ("rename did_name status", "status is a member of the event"),
        ("rename did_name a-b", "is not the name of a member"),
        ("set a = {{ range(9) }}", "templates have no Call (transform, line 1)"),
        ("\nset a = {{ other }}", "there is no variable other (transform, line 2)"),
        ("drop a\n" * (RULES_MAX + 1), f"there are {RULES_MAX + 1} rules"),
    ],
)
def test_transform_invalid_rule_is_refused_with_its_line(rules: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_kind(DestinationSpec(url="https://crm.example.com/", transform=rules))
    assert error in str(raised.value)


def test_transform_of_alarms_is_refused() -> None:
    with pytest.raises(UsageError, match="alarms have no members"):
        check_kind(DestinationSpec(url="https://crm.example.com/", transform="drop a", notifies_of="alarms"))
    assert open_transform(DestinationSpec(url="https://crm.example.com/", transform=" \n")) is None


def test_transform_members_are_known_to_templates_of_requests() -> None:
    fields: dict[str, FieldValue] = {"body": "{{ call.extra.tenant|tojson }}"}
    spec = DestinationSpec(kind="http", url="https://api.example.com/", transform="set tenant = acme", fields=fields)
    check_kind(spec)


async def test_transform_sample_is_changed_too() -> None:
    client = open_client({"url": "https://crm.example.com/", "transform": "set tenant = acme"})
    assert b"acme" in client.format_sample_payload(record().received_at)
    await client.close()


async def test_transform_changes_what_arrives(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """And what a preview shows: also the hash, which has the key of the installation."""
    rules = "set tenant = acme\nmask call_from hash\ndrop did_name"
    await harness.add_destination("CRM", receiver.url, transform=rules)
    harness.start()
    (shown_call,) = make_calls(1, call_from="Bob<03012345678>", did_name="Shop")
    await harness.put_calls(shown_call)
    await wait_until(lambda: bool(receiver.accepted))
    (details,) = receiver.accepted
    assert (details["tenant"], details["did_name"]) == ("acme", "")
    assert "012345678" not in details["call_from"]
    preview = await preview_notification(harness.appdb, harness.store, harness.open_destination, "CRM")
    assert json.loads(json.loads(preview.text)["msg"]) == details
    assert (preview.call_id, preview.is_matching) == (shown_call.call_id, True)


async def test_preview_of_requests_hides_secrets(harness: DeliveryHarness) -> None:
    fields = {"request_path": "/{{ secret }}?key={{ secret }}", "body": '{"to": "{{ call.call_to }}"}'}
    await harness.add_destination(
        "CRM", "https://api.example.com", kind="http", fields=fields, headers={"X-Key": "geheim"}, notifies_of="calls"
    )
    first_call, second_call = make_calls(2)
    await harness.put_calls(first_call, second_call)
    arguments = (harness.appdb, harness.store, harness.open_destination, "CRM")
    preview = await preview_notification(*arguments, first_call.call_id)
    assert preview.text.splitlines() == [
        "POST https://api.example.com/SECRET?key=…",
        "X-Key: …",
        "Content-Type: …",
        "",
        '{"to": "Bob<1002>"}',
    ]
    with pytest.raises(NotFound):
        await preview_notification(*arguments, "none")


async def test_preview_says_what_fails_and_what_is_not_selected(harness: DeliveryHarness) -> None:
    fields = {"body": "{{ 100 // call.talk_duration }}"}
    await harness.add_destination("CRM", "https://api.example.com", kind="http", fields=fields)
    await harness.add_destination("Pager", "https://pager.example.com", notifies_of="alarms")
    await harness.put_calls(call(record(talk_duration=0)))
    with pytest.raises(UsageError, match="division"):
        await preview_notification(harness.appdb, harness.store, harness.open_destination, "CRM")
    with pytest.raises(UsageError, match="notifies of alarms"):
        await preview_notification(harness.appdb, harness.store, harness.open_destination, "Pager")
