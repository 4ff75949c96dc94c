"""Each command that changes something has an entry in the audit log."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.audit import Audit
from onhook.cli.main import COMMANDS, load_command
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.pbx.yeastar.payload import Yeastar
from tests.cli.conftest import Command
from tests.cli.test_import_file import OF_THE_PAGE, SN, write_csv

READING = {
    *("service status", "pbx list", "pbx files", "asterisk list", "app list", "calls", "records", "export", "sql"),
    *("directory list", "directory export", "destination log", "destination list", "destination show", "mcp"),
    *("destination preview", "destination deliveries", "destination delivery", "export-events", "coverage"),
    *("quarantine list", "quarantine show", "doctor", "backup", "token list", "user list", "sign-in show"),
    *("mail show", "mail list", "report-schedule list", "version", "alert list"),
}
"""They change nothing; those that matter are entries as reads."""

CHANGING_TABLES = {
    *("pbx trust", "pbx add", "pbx remove", "pbx change", "pbx secret add", "pbx secret remove", "app add"),
    *("app change", "app renew", "app remove", "directory set", "directory remove", "directory import"),
    *("destination add", "destination change", "destination pause", "destination resume", "destination remove"),
    *("destination replay", "destination retry", "destination resend", "destination discard"),
    *("destination secret add", "destination secret remove", "token add", "token link", "token remove"),
    *("user add", "user change", "user invite", "user reset-factor", "user remove", "sign-in require-factor"),
    *("sign-in console-url", "mail set", "mail remove", "mail notify", "mail retry", "mail discard"),
    *("report-schedule add", "report-schedule change", "report-schedule pause", "report-schedule resume"),
    *("report-schedule remove", "alert add", "alert change", "alert remove"),
}
"""The triggers of `appdb.audited_tables` notice them."""

WRITING_ENTRIES = {
    *("app unblock", "backfill", "import", "sweep", "import-events", "quarantine retry", "erase", "rebuild", "restore"),
    *("begin-ledger", "cluster move-ledger", "cluster erase-again", "cluster forget-spool", "cluster save-store"),
    *("cluster load-store",),
}

CHANGING_NOTHING_STORED = {
    *("serve", "intake", "simulate", "destination test", "mail test", "report-schedule test"),
    *("service install", "service uninstall", "cluster move-appdb", "alert test"),
}
"""Processes, what is sent as a test, units of systemd; and a move of the audit log itself, whose rows are the same."""

PREFERENCES = {"alert quiet-hours"}
"""They change nothing for others."""


def walk(path: str, command: Any) -> Iterator[str]:
    below = getattr(command, "commands", {})
    for name, subcommand in below.items():
        yield from walk(f"{path} {name}", subcommand)
    if not below:
        yield path


def test_each_command_changes_nothing_or_is_audited() -> None:
    """A new command belongs into one of the sets, and into the test below where it writes its entry itself."""
    commands = [path for name in COMMANDS for path in walk(name, load_command(name))]
    sets = (READING, CHANGING_TABLES, WRITING_ENTRIES, CHANGING_NOTHING_STORED, PREFERENCES)
    assert sorted(commands) == sorted(chain(*sets))


def actions(folder: Path) -> list[tuple[str, str, str]]:
    """Return way, actor and action of all entries, the earliest first."""

    async def read() -> list[tuple[str, str, str]]:
        async with AppDb(folder / "onhook.db") as appdb:
            return [(entry.way, entry.actor, entry.action) for entry in reversed(await appdb.audit.latest(100))]

    return asyncio.run(read())


def append(folder: Path, body: bytes) -> None:
    async def append_entry() -> None:
        ledger = SqliteLedger(folder / "ledger.db")
        entry = LedgerEntry(
            sn=SN, dialect="yeastar", via="webhook", received_at=1, key=Yeastar().peek(body).key, body=body
        )
        await ledger.append([entry])
        await ledger.close()

    asyncio.run(append_entry())


def block(folder: Path) -> None:
    async def block_address() -> None:
        async with AppDb(folder / "onhook.db") as appdb:
            await appdb.apps.block("192.0.2.9", "client", SystemClock().microseconds())

    asyncio.run(block_address())


@pytest.fixture
def data(onhook: Command, tmp_path: Path) -> Path:
    """Return a data directory with a PBX and an event that cannot be parsed."""
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "first-secret")[0] == 0
    folder = tmp_path / "onhook-data"
    append(folder, b'{"type":30012,"sn":"%s","msg":"{broken"}' % SN.encode())
    return folder


def check_new_action(folder: Path, before: list[tuple[str, str, str]], words: str) -> None:
    new = actions(folder)[len(before) :]
    assert [(way, bool(actor)) for way, actor, action in new if words in action] == [("cli", True)], new


def test_commands_that_change_no_setting_are_audited(onhook: Command, data: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    block(data)
    for words, expected in (
        (("import", str(file), "--pbx", "Office"), "import 6 new lines of the file cdr.csv for the PBX Office"),
        (("quarantine", "retry", "--all"), "retry quarantined events"),
        (("rebuild",), "rebuild the store"),
        (("app", "unblock"), "remove blocked_addresses all"),
    ):
        before = actions(data)
        onhook(*words)
        check_new_action(data, before, expected)
    assert onhook("export-events", str(tmp_path / "events.jsonl"))[0] == 0
    before = actions(data)
    assert onhook("import-events", str(tmp_path / "events.jsonl"))[0] == 0
    check_new_action(data, before, "import 0 new events of the file events.jsonl")


def test_restore_and_begin_ledger_are_audited(onhook: Command, data: Path, tmp_path: Path) -> None:
    assert onhook("backup", str(tmp_path / "copy"))[0] == 0
    before = actions(data)
    assert onhook("restore", str(tmp_path / "copy"), "--replace")[0] == 0
    check_new_action(data, before, "restore the backup copy")
    (data / "ledger.db").unlink()
    before = actions(data)
    assert onhook("begin-ledger")[0] == 0
    check_new_action(data, before, "begin a new ledger after entry")


def test_forget_spool_is_audited(onhook: Command, data: Path) -> None:
    async def report_spool() -> None:
        async with AppDb(data / "onhook.db") as appdb:
            await appdb.node_states.report_spool("n2", events=2, oldest_at=1, now_us=SystemClock().microseconds())

    asyncio.run(report_spool())
    before = actions(data)
    assert onhook("cluster", "forget-spool", "n2")[0] == 0
    check_new_action(data, before, "forget the events that n2 kept")
    before = actions(data)
    assert onhook("cluster", "forget-spool", "n2")[0] == 1
    assert actions(data) == before


async def fail_to_add(*_arguments: Any, **_options: Any) -> None:
    raise Unavailable("the database is locked")


def test_commands_print_their_result_also_where_the_audit_log_fails(
    onhook: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is done: its result is needed, and so is the error."""
    file = write_csv(tmp_path / "cdr.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    assert onhook("export-events", str(tmp_path / "events.jsonl"))[0] == 0
    assert onhook("backup", str(tmp_path / "copy"))[0] == 0
    monkeypatch.setattr(Audit, "add_action", fail_to_add)
    for words, result in (
        (("import", str(file), "--pbx", "Office"), "new"),
        (("import-events", str(tmp_path / "events.jsonl")), "0 events added"),
        (("rebuild",), "The store contains all events"),
        (("restore", str(tmp_path / "copy"), "--replace"), "Restored "),
    ):
        code, output, error = onhook(*words)
        assert (code != 0, result in output, "the database is locked" in error) == (True, True, True), (words, output)
    (data / "ledger.db").unlink()
    code, output, error = onhook("begin-ledger")
    assert (code != 0, "A new ledger begins" in output, "is locked" in error) == (True, True, True), output


def test_sweep_is_audited(onhook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Path(__file__).parents[1] / "payloads" / "lines"
    folder = tmp_path / "CDRLogs"
    folder.mkdir()
    for path in lines.glob("3cx_v20_2024*.txt"):
        os.utime(shutil.copy(path, folder), (0, 0))
    assert onhook("pbx", "add", "Office", "--type", "3cx", "--listen", "127.0.0.1:5015")[0] == 0
    before = actions(tmp_path / "onhook-data")
    assert onhook("sweep", str(folder), "--pbx", "Office")[0] == 0
    check_new_action(tmp_path / "onhook-data", before, "store 2 new events of CDRLogs for the PBX Office")
    monkeypatch.setattr(Audit, "add_action", fail_to_add)
    code, output, error = onhook("sweep", str(folder), "--pbx", "Office")
    assert (code != 0, "0 new" in output, "is locked" in error) == (True, True, True), output
