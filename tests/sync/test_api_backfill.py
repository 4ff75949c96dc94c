"""Back-fill against a real socket: what the PBX still knows is here, once, and what is claimed is true."""

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.cdr.coverage import Interval, fill_gaps
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx.yeastar.rows import RowContext, wrap_row
from onhook.sync import pbx_session
from tests.pbx.yeastar.lists import NOON, OFFSET, SN, row
from tests.sync.harness import SyncHarness, open_sync_harness, run_push_channel
from tests.sync.pbx_responder import CERTIFICATES, PbxResponder, json_response, open_pbx_responder, wait_for

HOUR = 3600
DAY = timedelta(days=1)


def event_of(one: dict[str, Any]) -> bytes:
    """The event that a PBX sends for the call of a row; it says more, and names nobody."""
    (details,) = Yeastar().parse(wrap_row(msgspec.json.encode(one), RowContext(sn=SN)))
    said_more = msgspec.structs.replace(details, agent_ring_time=0, talk_duration=20, extra={})
    return Yeastar().format(said_more, SN, "p-2026")


def calls(face: PbxResponder, count: int, *, before: int = 2 * HOUR) -> list[dict[str, Any]]:
    """So many calls in the PBX's list, the last of them two hours ago."""
    face.calls.rows = [row(NOON - before - 60 * number, number) for number in range(count)]
    return face.calls.rows


async def made_round(receiver: SyncHarness, *, is_nightly: bool = False) -> Any:
    return await receiver.pbx_sync.run_cycle(is_nightly=is_nightly)


async def test_a_call_that_was_heard_and_fetched_is_one_record(tmp_path: Path) -> None:
    """By webhook, by socket and by back-fill; rows that say nothing new are not kept again."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        rows = calls(face, 6)
        await receiver.ingestor.ingest(receiver.pbx, event_of(rows[0]), "webhook")
        await receiver.ingestor.ingest(receiver.pbx, event_of(rows[1]), "websocket")
        found = await made_round(receiver)
        assert (found.new, found.same, found.changed, found.unreadable) == (4, 2, 0, 0)
        records = await receiver.call_lookup.records()
        assert sorted(record.call_id for record in records.values()) == sorted(one["call_id"] for one in rows)
        assert sorted(await receiver.list_channels()) == ["backfill"] * 4 + ["webhook", "websocket"]
        again = await made_round(receiver, is_nightly=True)
        assert (again.new, again.same) == (0, 6)
        assert len(await receiver.list_channels()) == 6


async def test_trouble_2_a_row_is_read_by_its_own_names(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 2: one product's back-fill imported nothing for its whole life, and reported success."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        calls(face, 1)
        assert (await made_round(receiver)).new == 1
        ((_, record),) = (await receiver.call_lookup.records()).items()
        assert (record.call_duration, record.status, record.type, record.via) == (
            30,
            "ANSWERED",
            "Internal",
            "backfill",
        )


async def test_a_row_that_cannot_be_read_is_counted_kept_and_told(tmp_path: Path) -> None:
    """Never skipped silently; what can be read is read all the same."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        calls(face, 2)[0].pop("call_id")
        face.calls.rows[0].pop("uid")
        found = await made_round(receiver)
        assert (found.new, found.unreadable) == (1, 1)
        assert "1 rows" in receiver.state.alarms["unreadable"]
        assert len(await receiver.list_channels()) == 2


async def test_a_stretch_that_was_compared_is_complete_and_nothing_else_is(tmp_path: Path) -> None:
    """The first time the last month, without its first day; a call that just ended is not claimed."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        calls(face, 3)
        await made_round(receiver)
        (stretch,) = receiver.state.saved_intervals
        now = datetime.fromtimestamp(NOON, UTC)
        assert (stretch.state, now - stretch.until < timedelta(minutes=2)) == ("complete", True)
        assert timedelta(days=30) <= stretch.until - stretch.since <= timedelta(days=32)
        states = [
            saved_interval.state
            for saved_interval in fill_gaps(receiver.state.saved_intervals, now - 2 * DAY, now + DAY)
        ]
        assert states == ["complete", "gap"]


async def test_a_count_that_differs_is_a_named_gap(tmp_path: Path) -> None:
    """The PBX counts more than is here: the day is a gap, and a person is told."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        yesterday = datetime.fromtimestamp(NOON, UTC).replace(hour=0) - DAY
        calls(face, 3, before=30 * HOUR)
        await made_round(receiver)
        receiver.state.counts[yesterday] = 2
        await made_round(receiver, is_nightly=True)
        assert "counts 3 records that began on 2026-04-26 UTC, Onhook has 2" in receiver.state.alarms["difference"]
        gap = next(saved_interval for saved_interval in receiver.state.saved_intervals if saved_interval.state == "gap")
        assert (gap.since, gap.until) == (yesterday, yesterday + DAY)
        receiver.state.counts[yesterday] = 3
        await made_round(receiver, is_nightly=True)
        assert "difference" not in receiver.state.alarms
        assert [saved_interval.state for saved_interval in receiver.state.saved_intervals] == ["complete"]


async def test_calls_that_the_push_channel_missed_are_told(tmp_path: Path) -> None:
    """They ended after the PBX was declared, and nobody said so; what was only heard is believed no more."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        receiver.pbx_sync.on_alive(NOON, NOON + 30)
        receiver.pbx_sync._save_connected_interval()
        face.calls.rows = [row(NOON + 10, 1), row(NOON - HOUR, 2)]
        receiver.clock.offset_seconds += HOUR
        found = await made_round(receiver)
        assert (found.new, found.missed) == (2, 1)
        assert "1 records" in receiver.state.alarms["missed"]
        assert not any(saved_interval.state == "connected" for saved_interval in receiver.state.saved_intervals)
        receiver.clock.offset_seconds += HOUR
        await made_round(receiver)
        assert "missed" not in receiver.state.alarms


@pytest.mark.parametrize(("skew", "word"), [(7200, "2:00:00 ahead of"), (-7200, "2:00:00 behind")])
async def test_a_clock_that_is_wrong_is_told_and_hides_no_call(tmp_path: Path, skew: int, word: str) -> None:
    """The PBX lists calls by its own clock; the window allows for it, and claims nothing that it did not ask for."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        face.information["timestamp"] = NOON + skew
        face.calls.rows = [row(NOON + skew - 120 - 60 * number, number) for number in range(5)]
        assert (await made_round(receiver)).new == 5
        assert word in receiver.state.alarms["clock"]
        claimed = receiver.state.saved_intervals[0]
        asked = receiver.state.saved_intervals[0].since.timestamp() - 86_400 + skew
        assert face.calls.requests[-1].query["start_time"] <= str(round(asked))
        assert claimed.state == "complete"
        face.information["timestamp"] = NOON
        await made_round(receiver)
        assert "clock" not in receiver.state.alarms


async def test_a_zone_that_moved_is_told_and_summer_time_is_not(tmp_path: Path) -> None:
    """An hour is summer time; seven are another zone. Where people set a zone, that counts."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        for hours, is_told in ((3, False), (2, False), (-5, True), (-5, False)):
            local = datetime.fromtimestamp(NOON, UTC) + timedelta(hours=hours)
            face.information |= {"timestamp": NOON, "system_time": f"{local:%Y-%m-%d %H:%M:%S}"}
            await made_round(receiver)
            assert ("zone" in receiver.state.alarms) is is_told
        receiver.state.offset = OFFSET
        await made_round(receiver)
        assert "its zone here says +3:00" in receiver.state.alarms["zone"]


async def test_a_back_fill_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Page by page; what ended meanwhile is asked for after it."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face, rows_max=10) as receiver:
        rows = calls(face, 200)
        since = datetime.fromtimestamp(NOON - DAY.total_seconds(), UTC)
        told: list[int] = []
        fill = asyncio.create_task(
            receiver.pbx_sync.backfill(since, compares_days=False, on_progress=lambda found, _: told.append(found.new))
        )
        await wait_for(lambda: bool(told) and told[-1] >= 50)
        fill.cancel()
        await asyncio.wait({fill})
        progress = receiver.state.saved_progress
        assert progress is not None
        before = len(face.calls.requests)
        found = await receiver.pbx_sync.backfill(since, compares_days=False)
        first_search = next(request for request in face.calls.requests[before:] if request.query["page_size"] == "10")
        assert first_search.query["start_time"] == str(progress.done_until)
        assert receiver.state.saved_progress is None
        assert {value.call_id for value in (await receiver.call_lookup.records()).values()} == {
            one["call_id"] for one in rows
        }
        assert found.new <= 150
        assert receiver.pbx_sync._wake.is_set()


async def test_a_pbx_that_fails_in_between_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept until then is kept; the stretch is still a gap."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.01)
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face, rows_max=10) as receiver:
        calls(face, 100)

        async def fail(request: web.Request) -> web.StreamResponse | None:
            is_late = await receiver.ledger.last_seq() > 20 and "cdr" in request.path
            return json_response(errcode=-2, errmsg="INTERNAL SERVER ERROR") if is_late else None

        face.override_response = fail
        with pytest.raises(Unavailable, match="-2"):
            await made_round(receiver)
        assert receiver.state.saved_intervals == []
        assert 0 < len(await receiver.list_channels()) < 100
        face.override_response = None
        await made_round(receiver)
        assert len(await receiver.call_lookup.records()) == 100


@pytest.mark.parametrize("kind", ["slow", "garbage", "endless", "broken"])
async def test_a_pbx_that_answers_wrongly_ends_its_own_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In bounded time and memory, with an error that says what it was."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(pbx_session, "RESPONSE_SECONDS_MAX", 0.2)
    monkeypatch.setattr(pbx_session, "RESPONSE_BYTES_MAX", 100_000)
    async with open_pbx_responder() as face:

        async def answer(request: web.Request) -> web.StreamResponse | None:
            if "cdr" not in request.path:
                return None
            if kind == "slow":
                await asyncio.sleep(1)
            body = {"garbage": b"<html>", "endless": b" " * 200_000}.get(kind, b'{"errcode":0,"data":[{]}')
            return web.Response(body=body)

        face.override_response = answer
        async with open_sync_harness(tmp_path, face) as receiver:
            with pytest.raises(OnhookError):
                await made_round(receiver)
            assert receiver.state.saved_intervals == []


async def test_trouble_28_a_certificate_of_its_own_is_pinned_never_ignored(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 28: without a pin and with another one it is refused; with its own all goes over TLS."""
    right = hashlib.sha256(ssl.PEM_cert_to_DER_cert((CERTIFICATES / "pbx.pem").read_text())).hexdigest()
    async with open_pbx_responder(with_tls=True) as face:
        url = f"https://127.0.0.1:{face.port}"
        for number, fingerprint in enumerate(("", "ab" * 32, right)):
            folder = tmp_path / str(number)
            folder.mkdir()
            async with (
                open_sync_harness(folder, face, url=url, fingerprint=fingerprint) as receiver,
                run_push_channel(receiver),
            ):
                if fingerprint == right:
                    await wait_for(lambda: bool(face.subscribed))
                    continue
                await wait_for(lambda memory=receiver.state: "certificate" in memory.alarms)  # type: ignore[misc] # its own
                assert not face.request_names, "nothing was said to it"


async def test_what_is_heard_is_written_down_and_is_no_promise(tmp_path: Path) -> None:
    """From the subscription to the last beat that was answered."""
    async with open_pbx_responder() as face, open_sync_harness(tmp_path, face) as receiver:
        receiver.pbx_sync.on_alive(NOON, NOON + 30)
        receiver.pbx_sync.on_alive(NOON, NOON + 60)
        receiver.pbx_sync._save_connected_interval()
        assert receiver.state.saved_intervals == [
            Interval(
                datetime.fromtimestamp(NOON, UTC),
                datetime.fromtimestamp(NOON + 60, UTC),
                "connected",
                "the push channel was alive",
            )
        ]
        assert face.request_names == []
