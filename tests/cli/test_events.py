"""`onhook export-events` and `onhook import-events`."""

import asyncio
from pathlib import Path

from onhook.ledger.sqlite import SqliteLedger
from tests.cli.conftest import Command
from tests.test_projector import SN, entry, event


def test_events_are_moved_to_another_data_directory(onhook: Command, tmp_path: Path) -> None:
    """As after an upgrade was undone; the file is for its owner alone."""
    file, other = tmp_path / "events.jsonl", str(tmp_path / "other")
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "first-secret")[0] == 0
    assert onhook("export-events", str(file))[0] == 1
    asyncio.run(fill(next(tmp_path.rglob("onhook.db")).with_name("ledger.db")))
    assert onhook("export-events", str(file), "--since", "2026-01-01")[1] == f"2 events written to {file}.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "first-secret", "--data", other)[0] == 0
    imported = onhook("import-events", str(file), "--data", other)
    assert imported[1] == "2 events added, 0 were there already, 0 were deleted before.\n"
    assert onhook("calls", "--data", other)[1].count("Office") == 2


def test_events_unreadable_file_is_one_sentence(onhook: Command, tmp_path: Path) -> None:
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "first-secret")[0] == 0
    code, _, error = onhook("import-events", str(tmp_path / "missing"))
    assert (code, error.count("\n"), "cannot read the file" in error) == (2, 1, True)


async def fill(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.append([entry(event(0, "1001")), entry(event(1, "1002"))])
    await ledger.close()
