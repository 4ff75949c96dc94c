"""`onhook token`."""

import asyncio
import getpass
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.audit import AuditEntry
from tests.cli.conftest import Command


def test_token_is_shown_once(onhook: Command) -> None:
    """Listed by name and role, removed by name."""
    code, text, _ = onhook("token", "add", "wallboard")
    assert code == 0
    _, out, _ = onhook("token", "list")
    assert "wallboard" in out
    assert "reader" in out
    assert text.strip() not in out
    assert onhook("token", "add", "wallboard")[0] == 2
    assert onhook("token", "remove", "wallboard")[0] == 0
    assert "wallboard" not in onhook("token", "list")[1]


def test_token_is_in_the_audit_log(onhook: Command, tmp_path: Path) -> None:
    """Also one that the command line adds."""

    async def read_entries() -> list[AuditEntry]:
        async with AppDb(tmp_path / "onhook-data" / "onhook.db") as appdb:
            return await appdb.audit.latest(1)

    text = onhook("token", "add", "wallboard")[1].strip()
    (entry,) = asyncio.run(read_entries())
    assert (entry.way, entry.action, entry.actor) == ("cli", "add token wallboard", getpass.getuser())
    assert entry.after["tokens"][0]["role"] == "reader"
    assert text not in str(entry)


def test_token_can_be_limited(onhook: Command) -> None:
    """To PBXs by name and to extensions; an administrator cannot be limited, and an unknown PBX is an error."""
    onhook("pbx", "add", "office", "--sn", "3631A2124XXX", "--secret", "0123456789abcdef")
    assert onhook("token", "add", "board", "--pbx", "office", "--number", "1001", "--number", "1002")[0] == 0
    assert "office; 1001, 1002" in onhook("token", "list")[1]
    assert onhook("token", "add", "chief", "--role", "administrator", "--number", "1001")[0] == 2
    assert onhook("token", "add", "lost", "--pbx", "nowhere")[0] == 1
    assert "lost" not in onhook("token", "list")[1]
