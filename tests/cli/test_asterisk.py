"""An Asterisk on the command line: adding, checking, and reading its CDR source."""

import asyncio
import json
import re
import shlex
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.audit import Audit
from onhook.cdr.coverage import Interval
from tests.cli.conftest import Command
from tests.cli.test_audited_commands import fail_to_add
from tests.pbx.asterisk.replayed import SECRET, USER, FakeAsterisk, open_fake_asterisk
from tests.pbx.asterisk.test_files import COLUMNS, as_csv, rows

TABLES = Path(__file__).parents[1] / "pbx" / "asterisk" / "tables"
ADD = ("pbx", "add", "Office", "--asterisk", "pbx.example.org", "--user", USER, "--secret", SECRET)
HELPER_CHANNELS = ("Snoop/", "UnicastRTP/")
"""Of a program that listens or plays: no calls."""

CALLS = len({row["linkedid"] for row in rows() if not row["channel"].startswith(HELPER_CHANNELS)})
FIRST, LAST = (f(int(row["linkedid"].partition(".")[0]) for row in rows()) for f in (min, max))


@pytest.fixture
def asterisk() -> Iterator[FakeAsterisk]:
    """Yield a simulated manager interface in a thread of its own."""
    begun, ended = threading.Event(), asyncio.Event()
    started: list[tuple[FakeAsterisk, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        async with open_fake_asterisk() as opened:
            started.append((opened, asyncio.get_running_loop()))
            begun.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    begun.wait()
    opened, loop = started[0]
    yield opened
    loop.call_soon_threadsafe(ended.set)
    thread.join()


def open_appdb() -> AppDb:
    return AppDb(Path("onhook-data/onhook.db"))


def list_calls(onhook: Command) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = json.loads(onhook("calls", "--format", "json", "--limit", "1000")[1])
    return calls


def test_pbx_add_asterisk_needs_no_serial_number(onhook: Command) -> None:
    """Its host is used, and printed; the secret is shown nowhere, and no event can be sent in its name."""
    code, out, _ = onhook(*ADD)
    assert (code, "(pbx.example.org)" in out) == (0, True)
    for words in (("pbx", "list"), ("asterisk", "list")):
        _, out, _ = onhook(*words)
        assert "Office" in out
        assert SECRET not in out
    appdb = open_appdb()
    assert not asyncio.run(appdb.pbx("Office")).is_unsigned
    assert SECRET not in asyncio.run(appdb.webhook_credentials())[0].secrets
    assert asyncio.run(appdb.asterisks.get("pbx.example.org")).port == 5038
    asyncio.run(appdb.close())


def test_pbx_add_asterisk_options_are_stored(onhook: Command) -> None:
    """Port, trunks, contexts and PINs; a serial number; TLS has its own default port."""
    words = ("--trunks", "trunk-a, trunk-b", "--inbound-context", "from-trunk", "--pins", "--sn", "A1", "--tls", "on")
    assert onhook(*ADD, *words)[0] == 0
    appdb = open_appdb()
    reached = asyncio.run(appdb.asterisks.get("A1"))
    assert (reached.port, reached.tls, reached.trunks) == (5039, "on", ("trunk-a", "trunk-b"))
    assert (reached.inbound, reached.has_pins) == (("from-trunk",), True)
    asyncio.run(appdb.close())


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (("--asterisk", "pbx.example.org", "--secret", SECRET), "no user is given"),
        (("--asterisk", "pbx.example.org", "--user", USER), "no secret is given"),
        (("--asterisk", "two words", "--user", USER, "--secret", SECRET), "not an address"),
        (("--asterisk", "a", "--user", USER, "--secret", SECRET, "--tls", "nowhere.pem"), "nowhere.pem"),
        (("--secret", SECRET), "no serial number"),
    ],
)
def test_pbx_add_asterisk_invalid_option_is_one_sentence(
    onhook: Command, words: tuple[str, ...], expected_text: str
) -> None:
    """Without the secret; nothing is added."""
    code, _, error = onhook("pbx", "add", "Office", *words)
    assert code == 2
    assert expected_text in error
    assert SECRET not in error


def test_doctor_asterisk_prints_missing_lines(onhook: Command, asterisk: FakeAsterisk) -> None:
    """It asks the Asterisk itself, and fails where a check has an error."""
    address = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", address, "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Office")
    assert code == 1
    for line in ("linkedid => LinkedID", "unanswered = yes", "[mappings]", "in cel.conf:", "trunks: trunk-a"):
        assert line in out
    assert "behind" in out or "ahead" in out
    assert SECRET not in out


def test_doctor_asterisk_that_cannot_be_reached_shows_why(onhook: Command, asterisk: FakeAsterisk) -> None:
    """A rejected login, or no listener; the other checks run all the same."""
    asterisk.rejects_login = True
    address = f"127.0.0.1:{asterisk.port}"
    assert onhook("pbx", "add", "Office", "--asterisk", address, "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Office")
    assert (code, "Authentication failed" in out, "manager.conf" in out) == (1, True, True)
    assert "no CDR source is set" in out
    assert onhook("pbx", "add", "Away", "--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET)[0] == 0
    code, out, _ = onhook("doctor", "Away")
    assert (code, "Connection refused (127.0.0.1:1)" in out, "Errno" in out) == (1, True, False)


def test_doctor_asterisk_checks_the_cdr_source(onhook: Command) -> None:
    """Whether it can be read, has a call of the last days, and has the needed columns."""
    asterisk_options = ("--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET, "--cdr", "Master.csv")
    assert onhook("pbx", "add", "Office", *asterisk_options)[0] == 0
    assert "ERROR   no such file" in onhook("doctor", "Office")[1]
    Path("Master.csv").write_text("".join(as_csv(list(COLUMNS))).replace("2026-", "2020-").replace('"179', '"158'))
    assert "has no call of the last week" in onhook("doctor", "Office")[1]
    Path("Master.csv").write_text("".join(as_csv([name for name in COLUMNS if name != "linkedid"][:17])))
    assert "ERROR   the CDRs have no linkedid" in onhook("doctor", "Office")[1]
    now = int(time.time()) - 3600
    row = rows()[0] | {"linkedid": f"{now}.1", "uniqueid": f"{now}.1"}
    Path("Master.csv").write_text(json.dumps(row) + "\n")
    assert "can be read; the last call" in onhook("doctor", "Office")[1]
    cut_id = "asterisk-office-berlin-01-179586"
    with Path("Master.csv").open("a") as file:
        file.write("no JSON\n" + json.dumps(row | {"linkedid": cut_id, "uniqueid": cut_id}) + "\n")
    out = onhook("doctor", "Office")[1]
    assert "Master.csv: the table cuts the ids of calls" in " ".join(out.split())
    assert "widen its columns linkedid and uniqueid" in out


def test_doctor_asterisk_names_queues_and_groups_that_the_number_plan_lacks(onhook: Command) -> None:
    """With the command that adds them to those of the plan, until they are there."""
    asterisk_options = ("--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET, "--cdr", "Master.csv")
    assert onhook(*ADD[:3], *asterisk_options, "--trunks", "trunk-a", "--inbound-context", "from-trunk")[0] == 0
    assert "OK      the number plan has all queues and ring groups" in onhook("doctor", "Office")[1]
    shutil.copy(TABLES / "queue_ringgroup_numbers.csv", "Master.csv")
    assert onhook("backfill", "Office", "--since", "2020-01-01")[0] == 0
    _code, out, _error = onhook("doctor", "Office")
    (line,) = [text for text in out.splitlines() if "the number plan" in text]
    assert "WARNING the number plan lacks the ring groups 600" in line
    command = re.search(r"onhook (pbx change Office .*)", out)
    assert command is not None
    assert onhook(*shlex.split(command[1]))[0] == 0
    assert "OK      the number plan has all queues and ring groups" in onhook("doctor", "Office")[1]


def test_doctor_asterisk_without_known_trunks_warns(onhook: Command) -> None:
    """Where only the CDR source works, by doctor and by the list, until the trunks are given or there are none; calls
    that are read afterwards have their direction, those of a PBX without them have not.
    """
    asterisk_options = ("--asterisk", "127.0.0.1:1", "--user", USER, "--secret", SECRET, "--cdr", "Master.csv")
    assert onhook("pbx", "add", "Office", *asterisk_options)[0] == 0
    Path("Master.csv").write_text("".join(as_csv(list(COLUMNS))))
    other_options = ("--asterisk", "127.0.0.2:1", *asterisk_options[2:])
    assert onhook("pbx", "add", "Other", *other_options)[0] == 0
    assert onhook("backfill", "Other", "--since", "2020-01-01")[0] == 0
    assert "Inbound" not in {call["type"] for call in list_calls(onhook)}
    assert onhook("pbx", "remove", "Other")[0] == 0
    for text in (onhook("doctor", "Office")[1], onhook("asterisk", "list")[2]):
        assert "no trunk is known: most calls from and to outside count as Internal" in text
        assert "onhook pbx change Office --trunks NAMES" in text
    assert onhook("pbx", "change", "Office", "--trunks", "trunk-a", "--inbound-context", "from-trunk")[0] == 0
    code, out, error = onhook("asterisk", "list")
    assert (code, "trunk-a" in out, error) == (0, True, "")
    assert "no trunk is known" not in onhook("doctor", "Office")[1]
    assert onhook("backfill", "Office", "--since", "2020-01-01")[0] == 0
    assert {"Inbound", "Outbound", "Internal"} <= {call["type"] for call in list_calls(onhook)}
    assert onhook("pbx", "change", "Office", "--trunks", "auto")[0] == 0
    assert "no trunk is known" in onhook("asterisk", "list")[2]
    assert onhook("pbx", "change", "Office", "--trunks", "")[0] == 0
    assert onhook("asterisk", "list")[2] == ""


def test_pbx_change_trunks_of_another_pbx_is_refused(onhook: Command) -> None:
    assert onhook("pbx", "add", "Other", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    assert "not an Asterisk" in onhook("pbx", "change", "Other", "--trunks", "trunk-a")[2]
    assert onhook(*ADD)[0] == 0
    code, _, error = onhook("pbx", "change", "Office", "--trunks", "a" * 100)
    assert (code, "a trunk or context is invalid" in error) == (2, True)


def test_pbx_change_cdr_source(onhook: Command) -> None:
    """Set and removed; the password is shown nowhere; a PBX without AMI has none."""
    assert onhook(*ADD)[0] == 0
    url = "mysql://freepbx:s3cret-of-the-database@db.example.org/asteriskcdrdb"
    assert onhook("pbx", "change", "Office", "--cdr", url, "--cdr-table", "calls")[0] == 0
    for words in (("pbx", "list"), ("asterisk", "list"), ("doctor", "Office")):
        assert "s3cret-of-the-database" not in "".join(map(str, onhook(*words)))
    assert "mysql://freepbx@db.example.org:3306" in onhook("asterisk", "list")[1]
    appdb = open_appdb()
    assert asyncio.run(appdb.cdr_sources.all())["pbx.example.org"].table == "calls"
    asyncio.run(appdb.close())
    assert onhook("pbx", "change", "Office", "--cdr", "none")[0] == 0
    assert "the CDR source of Office is not set" in onhook("backfill", "Office")[2]
    assert onhook("pbx", "add", "Other", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    assert "not an Asterisk" in onhook("pbx", "change", "Other", "--cdr", url)[2]
    assert (
        "--cdr needs an Asterisk" in onhook("pbx", "add", "More", "--sn", "X", "--secret", "a-secret", "--cdr", url)[2]
    )


def test_backfill_from_files_by_hand(onhook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """From several files, as a rotation leaves them; a second time nothing is new; open gaps are printed. The result is
    printed also where the audit log fails.
    """
    assert onhook(*ADD)[0] == 0
    appdb = open_appdb()
    since, until = datetime.fromtimestamp(FIRST - 60, UTC), datetime.fromtimestamp(LAST + 3600, UTC)
    asyncio.run(
        appdb.sync_states.save_intervals(
            "pbx.example.org", [Interval(since, until, "gap", "not connected: no connection")]
        )
    )
    asyncio.run(appdb.close())
    lines = as_csv(list(COLUMNS))
    Path("old.csv").write_text("".join(lines[:9]))
    Path("new.csv").write_text("".join(lines[9:]))
    words = ("backfill", "Office", "--from", "old.csv", "--from", "new.csv", "--since", "2020-01-01")
    code, out, _ = onhook(*words)
    assert (code, ", 0 changed, 0 already stored, 0 that could not be parsed" in out) == (0, True)
    assert "calls may still be missing from" in out
    assert ": 0 new, 0 changed" in onhook(*words)[1]
    appdb = open_appdb()
    actions = [entry.action for entry in asyncio.run(appdb.audit.latest(2))]
    asyncio.run(appdb.close())
    assert actions == ["back-fill Office from 2 given CDR sources"] * 2
    assert len(json.loads(onhook("calls", "--format", "json", "--limit", "1000")[1])) == CALLS
    monkeypatch.setattr(Audit, "add_action", fail_to_add)
    code, out, error = onhook(*words)
    assert (code != 0, ": 0 new, 0 changed" in out, "is locked" in error) == (True, True, True), out


def test_backfill_prints_no_control_characters_of_the_pbx(onhook: Command) -> None:
    """Such as those of an answer that is the reason of a gap."""
    assert onhook(*ADD)[0] == 0
    appdb = open_appdb()
    gap = Interval(datetime.fromtimestamp(FIRST - 60, UTC), datetime.now(UTC), "gap", "not connected: \x1b[2J\x9b1mno")
    asyncio.run(appdb.sync_states.save_intervals("pbx.example.org", [gap]))
    asyncio.run(appdb.close())
    Path("one.csv").write_text("".join(as_csv(list(COLUMNS))[:9]))
    code, out, _ = onhook("backfill", "Office", "--from", "one.csv", "--since", "2020-01-01")
    assert (code, "calls may still be missing" in out, "\x1b" in out, "\x9b" in out) == (0, True, False, False)


def test_backfill_from_the_cdr_source(onhook: Command) -> None:
    """Also while no server runs; the result is stored, and the calls are in the store."""
    assert onhook(*ADD, "--cdr", "Master.csv")[0] == 0
    Path("Master.csv").write_text("".join(as_csv(list(COLUMNS))))
    code, out, _ = onhook("backfill", "Office", "--since", "2020-01-01")
    assert (code, " 0 changed, 0 already stored" in out) == (0, True)
    appdb = open_appdb()
    outcome = asyncio.run(appdb.sync_states.backfill_result("pbx.example.org"))
    asyncio.run(appdb.close())
    assert outcome is not None
    assert outcome.new == outcome.rows > CALLS
    assert "complete" in onhook("coverage", "--since", "2020-01-01")[1]


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (("--from", "nowhere.csv"), "no such file"),
        (("--from", "plain.csv"), "newcdrcolumns"),
        (("--from", "master.db", "--table", "calls"), "'calls' cannot be read"),
        (("--from", "oracle://u:p@h/d"), "unknown kind of CDR source"),
    ],
)
def test_backfill_source_that_cannot_be_read_is_one_sentence(
    onhook: Command, words: tuple[str, ...], expected_text: str
) -> None:
    """Nothing is stored."""
    assert onhook(*ADD)[0] == 0
    Path("plain.csv").write_text("".join(as_csv([name for name in COLUMNS if name != "linkedid"][:17])))
    with closing(sqlite3.connect("master.db")) as database:
        database.execute("CREATE TABLE cdr (calldate TEXT)")
    code, _, error = onhook("backfill", "Office", "--since", "2020-01-01", *words)
    assert code != 0
    assert expected_text in error
