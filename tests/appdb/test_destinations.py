"""Destinations, their secrets, and the streams along which they are served."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import (
    DestinationSpec,
    PayloadFormat,
    decode_spec,
    format_standard_webhooks_secret,
    parse_standard_webhooks_key,
)
from onhook.appdb.destinations import REPLAYS_MAX, SIGNING_SECRETS_MAX, Destinations
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, OnhookError, UsageError
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS
from onhook.store.contract import PAGE_MAX

pytestmark = pytest.mark.usefixtures("each_engine")

URL = "https://crm.example.com/calls"
SECRET = "0123456789abcdefghijABCDEFGHIJ01"
NOW = 1_777_000_000_000_000


@pytest.fixture
async def destinations(tmp_path: Path) -> AsyncIterator[Destinations]:
    appdb = AppDb(tmp_path / "onhook.db")
    yield appdb.destinations
    await appdb.close()


async def _add(destinations: Destinations, name: str = "crm", **spec: Any) -> str:
    _, text = await destinations.add(name, DestinationSpec(**({"url": URL} | spec)), SECRET, after=7, now_us=NOW)
    return text


async def test_destination_settings_are_stored(destinations: Destinations) -> None:
    """Without the secret; it begins after the given ledger number."""
    record_filter = RecordFilter(status="!ANSWERED", number="1001")
    changes: dict[str, Any] = {
        "filter": record_filter,
        "headers": {"X-Key": "k"},
        "retry_policy": "original",
        "max_attempts": 2,
    }
    await _add(destinations, payload_format="doc", notifies_of="calls", **changes)
    destination = await destinations.get("CRM")
    assert (
        destination.filter,
        destination.payload_format,
        destination.notifies_of,
        destination.headers,
        destination.max_attempts,
    ) == (
        record_filter,
        "doc",
        "calls",
        {"X-Key": "k"},
        2,
    )
    assert (destination.state, destination.secrets, destination.attempts_succeeded, destination.failing_since) == (
        "active",
        1,
        0,
        None,
    )
    assert SECRET not in repr(destination)
    assert [(stream.cursor, stream.until) for stream in await destinations.streams(destination.destination_id)] == [
        (7, None)
    ]
    assert await destinations.secret_texts(destination.destination_id) == (SECRET,)


@pytest.mark.parametrize(
    ("spec", "expected_text"),
    [
        ({"url": "ftp://crm.example.com/"}, "not the URL of a webhook"),
        ({"url": "https://crm.example.com/ calls"}, "not the URL of a webhook"),
        ({"url": "https://[::1/"}, "not the URL of a webhook"),
        ({"url": "https://crm.example.com:99999/"}, "not the URL of a webhook"),
        ({"url": "https://u:geheim@crm.example.com/"}, "must not contain a password"),
        ({"url": "https://" + "a" * 2_000}, "not the URL of a webhook"),
        ({"payload_format": "p-1999"}, "invalid payload_format: 'p-1999'"),
        ({"method": "PUT"}, "invalid method: 'PUT'"),
        ({"timeout_seconds": 0.5}, "invalid timeout_seconds: 0.5"),
        ({"max_attempts": 6}, "invalid max_attempts: 6"),
        ({"headers": {"X-Signature": "x"}}, "the header 'X-Signature' cannot be set"),
        ({"headers": {"A b": "x"}}, "the header 'A b' cannot be set"),
        ({"headers": {"X-A": "a\r\nb"}}, "the value of the header"),
        ({"headers": {f"X-{n}": "a" for n in range(21)}}, "there are 21 headers"),
    ],
)
async def test_destination_invalid_settings_are_rejected(
    destinations: Destinations, spec: Any, expected_text: str
) -> None:
    """With one sentence, which never shows a password; nothing is stored."""
    with pytest.raises(UsageError, match=expected_text) as refused:
        await _add(destinations, **spec)
    assert "geheim" not in str(refused.value)
    assert await destinations.all() == []


def test_payload_formats_are_those_that_the_dialect_writes() -> None:
    """One list, in two packages that may not import each other."""
    assert set(get_args(PayloadFormat)) == set(PAYLOAD_FORMATS)


async def test_destination_names_are_unique(destinations: Destinations) -> None:
    """Also after a rename, and in any case; an unknown one is not found."""
    await _add(destinations)
    await _add(destinations, "billing")
    with pytest.raises(UsageError, match="already a destination named 'CRM'"):
        await _add(destinations, "CRM")
    with pytest.raises(UsageError, match="already a destination named 'crm'"):
        await destinations.change("billing", {"name": "crm"})
    with pytest.raises(NotFound, match="no destination 'ghost'"):
        await destinations.get("ghost")


async def test_destination_name_with_slash_is_rejected(destinations: Destinations) -> None:
    """The API has a destination under its name in the path."""
    with pytest.raises(UsageError, match="use a name without /"):
        await _add(destinations, "crm/eu")
    await _add(destinations)
    with pytest.raises(UsageError, match="use a name without /"):
        await destinations.change("crm", {"name": "crm/eu"})


@pytest.mark.usefixtures("sqlite_file")
async def test_destination_earlier_name_with_slash_can_be_changed(destinations: Destinations, tmp_path: Path) -> None:
    await _add(destinations)
    with closing(sqlite3.connect(tmp_path / "onhook.db", isolation_level=None)) as database:
        database.execute("UPDATE destinations SET name = 'crm/eu'")
    assert (await destinations.change("crm/eu", {"timeout_seconds": 10.0})).name == "crm/eu"
    assert (await destinations.change("crm/eu", {"name": "crm-eu"})).name == "crm-eu"


async def test_destination_every_change_increases_the_revision(destinations: Destinations) -> None:
    """So that the worker loads it again."""
    await _add(destinations)
    number = (await destinations.get("crm")).destination_id
    revisions = [(await destinations.revisions())[number][0]]
    added, _ = await destinations.add_secret("crm", None, now_us=NOW)

    async def disable() -> None:
        await destinations.disable(await destinations.get("crm"), "gone")

    for act in (
        lambda: destinations.change("crm", {"url": URL + "2"}),
        lambda: destinations.set_state("crm", "paused"),
        lambda: destinations.set_state("crm", "active"),
        lambda: destinations.remove_secret("crm", added.secret_id),
        disable,
    ):
        await act()
        revisions.append((await destinations.revisions())[number][0])
    assert revisions == sorted(set(revisions))
    assert ((await destinations.get("crm")).state, (await destinations.get("crm")).reason) == ("disabled", "gone")


async def test_destination_resumed_has_no_reason_and_is_not_failing(destinations: Destinations) -> None:
    await _add(destinations)
    await destinations.disable(await destinations.get("crm"), "410")
    destination = await destinations.set_state("crm", "active")
    assert (destination.state, destination.reason, destination.failing_since) == ("active", "", None)


async def test_signing_secrets_old_and_new_are_used_together(destinations: Destinations) -> None:
    """The last one cannot be removed, and their number is limited."""
    await _add(destinations)
    number = (await destinations.get("crm")).destination_id
    added, text = await destinations.add_secret("crm", None, now_us=NOW, label="new")
    assert await destinations.secret_texts(number) == (SECRET, text)
    assert (len(text), text.isalnum()) == (32, True)
    with pytest.raises(UsageError, match="already has this secret"):
        await destinations.add_secret("crm", text, now_us=NOW)
    await destinations.remove_secret("crm", (await destinations.secrets("crm"))[0].secret_id)
    with pytest.raises(UsageError, match="no other secret"):
        await destinations.remove_secret("crm", added.secret_id)
    for _ in range(SIGNING_SECRETS_MAX - 1):
        await destinations.add_secret("crm", None, now_us=NOW)
    with pytest.raises(UsageError, match="already has"):
        await destinations.add_secret("crm", None, now_us=NOW)


async def test_signing_secret_of_standard_webhooks_is_generated_in_its_own_form(destinations: Destinations) -> None:
    _, text = await destinations.add(
        "std", DestinationSpec(url=URL, with_standard_webhooks=True), None, after=0, now_us=NOW
    )
    assert text.startswith("whsec_")
    assert len(parse_standard_webhooks_key(text)) == 24


async def test_signing_secret_that_is_usual_can_be_used_for_standard_webhooks(destinations: Destinations) -> None:
    """Its key is the same: `X-Signature` stays as it was."""
    await destinations.add("crm", DestinationSpec(url=URL), "s" * 32, after=0, now_us=NOW)
    destination = await destinations.change("crm", {"with_standard_webhooks": True})
    assert await destinations.secret_texts(destination.destination_id) == ("s" * 32,)
    assert parse_standard_webhooks_key(format_standard_webhooks_secret("s" * 32)) == b"s" * 32


@pytest.mark.parametrize("secret", ["too short for it", "l" * 65, "whsec_no Base64 at all"])
async def test_signing_secret_that_is_no_key_of_standard_webhooks_has_advice(
    destinations: Destinations, secret: str
) -> None:
    """The advice helps: with the generated secret alone, the change succeeds."""
    with pytest.raises(UsageError, match="cannot be used for Standard Webhooks"):
        await destinations.add(
            "std", DestinationSpec(url=URL, with_standard_webhooks=True), secret, after=0, now_us=NOW
        )
    await destinations.add("crm", DestinationSpec(url=URL), secret, after=0, now_us=NOW)
    with pytest.raises(UsageError, match="`onhook destination secret add` generates one"):
        await destinations.change("crm", {"with_standard_webhooks": True})
    first_secret = (await destinations.secrets("crm"))[0]
    await destinations.add_secret("crm", None, now_us=NOW)
    await destinations.remove_secret("crm", first_secret.secret_id)
    assert (await destinations.change("crm", {"with_standard_webhooks": True})).with_standard_webhooks


async def release_all(destinations: Destinations) -> None:
    await destinations.release_replays(await destinations.list_held_replays(now_us=NOW))


async def test_replays_are_ordered_and_limited(destinations: Destinations) -> None:
    """After the live stream, in order of request."""
    await _add(destinations)
    for number in range(REPLAYS_MAX):
        await destinations.replay("crm", RecordFilter(number=str(number)), after=number, until=number + 5, now_us=NOW)
    with pytest.raises(UsageError, match="unfinished replays"):
        await destinations.replay("crm", RecordFilter(), after=0, until=1, now_us=NOW)
    streams = await destinations.streams((await destinations.get("crm")).destination_id)
    assert [stream.until for stream in streams] == [None, *(n + 5 for n in range(REPLAYS_MAX))]
    assert streams[3].filter == RecordFilter(number="2")


async def test_hold_replays_events_parsed_late_go_to_all_destinations(destinations: Destinations) -> None:
    """Held until they are parsed, each by itself; deleted where they cannot be; no worker restarts."""
    await _add(destinations)
    number = (await destinations.get("crm")).destination_id
    before = await destinations.revisions(), await destinations.newest_stream_ids()
    await destinations.hold_replays([(5, 5), (6, 6), (9, 9)], now_us=NOW)
    assert len(await destinations.streams(number)) == 1
    await destinations.release_replays([5])
    await destinations.discard_held_replays([6])
    assert [(s.cursor, s.until) for s in await destinations.streams(number)] == [(7, None), (4, 5)]
    await release_all(destinations)
    assert [s.until for s in await destinations.streams(number)] == [None, 5, 9]
    assert await destinations.revisions() == before[0]
    assert (await destinations.newest_stream_ids())[number] > before[1][number]


@pytest.mark.usefixtures("sqlite_file")
async def test_hold_replays_page_of_events_for_many_destinations_ends_in_time(destinations: Destinations) -> None:
    """Within the deadline of transactions, which bounds how long others wait; the same for the end of the replays."""
    for number in range(50):
        await _add(destinations, f"crm{number}")
    ranges = [(seq, seq) for seq in range(1, 2 * PAGE_MAX, 2)]
    for _ in range(2):
        await destinations.hold_replays(ranges, now_us=NOW)
    await destinations.discard_held_replays([last for _, last in ranges[1:]])
    await destinations.release_replays([1])
    assert [(s.cursor, s.until) for s in await destinations.streams(50)] == [(7, None), (0, 1)]


async def test_list_held_replays_are_those_that_were_held_for_so_long(destinations: Destinations) -> None:
    """Or by a clock that was ahead."""
    for name in ("crm", "bi"):
        await _add(destinations, name)
    await destinations.hold_replays([(1, 3), (5, 5)], now_us=NOW)
    await destinations.hold_replays([(7, 7)], now_us=NOW + 60_000_000)
    for seconds, ends in {-1: [3, 5, 7], 0: [7], 59: [7], 60: [3, 5], 120: [3, 5, 7]}.items():
        now_us = NOW + seconds * 1_000_000
        assert await destinations.list_held_replays(seconds_min=60, now_us=now_us) == ends, seconds
    await release_all(destinations)
    assert [[s.until for s in await destinations.streams(number)] for number in (1, 2)] == [[None, 3, 5, 7]] * 2


async def test_destination_removed_with_its_secrets_and_streams(destinations: Destinations) -> None:
    await _add(destinations)
    number = (await destinations.get("crm")).destination_id
    await destinations.remove("crm")
    assert await destinations.secret_texts(number) == ()
    assert await destinations.streams(number) == []
    assert await destinations.find_by_id(number) is None


async def test_alarms_are_sent_when_they_begin_and_end(tmp_path: Path) -> None:
    """Once each, to destinations of alarms with a matching PBX; never to those of calls."""
    appdb = AppDb(tmp_path / "onhook.db")
    for sn in ("PBX1", "PBX2"):
        await appdb.add_pbx(name=sn, sn=sn, secret=SECRET, now_us=NOW)
    await _add(appdb.destinations)
    await _add(appdb.destinations, "pager", notifies_of="alarms")
    await _add(appdb.destinations, "of two", notifies_of="alarms", filter=RecordFilter(sn="PBX2"))
    for _ in range(3):
        await appdb.alarms.raise_alarm("PBX1", "silence", "nothing came", hint="look", now_us=NOW)
    assert await appdb.alarms.end("PBX1", "silence", now_us=NOW + 1)
    assert not await appdb.alarms.end("PBX1", "silence", now_us=NOW + 2)
    number = (await appdb.destinations.get("pager")).destination_id
    bodies = [
        await appdb.deliveries.body(row.delivery_id) for row in await appdb.deliveries.page(number, "retrying", 9)
    ]
    events = [json.loads(body) for body in bodies]
    assert [(event["type"], event["sn"], event["alarm"]["kind"]) for event in events] == [
        ("alarm", "PBX1", "silence")
    ] * 2
    assert [event["alarm"]["ended_at"] is None for event in events] == [True, False]
    for name in ("crm", "of two"):
        other = (await appdb.destinations.get(name)).destination_id
        assert await appdb.deliveries.page(other, None, 9) == []
    with pytest.raises(UsageError, match="cannot be replayed"):
        await appdb.destinations.replay("pager", RecordFilter(), after=0, until=1, now_us=NOW)
    with pytest.raises(UsageError, match="by sn only"):
        await _add(appdb.destinations, "odd", notifies_of="alarms", filter=RecordFilter(status="BUSY"))
    with pytest.raises(UsageError, match="notifies of alarms"):
        await appdb.destinations.change("pager", {"notifies_of": "calls"})
    await appdb.close()


async def test_disable_does_nothing_after_a_change(destinations: Destinations) -> None:
    """410 from the old address says nothing about the new one."""
    await _add(destinations)
    served = await destinations.get("crm")
    await destinations.change("crm", {"url": URL + "2"})
    await destinations.disable(served, "410")
    assert (await destinations.get("crm")).state == "active"


async def test_destination_repr_shows_no_key(destinations: Destinations) -> None:
    """Neither the value of a header nor one in the address."""
    spec = DestinationSpec(url=URL + "?key=hush1", headers={"Authorization": "hush2"})
    destination, secret = await destinations.add("keys", spec, None, after=0, now_us=NOW)
    for text in (repr(spec), repr(destination), f"{destination}"):
        assert not {word for word in ("hush1", "hush2", secret) if word in text}


async def test_hold_replays_same_events_again_are_held_once(destinations: Destinations) -> None:
    await _add(destinations)
    for _ in range(2):
        await destinations.hold_replays([(3, 4)], now_us=NOW)
    await release_all(destinations)
    number = (await destinations.get("crm")).destination_id
    assert [(stream.cursor, stream.until) for stream in (await destinations.streams(number))[1:]] == [(2, 4)]


@pytest.mark.parametrize(
    ("stored_text", "reason"),
    [
        ('{"url":"http://127.0.0.1/","kind":"pigeon","version":1}', "Invalid enum value 'pigeon'"),
        ('{"url":"http://127.0.0.1/","version":2}', "version 2, supported: 1"),
    ],
)
def test_decode_spec_of_a_newer_onhook_is_one_clear_error(stored_text: str, reason: str) -> None:
    with pytest.raises(OnhookError, match=reason) as error_info:
        decode_spec(stored_text)
    assert error_info.value.hint == "upgrade Onhook"
