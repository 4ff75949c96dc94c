"""Erasure of a number from all that is stored: no file has it at the end, and calls stay."""

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.control_entries import Forgotten, encode_control
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, UsageError
from onhook.ops import number_erasure
from onhook.ops.backup import create_backup, restore
from onhook.ops.erasure_list import LIST_NAME
from onhook.ops.rebuild import rebuild
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.engines import ENGINES, open_store_file
from tests.factories import SN
from tests.ops.erasure_world import (
    CALLS,
    CALLS_OF_NUMBER,
    EVENTS,
    FIRST,
    NAME,
    NUMBER,
    OTHER,
    append,
    call_id,
    event,
    fill,
    find_bytes,
    open_directory,
    read_calls,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", zone="Europe/Berlin")


async def make_anew(config: Config) -> None:
    await rebuild(config, lambda _position, _last_seq: None, ENGINES)


async def erase(config: Config, number: str = NUMBER) -> None:
    async with open_directory(config) as files:
        await files.eraser.erase(number)
        await files.eraser.finish()
    await make_anew(config)


async def test_preview_says_what_has_the_number_and_changes_nothing(config: Config) -> None:
    await fill(config)
    async with open_directory(config) as files:
        before = await read_calls(files)
        counts = await files.eraser.preview("030 / 90 18 20")
        assert await read_calls(files) == before
        assert await files.eraser.preview(NUMBER) == counts
    assert (config.data / "recordings" / "20260427-030901820-1001.wav").exists()
    assert msgspec.structs.asdict(counts) == {
        "calls": CALLS_OF_NUMBER,
        "raw_events": 5,
        "notes": 2,
        "recordings": 1,
        "deliveries": 1,
        "logged_attempts": 1,
        "saved_searches": 1,
        "share_tokens": 1,
        "audit_entries": 7,
        "directory_entries": 0,
        "saved_questions": 1,
        "past_queries": 1,
        "mails": 3,
        "report_schedules": 1,
        "failure_texts": 0,
        "settings": (),
        "elsewhere": (),
    }


async def test_preview_names_settings_that_stay(config: Config) -> None:
    """Each with its name, by which a person finds it."""
    await fill(config)
    limited = AccessScope(numbers=("030901820",))
    async with open_directory(config) as files:
        appdb = files.appdb
        spec = DestinationSpec(
            url="http://127.0.0.1:1/", allow_private=True, filter=RecordFilter(call_from="+49 30 901820")
        )
        await appdb.destinations.add("vip", spec, "s" * 32, after=0, now_us=1)
        await appdb.destinations.replay("crm", RecordFilter(number="030901820"), after=0, until=2, now_us=1)
        await appdb.users.add("Bob", "reader", limited, now_us=1)
        await appdb.tokens.add("kiosk", "reader", now_us=1, scope=limited)
        layout = DashboardLayout(tiles=(StoredTile("totals", 3),))
        dashboard = await appdb.dashboards.save("Sales", layout, author="Eve")
        await appdb.wallboard_links.add(dashboard.dashboard_id, "Hall", scope=limited, expires_us=2, now_us=1)
        settings = ("destination vip", "replay of crm", "user Bob", "token kiosk", "wallboard link Hall")
        assert (await files.eraser.preview(NUMBER)).settings == settings
        assert (await files.eraser.erase(NUMBER)).settings == settings
        await files.eraser.finish()
        assert (await appdb.destinations.get("vip")).filter == spec.filter


async def test_erase_on_several_machines_registers_no_second_store(config: Config) -> None:
    """Raw events would wait for it for days."""
    await fill(config)
    async with open_directory(config) as files:
        await files.appdb._database.write("DELETE FROM stores")
        eraser = create_eraser(
            msgspec.structs.replace(
                config, appdb="postgresql://db/onhook", ledger="nats://127.0.0.1/onhook", node="one"
            ),
            appdb=files.appdb,
            ledger=files.ledger,
            store=files.store,
            projector=Projector(ledger=files.ledger, store=files.store, dialects=dialects(), clock=SystemClock()),
            clock=SystemClock(),
        )
        with pytest.raises(NotFound):
            await eraser.erase("+49 30 5555555")
        await eraser.erase(NUMBER)
        await eraser.finish()
        assert await files.appdb._database.rows("SELECT name FROM stores") == [("hub@one",)]


async def test_erase_no_file_has_the_number_and_calls_stay(config: Config) -> None:
    await fill(config)
    assert len(find_bytes(config.data)) >= 3
    async with open_directory(config) as files:
        before = await read_calls(files)
    await erase(config)
    assert find_bytes(config.data) == []
    assert find_bytes(config.data, NAME) == []
    async with open_directory(config) as files:
        after = await read_calls(files)
        assert [status.state for status in await files.eraser.list_erasures()] == ["finished"]
    assert len(after) == CALLS
    assert after[3:] == before[3:]
    assert [call.call_from for call in after[:3]] == ["erased", "1001", "erased"]
    assert (after[1].call_to, after[1].answered_by) == ("erased", "erased")
    for old, new in zip(before, after, strict=True):
        for name in ("started_at", "ended_at", "status", "type", "talk_duration", "wait_duration"):
            assert getattr(new, name) == getattr(old, name)
    assert [len(call.legs) for call in after] == [len(call.legs) for call in before]


async def test_erase_rows_of_the_number_go_and_others_stay(config: Config) -> None:
    await fill(config)
    await erase(config)
    async with AppDb(config.appdb_file) as appdb:
        (note,) = await appdb.notes.history(SN, call_id(0))
        assert (note.text, note.tags) == ("", ("new",))
        assert await appdb.notes.history(SN, call_id(3)) == []
        assert [note.text for note in await appdb.notes.history(SN, call_id(4))] == ["stays"]
        assert [search.name for search in await appdb.saved_searches.all()] == ["Missed"]
        assert [question.name for question in await appdb.saved_questions.all()] == ["Outcomes"]
        assert [past.sql for past in await appdb.sql_history.of_author("Eve")] == ["SELECT status FROM calls"]
        assert [mail.subject for mail in await appdb.mails.latest(9)] == ["stays"]
        assert [schedule.name for schedule in await appdb.report_schedules.all()] == ["Missed"]
        assert "sheet" not in [token.name for token in await appdb.tokens.all()]
        counts = [await appdb.erasures.count([(SN, call_id(number))]) for number in (0, 3)]
        assert [(count.deliveries, count.logged_attempts) for count in counts] == [(0, 0), (1, 1)]
        actions = [entry.action for entry in await appdb.audit.latest(100)]
    assert actions[0] == "erase a number: calls: 3, raw events: 5"
    assert "export (erased)" in actions
    assert sorted(path.name for path in (config.data / "recordings").iterdir()) == ["other.wav"]


async def test_erase_what_arrives_later_for_the_calls_does_not_bring_the_number_back(config: Config) -> None:
    """A repeat, a late update, a row of the PBX's list; and a new call of the number, which is stored."""
    await fill(config)
    await erase(config)
    async with open_directory(config) as files:
        before = await read_calls(files)
        outcomes = [result.outcome for result in await append(files, *EVENTS)]
        assert outcomes == ["duplicate"] * len(EVENTS)
        await append(files, event(0, "Alice Smith<+4930901820>", talk_duration=14, recording="030901820.wav"))
        await append(files, event(2, "030901820", status="NO ANSWER", talk_duration=0), via="backfill")
        after = await read_calls(files)
        assert [(call.call_from, call.call_to, len(call.legs)) for call in after] == [
            (call.call_from, call.call_to, len(call.legs)) for call in before
        ]
        await files.eraser.finish()
    await make_anew(config)
    assert find_bytes(config.data) == []
    async with open_directory(config) as files:
        assert await read_calls(files) == after
        await append(files, event(9, "Alice Smith<030901820>"))
        assert (await read_calls(files))[-1].call_from == "Alice Smith<030901820>"
        await files.eraser.finish()
        assert (await files.eraser.preview(NUMBER)).calls == 1


async def test_finish_at_rest_writes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing can be left of an erasure."""
    await fill(config)
    async with open_directory(config) as files:
        await files.eraser.erase(NUMBER)
        monkeypatch.setattr(number_erasure, "SETTLING_SECONDS", 0.0)
        await files.eraser.finish()
        version = await files.appdb.version()
        await files.eraser.finish()
        assert await files.appdb.version() == version


async def test_list_erasures_waits_for_none_that_is_being_finished(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page shows when it is done, and files of gigabytes take minutes."""
    await fill(config)
    async with open_directory(config) as files:
        await files.eraser.erase(NUMBER)
        may_end, has_begun = asyncio.Event(), asyncio.Event()

        async def overwrite_deleted() -> None:
            has_begun.set()
            await may_end.wait()

        monkeypatch.setattr(files.ledger, "overwrite_deleted", overwrite_deleted)
        finishing = asyncio.create_task(files.eraser.finish())
        await has_begun.wait()
        async with asyncio.timeout(10):
            assert [erasure.state for erasure in await files.eraser.list_erasures()] == ["erasing"]
        may_end.set()
        await finishing
        assert [erasure.state for erasure in await files.eraser.list_erasures()] == ["rewritten"]


async def test_finish_keeps_no_entries_of_deleted_calls_in_memory(config: Config) -> None:
    """With a retention, each day adds one for some hundred calls; they are deleted from the ledger, later."""
    async with open_directory(config) as files:
        await append(files, FIRST)
        await files.ledger.append_control(
            [encode_control(Forgotten(seqs=(number, number + 1))) for number in range(100, 110)],
            last_control_seq=await files.ledger.last_control_seq(),
            now_us=1,
        )
        await files.catch_up()
        gc.collect()
        await files.eraser.finish()
        gc.collect()
        assert not [entry for entry in gc.get_objects() if isinstance(entry, Forgotten)]


async def test_erase_deliveries_of_calls_without_any_write_nothing(config: Config) -> None:
    """They are looked for every five seconds for some minutes, also those of an extension with 100,000 calls."""
    await fill(config)
    async with AppDb(config.appdb_file) as appdb:
        version = await appdb.version()
        assert await appdb.erasures.delete_deliveries([(SN, f"none.{number}") for number in range(1_000)]) == 0
        assert await appdb.version() == version
        assert await appdb.erasures.delete_deliveries([(SN, call_id(0)), (SN, call_id(1))]) == 1


async def test_erase_queries_in_sql_show_the_number_no_longer(config: Config) -> None:
    """They read a copy of the store that is shared for some minutes."""
    await fill(config)
    query = "SELECT call_from FROM calls ORDER BY call_id"
    async with open_directory(config) as files:
        assert (await files.sql_runner.run(query)).rows[2] == ["0049 30901820"]
        await files.eraser.erase(NUMBER)
        assert [row for (row,) in (await files.sql_runner.run(query)).rows][:3] == ["erased", "1001", "erased"]


async def test_projector_of_another_store_reports_an_erasure_when_it_applies_it(config: Config, tmp_path: Path) -> None:
    """Each hub has copies of a store of its own."""
    reports: list[int] = []
    await fill(config)
    async with open_directory(config) as files:
        store = await open_store_file(tmp_path / "other.duckdb")
        projector = Projector(
            ledger=files.ledger,
            store=store,
            dialects=dialects(),
            clock=SystemClock(),
            on_erased=lambda: reports.append(1),
        )
        await projector.catch_up()
        await files.eraser.erase(NUMBER)
        assert reports == []
        await projector.catch_up()
        assert reports == [1]
        await store.close()


async def test_erase_second_number_of_a_call_leaves_earlier_erasures_without_it(config: Config) -> None:
    async with open_directory(config) as files:
        await append(files, event(0, OTHER, call_to="030901820"), event(0, "1001", call_to=OTHER))
        await files.eraser.erase(NUMBER)
        await files.eraser.finish()
    assert find_bytes(config.data, b"401234567") != []
    await erase(config, OTHER)
    assert find_bytes(config.data) == find_bytes(config.data, b"401234567") == []
    async with open_directory(config) as files:
        (call,) = await read_calls(files)
    assert {(leg.call_from, leg.call_to) for leg in call.legs} == {("erased a", "erased"), ("1001", "erased a")}


async def test_erase_extension_calls_of_it_lose_it(config: Config) -> None:
    await fill(config)
    await erase(config, "1001")
    async with open_directory(config) as files:
        calls = await read_calls(files)
    assert [(call.call_from, call.call_to) for call in calls][3:] == [(OTHER, "erased"), (OTHER, "Carol<1003>")]


async def test_preview_rows_are_searched_beside_the_event_loop(config: Config) -> None:
    """The audit log has up to 50,000 entries of up to 40,000 characters each."""
    await fill(config)
    threads: list[threading.Thread] = []

    def occurs_in(_text: str) -> bool:
        threads.append(threading.current_thread())
        return False

    async with open_directory(config) as files:
        await files.appdb.erasures.find(occurs_in, [])
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(("number", "expected"), [("7", "2 digits"), ("Alice", "digits"), ("12x45", "telephone")])
async def test_preview_invalid_number_is_refused(config: Config, number: str, expected: str) -> None:
    async with open_directory(config) as files:
        with pytest.raises(UsageError, match=expected):
            await files.eraser.preview(number)


async def test_erase_number_that_nothing_has_is_refused(config: Config) -> None:
    await fill(config)
    async with open_directory(config) as files:
        for action in (files.eraser.preview, files.eraser.erase):
            with pytest.raises(NotFound, match="nothing"):
                await action("+49 30 5555555")


async def test_erase_many_calls_need_their_number(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_erasure, "CALLS_UNCONFIRMED_MAX", 2)
    await fill(config)
    async with open_directory(config) as files:
        for calls in (None, 2):
            with pytest.raises(UsageError, match="3 calls"):
                await files.eraser.erase(NUMBER, calls=calls)
        assert (config.data / "recordings" / "20260427-030901820-1001.wav").exists()
        assert (await files.eraser.erase(NUMBER, calls=3)).calls == 3


async def test_restore_backup_of_before_is_erased_again(config: Config, tmp_path: Path) -> None:
    await fill(config)
    create_backup(config, tmp_path / "before", SystemClock())
    await erase(config)
    async with open_directory(config) as files:
        expected = await read_calls(files)
    assert restore(config, tmp_path / "before", replace=True).erased_call_count == CALLS_OF_NUMBER
    async with open_directory(config) as files:
        assert await read_calls(files) == expected
        await files.eraser.finish()
    await make_anew(config)
    assert find_bytes(config.data) == []
    assert restore(config, tmp_path / "before", replace=True).erased_call_count == CALLS_OF_NUMBER


async def test_restore_elsewhere_takes_the_list_of_a_later_backup(config: Config, tmp_path: Path) -> None:
    await fill(config)
    create_backup(config, tmp_path / "before", SystemClock())
    await erase(config)
    create_backup(config, tmp_path / "after", SystemClock())
    assert find_bytes(tmp_path / "after") == []
    other = Config(data=tmp_path / "other", zone="Europe/Berlin")
    assert restore(other, tmp_path / "after", replace=False).erased_call_count == 0
    lists = [tmp_path / "after" / LIST_NAME]
    result = restore(other, tmp_path / "before", replace=True, erasure_lists=lists)
    assert result.erased_call_count == CALLS_OF_NUMBER
    with pytest.raises(UsageError, match="list of erasures"):
        restore(other, tmp_path / "before", replace=True, erasure_lists=[tmp_path / "none"])


async def test_erase_event_that_is_readable_in_part_leaves_the_quarantine(config: Config) -> None:
    """What cannot be read of it may have the number."""
    async with open_directory(config) as files:
        broken = b'{"type": 30012, "sn": "%s", "msg": "{030901820"}' % SN.encode()
        await append(files, b"[" + FIRST + b"," + broken + b"," + event(4, OTHER) + b"]")
        assert len(await files.store.quarantine(10)) == 1
        before = await read_calls(files)
    await erase(config)
    assert find_bytes(config.data) == []
    async with open_directory(config) as files:
        assert await files.store.quarantine(10) == []
        after = await read_calls(files)
    assert [call.call_from for call in after] == ["erased", OTHER]
    assert after[1] == before[1]


async def test_erase_call_of_an_event_that_comes_in_between_is_erased_too(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leg was stored with the number after the plan and before the entry."""
    later = event(0, "Alice Smith<0049 30901820>", call_to="Carol<1003>")
    async with open_directory(config) as files:
        await append(files, FIRST, event(4, OTHER))
        find_rows = files.appdb.erasures.find

        async def append_and_find(*arguments: Any) -> Any:
            await append(files, later)
            return await find_rows(*arguments)

        monkeypatch.setattr(files.appdb.erasures, "find", append_and_find)
        await files.eraser.erase(NUMBER)
        await files.eraser.finish()
        first, _other = await read_calls(files)
    assert sorted((leg.call_from, leg.call_to) for leg in first.legs) == [("erased", "1003"), ("erased", "Bob<1001>")]
    await make_anew(config)
    assert find_bytes(config.data) == []
    async with open_directory(config) as files:
        assert (await read_calls(files))[0] == first
