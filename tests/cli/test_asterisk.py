"""An Asterisk on the command line: it is declared, looked at, and read where it keeps its CDRs."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.coverage import Interval
from tests.cli.conftest import Command
from tests.pbx.asterisk.replayed import SECRET, USER, FakeAsterisk, open_fake_asterisk
from tests.pbx.asterisk.test_files import COLUMNS, as_csv, rows

ADD = ("pbx", "add", "Office", "--asterisk", "pbx.example.org", "--user", USER, "--secret", SECRET)
CALLS = len({row["linkedid"] for row in rows()})
FIRST, LAST = (f(int(row["linkedid"].partition(".")[0]) for row in rows()) for f in (min, max))


@pytest.fixture
def asterisk() -> Iterator[FakeAsterisk]:
    """One that runs beside the test, in a thread of its own."""
    begun, ended = threading.Event(), asyncio.Event()
    found: list[tuple[FakeAsterisk, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with open_fake_asterisk() as one:
            found.append((one, asyncio.get_running_loop()))
            begun.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    begun.wait()
    one, loop = found[0]
    yield one
    loop.call_soon_threadsafe(ended.set)
    thread.join()


def open_appdb() -> AppDb:
    return AppDb(Path("onhook-data/onhook.db"))


def test_an_asterisk_is_declared_without_a_serial_number(onhook: Command) -> None:
    """Its host stands for it, and is told; the secret is shown nowhere, and nobody can report in its name."""
    code, out, _ = onhook(*ADD)
    assert (code, "(pbx.example.org)" in out) == (0, True)
    for words in (("pbx", "list"), ("asterisk", "list")):
        _, out, _ = onhook(*words)
        assert "Office" in out
        assert SECRET not in out
    one = open_appdb()
    assert not one.pbx("Office").is_unsigned
    assert SECRET not in one.webhook_credentials()[0].secrets
    assert one.asterisks.get("pbx.example.org").port == 5038
    one.close()


def test_what_is_said_of_an_asterisk_is_kept(onhook: Command) -> None:
    """Port, trunks, contexts and PINs; a serial number of one's own; TLS has its own port."""
    words = ("--trunks", "trunk-a, trunk-b", "--inbound-context", "from-trunk", "--pins", "--sn", "A1", "--tls", "on")
    assert onhook(*ADD, *words)[0] == 0
    one = open_appdb()
    reached = one.asterisks.get("A1")
    assert (reached.port, reached.tls, reached.trunks) == (5039, "on", ("trunk-a", "trunk-b"))
    assert (reached.inbound, reached.has_pins) == (("from-trunk",), True)
    one.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--asterisk", "pbx.example.org", "--secret", SECRET), "no user is given"),
        (("--asterisk", "pbx.example.org", "--user", USER), "no secret is given"),
        (("--asterisk", "two words", "--user", USER, "--secret", SECRET), "not an address"),
        (("--asterisk", "a", "--user", USER, "--secret", SECRET, "--tls", "nowhere.pem"), "nowhere.pem"),
        (("--secret", SECRET), "no serial number"),
    ],
)
def test_what_cannot_be_meant_is_told(onhook: Command, words: tuple[str, ...], says: str) -> None:
    """In a sentence without the secret; nothing is declared."""
    code, _, error = onhook("pbx", "add", "Office", *words)
    assert code == 2
    assert says in error
    assert SECRET not in error


def test_the_doctor_prints_the_lines_that_are_missing(onhook: Command, asterisk: FakeAsterisk) -> None:
    """It asks the Asterisk itself, and fails where something is wrong."""
    at = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", at, "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Office")
    assert code == 1
    for line in ("linkedid => LinkedID", "unanswered = yes", "[mappings]", "in cel.conf:", "trunks: trunk-a"):
        assert line in out
    assert "behind" in out or "ahead" in out
    assert SECRET not in out


def test_the_doctor_says_why_it_cannot_look(onhook: Command, asterisk: FakeAsterisk) -> None:
    """Refused, or nobody there; what else is known is told all the same."""
    asterisk.rejects_login = True
    at = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", at, "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Office")
    assert (code, "Authentication failed" in out, "manager.conf" in out) == (1, True, True)
    assert "nobody said where it keeps its CDRs" in out
    assert onhook("pbx", "add", "Away", "--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Away")
    assert (code, "Connection refused (127.0.0.1:1)" in out, "Errno" in out) == (1, True, False)


def test_the_doctor_looks_at_what_is_kept(onhook: Command) -> None:
    """Whether it can be read, has a call of the last days, and has what makes a call."""
    at = ("--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET, "--cdr", "Master.csv")
    assert onhook("pbx", "add", "Office", *at)[0] == 0
    assert "ERROR   no such file" in onhook("doctor", "Office")[1]
    Path("Master.csv").write_text("".join(as_csv(list(COLUMNS))).replace("2026-", "2020-").replace('"179', '"158'))
    assert "WARNING no call of the last week" in onhook("doctor", "Office")[1]
    Path("Master.csv").write_text("".join(as_csv([name for name in COLUMNS if name != "linkedid"][:17])))
    assert "ERROR   the CDRs have no linkedid" in onhook("doctor", "Office")[1]
    now = int(time.time()) - 3600
    row = rows()[0] | {"linkedid": f"{now}.1", "uniqueid": f"{now}.1"}
    Path("Master.csv").write_text(json.dumps(row) + "\n")
    assert "OK      its CDRs can be read" in onhook("doctor", "Office")[1]


def test_where_cdrs_are_kept_is_changed(onhook: Command) -> None:
    """By hand, and taken away; the password is shown nowhere; another PBX has none."""
    assert onhook(*ADD)[0] == 0
    url = "mysql://freepbx:s3cret-of-the-database@db.example.org/asteriskcdrdb"
    assert onhook("pbx", "change", "Office", "--cdr", url, "--cdr-table", "calls")[0] == 0
    for words in (("pbx", "list"), ("asterisk", "list"), ("doctor", "Office")):
        assert "s3cret-of-the-database" not in "".join(map(str, onhook(*words)))
    assert "mysql://freepbx@db.example.org:3306" in onhook("asterisk", "list")[1]
    one = open_appdb()
    assert one.cdr_sources.all()["pbx.example.org"].table == "calls"
    one.close()
    assert onhook("pbx", "change", "Office", "--cdr", "none")[0] == 0
    assert "nobody said where Office keeps its CDRs" in onhook("backfill", "Office")[2]
    assert onhook("pbx", "add", "Other", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    assert "no Asterisk" in onhook("pbx", "change", "Other", "--cdr", url)[2]
    assert "only an Asterisk" in onhook("pbx", "add", "More", "--sn", "X", "--secret", "a-secret", "--cdr", url)[2]


def test_calls_are_read_by_hand(onhook: Command) -> None:
    """From several files, as a rotation leaves them; a second time nothing is new; what is left open is told."""
    assert onhook(*ADD)[0] == 0
    one = open_appdb()
    since, until = datetime.fromtimestamp(FIRST - 60, UTC), datetime.fromtimestamp(LAST + 3600, UTC)
    one.sync_states.save_intervals(
        "pbx.example.org", [Interval(since, until, "gap", "it was not heard: no connection")]
    )
    one.close()
    lines = as_csv(list(COLUMNS))
    Path("old.csv").write_text("".join(lines[:9]))
    Path("new.csv").write_text("".join(lines[9:]))
    words = ("backfill", "Office", "--from", "old.csv", "--from", "new.csv", "--since", "2020-01-01")
    code, out, _ = onhook(*words)
    assert (code, ", 0 changed, 0 here already, 0 that could not be read" in out) == (0, True)
    assert "calls may still be missing from" in out
    assert ": 0 new, 0 changed" in onhook(*words)[1]
    assert len(json.loads(onhook("calls", "--format", "json", "--limit", "1000")[1])) == CALLS


def test_calls_are_read_where_they_are_kept(onhook: Command) -> None:
    """By the one command, also while no server runs; how it ended is kept, and the calls are in the store."""
    assert onhook(*ADD, "--cdr", "Master.csv")[0] == 0
    Path("Master.csv").write_text("".join(as_csv(list(COLUMNS))))
    code, out, _ = onhook("backfill", "Office", "--since", "2020-01-01")
    assert (code, " 0 changed, 0 here already" in out) == (0, True)
    one = open_appdb()
    outcome = one.sync_states.backfill_result("pbx.example.org")
    one.close()
    assert outcome is not None
    assert outcome.new == outcome.rows > CALLS
    assert "complete" in onhook("coverage", "--since", "2020-01-01")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from", "nowhere.csv"), "no such file"),
        (("--from", "plain.csv"), "newcdrcolumns"),
        (("--from", "master.db", "--table", "calls"), "'calls' cannot be read"),
        (("--from", "oracle://u:p@h/d"), "cannot be read there"),
    ],
)
def test_what_cannot_be_read_is_told(onhook: Command, words: tuple[str, ...], says: str) -> None:
    """In a sentence; nothing is kept."""
    assert onhook(*ADD)[0] == 0
    Path("plain.csv").write_text("".join(as_csv([name for name in COLUMNS if name != "linkedid"][:17])))
    with closing(sqlite3.connect("master.db")) as database:
        database.execute("CREATE TABLE cdr (calldate TEXT)")
    code, _, error = onhook("backfill", "Office", "--since", "2020-01-01", *words)
    assert code != 0
    assert says in error
