"""`onhook pbx add --asterisk` and `onhook asterisk`: an Asterisk is declared, looked at, and its gaps are filled."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.settings.settings import Settings
from tests.cli.conftest import Command
from tests.pbx.asterisk.replayed import SECRET, USER, ReplayedAsterisk, replayed_asterisk
from tests.pbx.asterisk.test_files import COLUMNS, as_csv, rows

ADD = ("pbx", "add", "Office", "--asterisk", "pbx.example.org", "--user", USER, "--secret", SECRET)
CALLS = len({row["linkedid"] for row in rows()})
MINUTE = 60_000_000
FIRST, LAST = (f(int(row["linkedid"].partition(".")[0]) for row in rows()) * 1_000_000 for f in (min, max))


@pytest.fixture
def asterisk() -> Iterator[ReplayedAsterisk]:
    """One that runs beside the test, in a thread of its own."""
    begun, ended = threading.Event(), asyncio.Event()
    found: list[tuple[ReplayedAsterisk, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with replayed_asterisk() as one:
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


def settings() -> Settings:
    return Settings(Path("onhook-data/onhook.db"))


def with_gap(since: int, until: int) -> None:
    one = settings()
    one.asterisks.opened("pbx.example.org", since)
    one.asterisks.opened("pbx.example.org", until)
    one.close()


def test_an_asterisk_is_declared_without_a_serial_number(onhook: Command) -> None:
    """Its host stands for it, and is told; the secret is shown nowhere, and nobody can report in its name."""
    code, out, _ = onhook(*ADD)
    assert (code, "(pbx.example.org)" in out) == (0, True)
    for words in (("pbx", "list"), ("asterisk", "list")):
        _, out, _ = onhook(*words)
        assert "Office" in out
        assert SECRET not in out
    one = settings()
    assert not one.pbx("Office").is_unsigned
    assert SECRET not in one.credentials()[0].secrets
    assert one.asterisks.of("pbx.example.org").port == 5038
    one.close()


def test_what_is_said_of_an_asterisk_is_kept(onhook: Command) -> None:
    """Port, trunks, contexts and PINs; a serial number of one's own; TLS has its own port."""
    words = ("--trunks", "trunk-a, trunk-b", "--inbound-context", "from-trunk", "--pins", "--sn", "A1", "--tls", "on")
    assert onhook(*ADD, *words)[0] == 0
    one = settings()
    reached = one.asterisks.of("A1")
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


def test_the_doctor_prints_the_lines_that_are_missing(onhook: Command, asterisk: ReplayedAsterisk) -> None:
    """It asks the Asterisk itself, and fails where something is wrong."""
    at = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", at, "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("asterisk", "doctor", "Office")
    assert code == 1
    for line in ("linkedid => LinkedID", "unanswered = yes", "[mappings]", "in cel.conf:", "trunks: trunk-a"):
        assert line in out
    assert "behind" in out or "ahead" in out
    assert SECRET not in out


def test_the_doctor_says_why_it_cannot_look(onhook: Command, asterisk: ReplayedAsterisk) -> None:
    """Refused, or nobody there; and a PBX that is no Asterisk is told so."""
    asterisk.refuses = True
    at = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", at, "--user", USER, "--secret", SECRET)[0] == 0
    code, _, error = onhook("asterisk", "doctor", "Office")
    assert (code, "Authentication failed" in error, "manager.conf" in error) == (1, True, True)
    assert onhook("pbx", "add", "Away", "--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET)[0] == 0
    code, _, error = onhook("asterisk", "doctor", "Away")
    assert (code, "no connection" in error) == (1, True)
    assert onhook("pbx", "add", "Other", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    assert "no Asterisk" in onhook("asterisk", "doctor", "Other")[2]


def test_a_gap_is_filled_and_told(onhook: Command) -> None:
    """From several files, as a rotation leaves them; a second time there is nothing to fill, and nothing is new."""
    assert onhook(*ADD)[0] == 0
    with_gap(FIRST + 1, LAST - MINUTE)
    lines = as_csv(list(COLUMNS))
    Path("old.csv").write_text("".join(lines[:9]))
    Path("new.csv").write_text("".join(lines[9:]))
    assert onhook("asterisk", "list")[1].rstrip().endswith("1")
    words = ("asterisk", "backfill", "Office", "--from", "old.csv", "--from", "new.csv")
    code, out, _ = onhook(*words)
    assert (code, "filled: from" in out) == (0, True)
    code, _, error = onhook(*words)
    assert (code, "no gap" in error) == (2, True)
    code, out, _ = onhook(*words, "--since", "2020-01-01")
    assert f"{CALLS} calls read" in out
    _, out, _ = onhook(*words, "--since", "2020-01-01")
    assert f"{CALLS} calls read, 0 of them new" in out


@pytest.mark.parametrize(
    ("since", "until", "why"),
    [
        (FIRST - 60 * MINUTE, FIRST + MINUTE, "older ones"),
        (FIRST + 1, LAST + MINUTE // 2, "no call after it"),
    ],
)
def test_a_gap_that_the_files_do_not_reach_over_stays(onhook: Command, since: int, until: int, why: str) -> None:
    """What they have of it is kept, and it is said what is missing; whoever knows better says so with --since."""
    assert onhook(*ADD)[0] == 0
    with_gap(since, until)
    Path("a.csv").write_text("".join(as_csv(list(COLUMNS))))
    _, out, _ = onhook("asterisk", "backfill", "Office", "--from", "a.csv")
    assert "left open: from" in out
    assert why in out
    assert "filled: from" in onhook("asterisk", "backfill", "Office", "--from", "a.csv", "--since", "2020-01-01")[1]


def test_a_table_is_read_as_well(onhook: Command) -> None:
    """Of a SQLite file, by its columns' names; a table that is not there is told with those that are."""
    assert onhook(*ADD)[0] == 0
    with sqlite3.connect("master.db") as database:
        names = [name if name != "end" else '"end"' for name in COLUMNS]
        database.execute(f"CREATE TABLE cdr ({', '.join(names)})")
        database.executemany(
            f"INSERT INTO cdr VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - and as many marks
            [list(row.values()) for row in rows()],
        )
    database.close()
    _, out, _ = onhook("asterisk", "backfill", "Office", "--from", "master.db", "--since", "2020-01-01")
    assert f"{CALLS} calls read, {CALLS} of them new" in out
    words = ("asterisk", "backfill", "Office", "--from", "master.db", "--since", "2020-01-01", "--table", "calls")
    code, _, error = onhook(*words)
    assert (code, "cdr" in error) == (2, True)


def test_what_cannot_be_read_is_told(onhook: Command) -> None:
    """A file that is not there, one without linkedid, and single lines, by their places."""
    assert onhook(*ADD)[0] == 0
    words = ("asterisk", "backfill", "Office", "--since", "2020-01-01", "--from")
    assert "no such file" in onhook(*words, "nowhere.csv")[2]
    Path("plain.csv").write_text("".join(as_csv([name for name in COLUMNS if name != "linkedid"][:17])))
    assert "newcdrcolumns" in onhook(*words, "plain.csv")[2]
    lines = [json.dumps(row) for row in rows()]
    Path("torn.json").write_text("\n".join([*lines, lines[0][:50]]))
    code, out, _ = onhook(*words, "torn.json")
    assert (code, f"not read: line {len(lines) + 1}: it is not JSON" in out) == (0, True)
