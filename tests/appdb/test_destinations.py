"""Subscriptions, their secrets, and the streams along which they are served."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec, PayloadFormat, parse_standard_webhooks_key
from onhook.appdb.destinations import REPLAYS_MAX, SIGNING_SECRETS_MAX, Destinations
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, UsageError
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS

URL = "https://crm.example.com/calls"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
NOW = 1_777_000_000_000_000


@pytest.fixture
def subscriptions(tmp_path: Path) -> Iterator[Destinations]:
    appdb = AppDb(tmp_path / "onhook.db")
    yield appdb.destinations
    appdb.close()


def _add(subscriptions: Destinations, name: str = "crm", **wishes: Any) -> str:
    _, text = subscriptions.add(name, DestinationSpec(**({"url": URL} | wishes)), SECRET, after=7, now_us=NOW)
    return text


def test_a_subscription_is_kept_with_all_its_wishes(subscriptions: Destinations) -> None:
    """What was asked for comes back, the secret is nowhere in it, and it begins behind the number that was told."""
    where = RecordFilter(status="!ANSWERED", number="1001")
    changes: dict[str, Any] = {
        "filter": where,
        "headers": {"X-Key": "k"},
        "retry_policy": "original",
        "max_attempts": 2,
    }
    _add(subscriptions, payload_format="doc", notifies_of="calls", **changes)
    one = subscriptions.get("CRM")
    assert (one.filter, one.payload_format, one.notifies_of, one.headers, one.max_attempts) == (
        where,
        "doc",
        "calls",
        {"X-Key": "k"},
        2,
    )
    assert (one.state, one.secrets, one.attempts_succeeded, one.failing_since) == ("active", 1, 0, None)
    assert SECRET not in repr(one)
    assert [(stream.cursor, stream.until) for stream in subscriptions.streams(one.destination_id)] == [(7, None)]
    assert subscriptions.secret_texts(one.destination_id) == (SECRET,)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"url": "ftp://crm.example.com/"}, "not a webhook's URL"),
        ({"url": "https://crm.example.com/ calls"}, "not a webhook's URL"),
        ({"url": "https://[::1/"}, "not a webhook's URL"),
        ({"url": "https://crm.example.com:99999/"}, "not a webhook's URL"),
        ({"url": "https://u:geheim@crm.example.com/"}, "a password does not belong"),
        ({"url": "https://" + "a" * 2_000}, "not a webhook's URL"),
        ({"payload_format": "p-1999"}, "payload_format cannot be 'p-1999'"),
        ({"method": "PUT"}, "method cannot be 'PUT'"),
        ({"timeout_seconds": 0.5}, "timeout_seconds cannot be 0.5"),
        ({"max_attempts": 6}, "max_attempts cannot be 6"),
        ({"headers": {"X-Signature": "x"}}, "'X-Signature' cannot be a header of yours"),
        ({"headers": {"A b": "x"}}, "'A b' cannot be a header of yours"),
        ({"headers": {"X-A": "a\r\nb"}}, "value that cannot be sent"),
        ({"headers": {f"X-{n}": "a" for n in range(21)}}, "there are 21 headers"),
    ],
)
def test_what_cannot_be_meant_is_refused(subscriptions: Destinations, wishes: Any, says: str) -> None:
    """With one sentence, which never shows a password, and nothing is kept."""
    with pytest.raises(UsageError, match=says) as refused:
        _add(subscriptions, **wishes)
    assert "geheim" not in str(refused.value)
    assert subscriptions.all() == []


def test_profiles_are_those_that_the_dialect_writes() -> None:
    """One list, in two rooms that may not know each other."""
    assert set(get_args(PayloadFormat)) == set(PAYLOAD_FORMATS)


def test_names_are_unique_and_missing_ones_are_told(subscriptions: Destinations) -> None:
    """Also when one is renamed, and whatever the case."""
    _add(subscriptions)
    _add(subscriptions, "billing")
    with pytest.raises(UsageError, match="named 'CRM' already"):
        _add(subscriptions, "CRM")
    with pytest.raises(UsageError, match="named 'crm' already"):
        subscriptions.change("billing", {"name": "crm"})
    with pytest.raises(NotFound, match="no subscription 'ghost'"):
        subscriptions.get("ghost")


def test_everything_people_do_is_another_revision(subscriptions: Destinations) -> None:
    """So that who serves a subscription knows that it must look again."""
    _add(subscriptions)
    number = subscriptions.get("crm").destination_id
    seen = [subscriptions.revisions()[number][0]]
    added, _ = subscriptions.add_secret("crm", None, now_us=NOW)
    for act in (
        lambda: subscriptions.change("crm", {"url": URL + "2"}),
        lambda: subscriptions.set_state("crm", "paused"),
        lambda: subscriptions.set_state("crm", "active"),
        lambda: subscriptions.remove_secret("crm", added.secret_id),
        lambda: subscriptions.disable(subscriptions.get("crm"), "gone"),
    ):
        act()
        seen.append(subscriptions.revisions()[number][0])
    assert seen == sorted(set(seen))
    assert (subscriptions.get("crm").state, subscriptions.get("crm").reason) == ("disabled", "gone")


def test_resuming_forgives(subscriptions: Destinations) -> None:
    """A subscription that goes on has no reason and is not failing."""
    _add(subscriptions)
    subscriptions.disable(subscriptions.get("crm"), "410")
    one = subscriptions.set_state("crm", "active")
    assert (one.state, one.reason, one.failing_since) == ("active", "", None)


def test_secrets_change_without_a_gap(subscriptions: Destinations) -> None:
    """A new one comes beside the old, the old one may go, the last one may not, and there is an end to them."""
    _add(subscriptions)
    number = subscriptions.get("crm").destination_id
    added, text = subscriptions.add_secret("crm", None, now_us=NOW, label="new")
    assert subscriptions.secret_texts(number) == (SECRET, text)
    assert (len(text), text.isalnum()) == (32, True)
    with pytest.raises(UsageError, match="has this secret already"):
        subscriptions.add_secret("crm", text, now_us=NOW)
    subscriptions.remove_secret("crm", subscriptions.secrets("crm")[0].secret_id)
    with pytest.raises(UsageError, match="no other secret"):
        subscriptions.remove_secret("crm", added.secret_id)
    for _ in range(SIGNING_SECRETS_MAX - 1):
        subscriptions.add_secret("crm", None, now_us=NOW)
    with pytest.raises(UsageError, match="secrets already"):
        subscriptions.add_secret("crm", None, now_us=NOW)


def test_standard_webhooks_wants_a_secret_of_its_own_form(subscriptions: Destinations) -> None:
    """One is made so, and no other is taken, neither at first nor later."""
    with pytest.raises(UsageError, match="no secret for Standard Webhooks"):
        _add(subscriptions, with_standard_webhooks=True)
    with pytest.raises(UsageError, match="no secret for Standard Webhooks"):
        subscriptions.add("std", DestinationSpec(url=URL, with_standard_webhooks=True), "short", after=0, now_us=NOW)
    _, text = subscriptions.add("std", DestinationSpec(url=URL, with_standard_webhooks=True), None, after=0, now_us=NOW)
    assert len(parse_standard_webhooks_key(text)) == 24
    _add(subscriptions)
    with pytest.raises(UsageError, match="no secret for Standard Webhooks"):
        subscriptions.change("crm", {"with_standard_webhooks": True})


def test_replays_wait_in_a_row_and_are_bounded(subscriptions: Destinations) -> None:
    """Behind the live stream, in the order in which they were asked for."""
    _add(subscriptions)
    for number in range(REPLAYS_MAX):
        subscriptions.replay("crm", RecordFilter(number=str(number)), after=number, until=number + 5, now_us=NOW)
    with pytest.raises(UsageError, match="replays to do already"):
        subscriptions.replay("crm", RecordFilter(), after=0, until=1, now_us=NOW)
    streams = subscriptions.streams(subscriptions.get("crm").destination_id)
    assert [stream.until for stream in streams] == [None, *(n + 5 for n in range(REPLAYS_MAX))]
    assert streams[3].filter == RecordFilter(number="2")


def test_late_reports_are_owed_to_everybody(subscriptions: Destinations) -> None:
    """Held until they can be read, each by itself; forgotten where they cannot; nobody who serves begins anew."""
    _add(subscriptions)
    number = subscriptions.get("crm").destination_id
    before = subscriptions.revisions(), subscriptions.newest_stream_ids()
    subscriptions.hold_replays([(5, 5), (6, 6), (9, 9)], now_us=NOW)
    assert len(subscriptions.streams(number)) == 1
    subscriptions.release_replays([5])
    subscriptions.discard_held_replays([6])
    assert [(s.cursor, s.until) for s in subscriptions.streams(number)] == [(7, None), (4, 5)]
    subscriptions.release_replays()
    assert [s.until for s in subscriptions.streams(number)] == [None, 5, 9]
    assert subscriptions.revisions() == before[0]
    assert subscriptions.newest_stream_ids()[number] > before[1][number]


def test_what_is_removed_leaves_nothing_behind(subscriptions: Destinations) -> None:
    """Neither its secrets nor its streams."""
    _add(subscriptions)
    number = subscriptions.get("crm").destination_id
    subscriptions.remove("crm")
    assert subscriptions.secret_texts(number) == ()
    assert subscriptions.streams(number) == []
    assert subscriptions.find_by_id(number) is None


def test_alarms_are_owed_when_they_begin_and_when_they_are_over(tmp_path: Path) -> None:
    """Once each, to those who asked for alarms, of the PBX that they asked for; never to those who want calls."""
    appdb = AppDb(tmp_path / "onhook.db")
    for sn in ("PBX1", "PBX2"):
        appdb.add_pbx(name=sn, sn=sn, secret=SECRET, now_us=NOW)
    _add(appdb.destinations)
    _add(appdb.destinations, "pager", notifies_of="alarms")
    _add(appdb.destinations, "of two", notifies_of="alarms", filter=RecordFilter(sn="PBX2"))
    for _ in range(3):
        appdb.alarms.raise_alarm("PBX1", "silence", "nothing came", hint="look", now_us=NOW)
    assert appdb.alarms.end("PBX1", "silence", now_us=NOW + 1)
    assert not appdb.alarms.end("PBX1", "silence", now_us=NOW + 2)
    number = appdb.destinations.get("pager").destination_id
    bodies = [appdb.deliveries.body(row.delivery_id) for row in appdb.deliveries.page(number, "retrying", 9)]
    said = [json.loads(body) for body in bodies]
    assert [(one["type"], one["sn"], one["alarm"]["kind"]) for one in said] == [("alarm", "PBX1", "silence")] * 2
    assert [one["alarm"]["ended_at"] is None for one in said] == [True, False]
    for name in ("crm", "of two"):
        other = appdb.destinations.get(name).destination_id
        assert appdb.deliveries.page(other, None, 9) == []
    with pytest.raises(UsageError, match="sent once"):
        appdb.destinations.replay("pager", RecordFilter(), after=0, until=1, now_us=NOW)
    with pytest.raises(UsageError, match="by sn alone"):
        _add(appdb.destinations, "odd", notifies_of="alarms", filter=RecordFilter(status="BUSY"))
    with pytest.raises(UsageError, match="notifies of alarms"):
        appdb.destinations.change("pager", {"notifies_of": "calls"})
    appdb.close()


def test_one_that_was_mended_is_not_disabled(subscriptions: Destinations) -> None:
    """410 from the old address says nothing of the new one."""
    _add(subscriptions)
    served = subscriptions.get("crm")
    subscriptions.change("crm", {"url": URL + "2"})
    subscriptions.disable(served, "410")
    assert subscriptions.get("crm").state == "active"


def test_no_key_stands_in_what_is_printed(subscriptions: Destinations) -> None:
    """Neither the value of a header nor one in the address."""
    wishes = DestinationSpec(url=URL + "?key=hush1", headers={"Authorization": "hush2"})
    one, secret = subscriptions.add("keys", wishes, None, after=0, now_us=NOW)
    for text in (repr(wishes), repr(one), f"{one}"):
        assert not {word for word in ("hush1", "hush2", secret) if word in text}


def test_what_is_held_is_held_once(subscriptions: Destinations) -> None:
    """However often it is begun again."""
    _add(subscriptions)
    for _ in range(2):
        subscriptions.hold_replays([(3, 4)], now_us=NOW)
    subscriptions.release_replays()
    number = subscriptions.get("crm").destination_id
    assert [(stream.cursor, stream.until) for stream in subscriptions.streams(number)[1:]] == [(2, 4)]
