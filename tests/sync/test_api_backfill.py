"""Back-fill over a real socket: all calls of the PBX are stored once, and the claimed coverage is true."""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.cdr.coverage import Interval, fill_gaps
from onhook.ledger.contract import RewrittenContent
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx.yeastar.rows import RowContext, wrap_row
from onhook.sync import pbx_session
from tests.pbx.yeastar.lists import NOON, OFFSET, SN, row
from tests.sync.harness import SyncHarness, open_sync_harness, run_push_channel
from tests.sync.pbx_responder import CERTIFICATES, PbxResponder, json_response, open_pbx_responder
from tests.waiting import wait_until

HOUR = 3600
DAY = timedelta(days=1)


def event_of(row: dict[str, Any]) -> bytes:
    """Return the event of a PBX for the call of a row; it has more fields, and no names."""
    (details,) = Yeastar().parse(wrap_row(msgspec.json.encode(row), RowContext(sn=SN)))
    extended_details = msgspec.structs.replace(details, agent_ring_time=0, talk_duration=20, extra={})
    return Yeastar().format(extended_details, SN, "p-2026")


def add_calls(responder: PbxResponder, count: int, *, before: int = 2 * HOUR) -> list[dict[str, Any]]:
    """Put calls into the PBX's list, the last one two hours ago, and return them."""
    responder.calls.rows = [row(NOON - before - 60 * number, number) for number in range(count)]
    return responder.calls.rows


async def run_cycle(receiver: SyncHarness, *, is_nightly: bool = False) -> Any:
    return await receiver.pbx_sync.run_cycle(is_nightly=is_nightly)


async def test_backfill_call_from_several_channels_is_one_record(tmp_path: Path) -> None:
    """By webhook, push channel and back-fill; rows that add nothing are not stored again."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        rows = add_calls(responder, 6)
        await receiver.ingestor.ingest(receiver.pbx, event_of(rows[0]), "webhook")
        await receiver.ingestor.ingest(receiver.pbx, event_of(rows[1]), "websocket")
        totals = await run_cycle(receiver)
        assert (totals.new, totals.same, totals.changed, totals.unreadable) == (4, 2, 0, 0)
        records = await receiver.call_lookup.records()
        assert sorted(record.call_id for record in records.values()) == sorted(call["call_id"] for call in rows)
        assert sorted(await receiver.list_channels()) == ["backfill"] * 4 + ["webhook", "websocket"]
        nightly_result = await run_cycle(receiver, is_nightly=True)
        assert (nightly_result.new, nightly_result.same) == (0, 6)
        assert len(await receiver.list_channels()) == 6


async def test_trouble_2_backfill_parses_a_row_by_its_own_field_names(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 2: one product's back-fill imported nothing for its whole life, and reported success."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        add_calls(responder, 1)
        assert (await run_cycle(receiver)).new == 1
        ((_, record),) = (await receiver.call_lookup.records()).items()
        assert (record.call_duration, record.status, record.type, record.via) == (
            30,
            "ANSWERED",
            "Internal",
            "backfill",
        )


@pytest.mark.parametrize("is_live", [False, True], ids=["missed call", "call that was received"])
async def test_backfill_note_that_a_person_wrote_on_the_pbx_is_kept(tmp_path: Path, *, is_live: bool) -> None:
    """It is written after the event was sent: the row of the list has it, and one without a note removes nothing."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        (api_row,) = add_calls(responder, 1)
        if is_live:
            await receiver.ingestor.ingest(receiver.pbx, event_of(api_row), "webhook")
        api_row["call_note"] = "wants a call back on Friday"
        totals = await run_cycle(receiver)
        assert (totals.new, totals.changed) == ((0, 1) if is_live else (1, 0))
        (record,) = (await receiver.call_lookup.records()).values()
        assert record.extra["call_note"] == "wants a call back on Friday"
        api_row["call_note"] = None
        await run_cycle(receiver, is_nightly=True)
        (record,) = (await receiver.call_lookup.records()).values()
        assert record.extra["call_note"] == "wants a call back on Friday"


async def test_backfill_row_that_cannot_be_parsed_is_counted_stored_and_reported(tmp_path: Path) -> None:
    """The other rows are parsed."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        add_calls(responder, 2)[0].pop("call_id")
        responder.calls.rows[0].pop("uid")
        totals = await run_cycle(receiver)
        assert (totals.new, totals.unreadable) == (1, 1)
        assert "parsed: 1" in receiver.state.alarms["unreadable"]
        assert len(await receiver.list_channels()) == 2


async def test_backfill_compared_time_is_complete(tmp_path: Path) -> None:
    """The first time the last month, without its first day; a call that just ended is not claimed."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        add_calls(responder, 3)
        await run_cycle(receiver)
        (interval,) = receiver.state.saved_intervals
        now = datetime.fromtimestamp(NOON, UTC)
        assert (interval.state, now - interval.until < timedelta(minutes=2)) == ("complete", True)
        assert timedelta(days=30) <= interval.until - interval.since <= timedelta(days=32)
        states = [
            saved_interval.state
            for saved_interval in fill_gaps(receiver.state.saved_intervals, now - 2 * DAY, now + DAY)
        ]
        assert states == ["complete", "gap"]


async def test_backfill_different_count_is_a_gap(tmp_path: Path) -> None:
    """The PBX counts more records than are stored: the day is a gap, with an alarm."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        yesterday = datetime.fromtimestamp(NOON, UTC).replace(hour=0) - DAY
        add_calls(responder, 3, before=30 * HOUR)
        await run_cycle(receiver)
        receiver.state.counts[yesterday] = 2
        await run_cycle(receiver, is_nightly=True)
        assert "counts 3 records that began on 2026-04-26 UTC, Onhook has 2" in receiver.state.alarms["difference"]
        gap = next(saved_interval for saved_interval in receiver.state.saved_intervals if saved_interval.state == "gap")
        assert (gap.since, gap.until) == (yesterday, yesterday + DAY)
        receiver.state.counts[yesterday] = 3
        await run_cycle(receiver, is_nightly=True)
        assert "difference" not in receiver.state.alarms
        assert [saved_interval.state for saved_interval in receiver.state.saved_intervals] == ["complete"]


async def test_backfill_calls_missed_by_the_push_channel_raise_an_alarm(tmp_path: Path) -> None:
    """They ended after the PBX was added; connected time is no longer trusted there."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        await receiver.pbx_sync.on_alive(NOON, NOON + 30)
        await receiver.pbx_sync._connected_time.save()
        responder.calls.rows = [row(NOON + 10, 1), row(NOON - HOUR, 2)]
        receiver.clock.offset_seconds += HOUR
        totals = await run_cycle(receiver)
        assert (totals.new, totals.missed) == (2, 1)
        assert "deliver: 1" in receiver.state.alarms["missed"]
        assert not any(saved_interval.state == "connected" for saved_interval in receiver.state.saved_intervals)
        receiver.clock.offset_seconds += HOUR
        await run_cycle(receiver)
        assert "missed" not in receiver.state.alarms


@pytest.mark.parametrize(
    "answer",
    [
        lambda: json_response(errcode=10001, errmsg="INTERFACE NOT EXISTED"),
        lambda: json_response(errcode=10005, errmsg="ACCESS DENIED"),
        lambda: json_response(errcode=-2, errmsg="INTERNAL SERVER ERROR"),
        lambda: json_response(errcode=-1, errmsg="FAILURE"),
        lambda: web.Response(status=404, text="<html>not found</html>", content_type="text/html"),
        lambda: web.Response(text="<html>sign in</html>", content_type="text/html"),
    ],
    ids=["unknown", "denied", "error", "failure", "404", "page"],
)
async def test_backfill_without_system_information_stores_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], web.Response]
) -> None:
    """The query is in Unix seconds; the offset from UTC follows from the ids."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.001)

    async def without_information(request: web.Request) -> web.Response | None:
        return answer() if request.path.endswith("system/information") else None

    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.override_response = without_information
        add_calls(responder, 5)
        assert (await run_cycle(receiver)).new == 5
        records = await receiver.call_lookup.records()
        assert {record.utc_offset for record in records.values()} == {"+03:00"}
        assert {record.offset_from for record in records.values()} == {"ids"}
        assert not receiver.state.alarms


@pytest.mark.parametrize(("skew", "word"), [(7300, "ahead of"), (-7300, "behind")])
async def test_backfill_wrong_clock_is_reported_and_hides_no_call(tmp_path: Path, skew: int, word: str) -> None:
    """The PBX lists calls by its own clock; the window allows for it, and claims only what was requested."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.information["timestamp"] = NOON + skew
        responder.calls.rows = [row(NOON + skew - 120 - 60 * number, number) for number in range(5)]
        assert (await run_cycle(receiver)).new == 5
        # To the minute: the answer took some time.
        assert re.search(rf"2:01:\d\d {word}", receiver.state.alarms["skew"])
        claimed = receiver.state.saved_intervals[0]
        window_since = receiver.state.saved_intervals[0].since.timestamp() - 86_400 + skew
        assert responder.calls.requests[-1].query["start_time"] <= str(round(window_since))
        assert claimed.state == "complete"
        responder.information["timestamp"] = NOON
        await run_cycle(receiver)
        assert "skew" not in receiver.state.alarms


async def test_backfill_changed_zone_is_reported_and_daylight_saving_is_not(tmp_path: Path) -> None:
    """An hour is daylight saving time; seven are another zone. A configured zone has precedence."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        for hours, is_reported in ((3, False), (2, False), (-5, True), (-5, False)):
            local = datetime.fromtimestamp(NOON, UTC) + timedelta(hours=hours)
            responder.information |= {"timestamp": NOON, "system_time": f"{local:%Y-%m-%d %H:%M:%S}"}
            await run_cycle(receiver)
            assert ("zone" in receiver.state.alarms) is is_reported
        receiver.state.offset = OFFSET
        await run_cycle(receiver)
        assert "its configured zone is +3:00" in receiver.state.alarms["zone"]


@pytest.mark.slow
async def test_backfill_killed_continues_where_it_was(tmp_path: Path) -> None:
    """Page by page; calls that ended meanwhile are fetched after it."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder, rows_max=10) as receiver:
        rows = add_calls(responder, 200)
        since = datetime.fromtimestamp(NOON - DAY.total_seconds(), UTC)
        totals_seen: list[int] = []
        fill = asyncio.create_task(
            receiver.pbx_sync.backfill(
                since, compares_days=False, on_progress=lambda totals, _: totals_seen.append(totals.new)
            )
        )
        await wait_until(lambda: bool(totals_seen) and totals_seen[-1] >= 50)
        fill.cancel()
        await asyncio.wait({fill})
        progress = receiver.state.saved_progress
        assert progress is not None
        before = len(responder.calls.requests)
        totals = await receiver.pbx_sync.backfill(since, compares_days=False)
        first_search = next(
            request for request in responder.calls.requests[before:] if request.query["page_size"] == "10"
        )
        assert first_search.query["start_time"] == str(progress.done_until)
        assert receiver.state.saved_progress is None
        assert {value.call_id for value in (await receiver.call_lookup.records()).values()} == {
            row["call_id"] for row in rows
        }
        assert totals.new <= 150
        assert receiver.pbx_sync._wake.is_set()


async def test_backfill_pbx_that_fails_midway_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored pages stay; the time is still a gap."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.01)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder, rows_max=10) as receiver:
        add_calls(responder, 100)

        async def fail(request: web.Request) -> web.StreamResponse | None:
            is_late = await receiver.ledger.last_seq() > 20 and "cdr" in request.path
            return json_response(errcode=-2, errmsg="INTERNAL SERVER ERROR") if is_late else None

        responder.override_response = fail
        with pytest.raises(Unavailable, match="-2"):
            await run_cycle(receiver)
        assert receiver.state.saved_intervals == []
        assert 0 < len(await receiver.list_channels()) < 100
        responder.override_response = None
        await run_cycle(receiver)
        assert len(await receiver.call_lookup.records()) == 100


@pytest.mark.parametrize("kind", ["slow", "garbage", "endless", "broken"])
async def test_backfill_invalid_response_ends_the_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In bounded time and memory, with an error that says what it was."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(pbx_session, "RESPONSE_SECONDS_MAX", 0.2)
    monkeypatch.setattr(pbx_session, "RESPONSE_BYTES_MAX", 100_000)
    async with open_pbx_responder() as responder:

        async def answer(request: web.Request) -> web.StreamResponse | None:
            if "cdr" not in request.path:
                return None
            if kind == "slow":
                await asyncio.sleep(1)
            body = {"garbage": b"<html>", "endless": b" " * 200_000}.get(kind, b'{"errcode":0,"data":[{]}')
            return web.Response(body=body)

        responder.override_response = answer
        async with open_sync_harness(tmp_path, responder) as receiver:
            with pytest.raises(OnhookError):
                await run_cycle(receiver)
            assert receiver.state.saved_intervals == []


async def test_trouble_28_backfill_pins_a_self_signed_certificate(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 28: without a pin and with another one it is rejected; with its own everything goes over
    TLS.
    """
    pinned_fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert((CERTIFICATES / "pbx.pem").read_text())).hexdigest()
    async with open_pbx_responder(with_tls=True) as responder:
        url = f"https://127.0.0.1:{responder.port}"
        for number, fingerprint in enumerate(("", "ab" * 32, pinned_fingerprint)):
            folder = tmp_path / str(number)
            folder.mkdir()
            async with (
                open_sync_harness(folder, responder, url=url, fingerprint=fingerprint) as receiver,
                run_push_channel(receiver),
            ):
                if fingerprint == pinned_fingerprint:
                    await wait_until(lambda: bool(responder.subscribed))
                    continue
                await wait_until(lambda memory=receiver.state: "certificate" in memory.alarms)  # type: ignore[misc] # its own
                assert not responder.request_names, "nothing was sent"


async def test_backfill_connected_time_is_stored_as_connected(tmp_path: Path) -> None:
    """From the subscription to the last confirmed heartbeat."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        await receiver.pbx_sync.on_alive(NOON, NOON + 30)
        await receiver.pbx_sync.on_alive(NOON, NOON + 60)
        await receiver.pbx_sync._connected_time.save()
        assert receiver.state.saved_intervals == [
            Interval(
                datetime.fromtimestamp(NOON, UTC),
                datetime.fromtimestamp(NOON + 60, UTC),
                "connected",
                "the push channel was connected",
            )
        ]
        assert responder.request_names == []


@pytest.mark.parametrize("party", ["call_from_number", "call_to_number"])
async def test_backfill_row_of_an_erased_call_is_neither_new_nor_stored_again(tmp_path: Path, party: str) -> None:
    """Its call is as it was; else each night would store it again, and say that the push channel had missed it."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.calls.rows = [row(NOON - 2 * HOUR, 1, **{party: "0301234567"}), row(NOON - 2 * HOUR, 2)]
        assert (await run_cycle(receiver)).new == 2
        erased_row = msgspec.json.encode({**responder.calls.rows[0], party: "erased"})
        (body,) = [wrap_row(erased_row, RowContext(sn=SN))]
        raw_events = await receiver.ledger.read(0, 10)
        (seq,) = [raw_event.seq for raw_event in raw_events if b"0301234567" in raw_event.body]
        await receiver.ledger.rewrite({seq: RewrittenContent("yeastar", body)})
        totals = await run_cycle(receiver, is_nightly=True)
        assert (totals.new, totals.changed, totals.same, totals.missed) == (0, 0, 2, 0)
        assert len(await receiver.list_channels()) == 2
