"""Rows that cannot be decoded: each disables itself alone, with its reason."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.cluster import SharedCertificate
from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.delivery_rows import HttpExchange, NewAttempt, NewLoggedAttempt
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.directory import DatedName, LearntState
from onhook.appdb.issue_recipients import IssueRecipient
from onhook.appdb.issues import OperationalIssue
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.mail_settings import MailSettings
from onhook.appdb.mails import MailContent, NewMail
from onhook.appdb.pbx_conventions import PbxConventions
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.reader_settings import ReaderSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.appdb.source_match import SourceMatch
from onhook.appdb.sqlite_file import copy_database
from onhook.appdb.stored_json import RowUnreadable, decode_column, encode_column
from onhook.appdb.swept_folders import SweptFolder
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.coverage import Interval
from onhook.cdr.directory import DirectoryEntry, PbxName
from onhook.cdr.queue_figures import QueueTargets
from onhook.lib.migrations import load_baseline, load_migrations
from onhook.lib.quiet_hours import QuietHours
from onhook.lib.timestamps import to_datetime
from onhook.runtime.adapters.registry import AppDbPbxRegistry
from tests.appdb.sign_in_rows import add_factors, add_sign_in_settings, list_users_without_factors
from tests.counts import sampled

NOW = 1_777_000_000_000_000
SECRET = "a-secret-of-8"
SCOPE = AccessScope(("A",), None)
CALL = ("A", "1.1")
LOGGED_ATTEMPT = NewLoggedAttempt(
    notification_id="n1",
    seq=1,
    call=CALL,
    body=b"{}",
    state="accepted",
    attempt=NewAttempt(attempted_at=NOW, duration_ms=1, status=200, detail="HTTP 200", body=b""),
    exchange=HttpExchange(method="POST", url="https://crm.example.com", request_headers={}),
)
CREDENTIALS = PbxCredentials(url="https://pbx:8088", client_id="id", client_secret="a-client-secret")


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "onhook.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
def path(filled_file: Path, tmp_path: Path) -> Path:
    """Return a file with two rows of everything; the second PBX is named `B`."""
    path = tmp_path / "onhook.db"
    copy_database(filled_file, path)
    return path


async def fill(path: Path) -> None:
    async with AppDb(path) as appdb:
        await add_sign_in_settings(appdb)
        await appdb.mail_settings.put(MailSettings(host="mail.example.com", sender="a@example.com"))
        for name in ("A", "B"):
            await appdb.add_pbx(name=name, sn=name, secret="first-secret", now_us=NOW)
            await appdb.source_matches.put(name, SourceMatch(("192.0.2.7",)))
            await appdb.pbx_credentials.put(name, CREDENTIALS)
            await appdb.pbx_credentials.save_tokens(name, CREDENTIALS, "{}")
            await appdb.asterisks.add(AsteriskPbx(sn=name, host="h", port=5038, user="u"), "secret")
            await appdb.sync_states.save_intervals(
                name, [Interval(to_datetime(NOW), to_datetime(NOW + 1), "complete", "")]
            )
            await appdb.alarms.raise_alarm(name, "silence", "no calls", hint="look", now_us=NOW)
            await appdb.tokens.add(name, "reader", now_us=NOW, scope=SCOPE)
            await appdb.users.add(name, "reader", SCOPE, now_us=NOW)
            await appdb.alert_channels.put(name, QuietHours(begin=22, end=7), {None: ["check"]})
            await appdb.report_schedules.add(name, name, ReportSpec(report="volume"), now_us=NOW)
            await appdb.reader_settings.put(name, ReaderSettings(zone="Asia/Tokyo", clock="12"))
            await add_factors(appdb, name, NOW)
            await appdb.apps.add(name, now_us=NOW)
            await appdb.serial_numbers.add(name, f"{name}2")
            await appdb.pbx_conventions.put(name, PbxConventions(encoding="gbk"))
            await appdb.retention_overrides.put(name, 30)
            await appdb.queue_targets.put(name, "6400", QueueTargets(service_level_seconds=30))
            await appdb.recordings.put(name, Path("/recordings"))
            await appdb.cdr_sources.put(name, CdrSource(location="/Master.csv", password=SECRET))
            await appdb.line_connections.put(name, LineConnection(mode="listen", host="127.0.0.1", port=5015))
            await appdb.swept_folders.put(name, SweptFolder(path="/CDRLogs", target="/CDRLogs-stored"))
            await appdb.saved_searches.add(name, "/calls", author=name)
            await appdb.saved_questions.add(name, "SELECT 1", author=name)
            await appdb.sql_history.add("SELECT 1", author=name, now_us=NOW)
            layout = DashboardLayout(tiles=(StoredTile("calls", 2),))
            dashboard = await appdb.dashboards.save(name, layout, author=name)
            await appdb.wallboard_links.add(
                dashboard.dashboard_id, name, scope=SCOPE, expires_us=NOW + 1_000_000, now_us=NOW
            )
            await appdb.directory.put([DirectoryEntry(sn=name, number="1001", name="Alice")])
            learnt_name = DatedName(sn=name, number="1002", name="Bob", started_at=NOW, seq=1)
            await appdb.directory.learn([learnt_name], LearntState(position=1, erasures=0))
            listed_name = PbxName(sn=name, number="1003", kind="extension", name="Carol")
            await appdb.directory.put_pbx_names(name, [listed_name])
            await appdb.mask_key.get()
            await appdb.cluster.set_ledger_identity(name)
            await appdb.cluster.add_certificate(name, SharedCertificate(certificate="C", private_key="K"))
            await appdb.issue_recipients.put(IssueRecipient(address=f"{name}@example.com"))
            await appdb.mails.add(
                NewMail(mail_key=name, kind="report", recipient=name, subject=name, content=MailContent(text=name)),
                now_us=NOW,
            )
            await appdb.notes.write(name, "1.1", "text", "tag", author=name, now_us=NOW)
            await appdb.missed_call_work.claim([(name, "1.1")], name, now_us=NOW)
            await appdb.issues.begin(
                OperationalIssue(issue_key=name, kind="check", subject=name, detail="d", hint=""), now_us=NOW
            )
            await appdb.destinations.add(
                name, DestinationSpec(url="https://crm.example.com"), None, after=0, now_us=NOW
            )
        for destination_id in (1, 2):
            await appdb.destination_log.add(destination_id, LOGGED_ATTEMPT)


Lister = Callable[[AppDb], Awaitable[object]]


async def list_names_of_streams(appdb: AppDb) -> list[int]:
    return [len(await appdb.destinations.streams(number)) for number in (1, 2)]


async def list_readable_syncs(appdb: AppDb) -> list[int]:
    return [len(await appdb.sync_states.intervals("A"))]


async def list_readable_tokens(appdb: AppDb) -> list[str | None]:
    return [await appdb.pbx_credentials.tokens("A", CREDENTIALS)]


def names_of(read: Callable[[AppDb], Awaitable[Sequence[Any]]], attribute: str) -> Lister:
    async def list_names(appdb: AppDb) -> list[object]:
        return [getattr(value, attribute) for value in await read(appdb)]

    return list_names


async def list_sources(appdb: AppDb) -> list[str]:
    return list(await appdb.source_matches.all())


async def list_conventions(appdb: AppDb) -> list[str]:
    return list(await appdb.pbx_conventions.all())


async def list_retention_overrides(appdb: AppDb) -> list[str]:
    return list(await appdb.retention_overrides.all())


async def list_noted_calls(appdb: AppDb) -> list[int]:
    return [len(await appdb.notes.history(sn, "1.1")) for sn in "AB"]


async def list_first_audit_entry(appdb: AppDb) -> list[int]:
    return [entry.audit_id for entry in await appdb.audit.latest(1_000) if entry.audit_id == 1]


DAMAGES: dict[str, tuple[str, str, Lister, object]] = {
    "unknown payload format": (
        "UPDATE destinations SET spec = replace(spec, 'p-2026', 'p-2027') WHERE name = 'B'",
        "destinations",
        names_of(lambda appdb: appdb.destinations.all(), "name"),
        ["A"],
    ),
    "time beyond the calendar": (
        "UPDATE destinations SET created_at = 1 << 62 WHERE name = 'B'",
        "destinations",
        names_of(lambda appdb: appdb.destinations.all(), "name"),
        ["A"],
    ),
    "filter of a stream": (
        "UPDATE streams SET filter = '[' WHERE destination_id = 2",
        "streams",
        list_names_of_streams,
        [1, 0],
    ),
    "number plan": (
        "UPDATE pbxs SET number_plan = '{' WHERE name = 'B'",
        "pbxs",
        names_of(lambda appdb: appdb.pbxs(), "name"),
        ["A"],
    ),
    "time zone": (
        "UPDATE pbxs SET zone = 'Mars/Olympus' WHERE name = 'B'",
        "pbxs",
        names_of(lambda appdb: appdb.pbxs(), "name"),
        ["A"],
    ),
    "dialect": (
        "UPDATE pbxs SET dialect = 'a-later-kind' WHERE name = 'B'",
        "pbxs",
        names_of(lambda appdb: appdb.pbxs(), "name"),
        ["A"],
    ),
    "scope of a token": (
        "UPDATE tokens SET scope = '{\"version\":2,\"value\":{}}' WHERE name = 'B'",
        "tokens",
        names_of(lambda appdb: appdb.tokens.all(), "name"),
        ["A"],
    ),
    "role of a user": (
        "UPDATE users SET role = 'king' WHERE name = 'B'",
        "users",
        names_of(lambda appdb: appdb.users.all(), "name"),
        ["A"],
    ),
    "behaviour of an app": (
        "UPDATE apps SET behaviour = '' WHERE name = 'B'",
        "apps",
        names_of(lambda appdb: appdb.apps.all(), "name"),
        ["A"],
    ),
    "configuration of an Asterisk": (
        "UPDATE asterisks SET detected_config = 'x' WHERE sn = 'B'",
        "asterisks",
        names_of(lambda appdb: appdb.asterisks.all(), "sn"),
        ["A"],
    ),
    "kind of an alarm": (
        "UPDATE alarms SET kind = 'boredom' WHERE sn = 'B'",
        "alarms",
        names_of(lambda appdb: appdb.alarms.all(), "sn"),
        ["A"],
    ),
    "address of a source": (
        "UPDATE source_matches SET addresses = 'nowhere' WHERE sn = 'B'",
        "source_matches",
        list_sources,
        ["A"],
    ),
    "coverage": ("UPDATE sync_state SET intervals = '{' WHERE sn = 'B'", "sync_state", list_readable_syncs, [1]),
    "time of a note": (
        "UPDATE notes SET created_at = 1 << 62 WHERE sn = 'B'",
        "notes",
        list_noted_calls,
        [1, 0],
    ),
    "time of an audit entry": (
        "UPDATE audit SET created_at = 1 << 62 WHERE audit_id = 1",
        "audit",
        list_first_audit_entry,
        [],
    ),
    "values of an audit entry": (
        "UPDATE audit SET before = 'garbage{' WHERE audit_id = 1",
        "audit",
        list_first_audit_entry,
        [],
    ),
    "permission of a user": (
        "UPDATE users SET permissions = 'fly' WHERE name = 'B'",
        "users",
        names_of(lambda appdb: appdb.users.all(), "name"),
        ["A"],
    ),
    "encoding of a PBX": (
        "UPDATE pbx_conventions SET encoding = 'klingon' WHERE sn = 'B'",
        "pbx_conventions",
        list_conventions,
        ["A"],
    ),
    "days of a PBX": (
        "UPDATE retention_overrides SET days = -1 WHERE sn = 'B'",
        "retention_overrides",
        list_retention_overrides,
        ["A"],
    ),
    "state of an attempt": (
        "UPDATE destination_log SET state = 'happy' WHERE destination_id = 2",
        "destination_log",
        names_of(lambda appdb: appdb.destination_log.list_for_call(CALL), "destination_id"),
        [1],
    ),
    "tokens of a PBX": (
        "UPDATE pbx_credentials SET tokens = 'x' WHERE sn = 'B'",
        "pbx_credentials",
        list_readable_tokens,
        ["{}"],
    ),
}


@pytest.mark.parametrize(("damage", "table", "read", "expected"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_unreadable_row_is_left_out_and_named(
    path: Path, damage: str, table: str, read: Lister, expected: object
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(damage).rowcount == 1
    async with AppDb(path) as appdb:
        assert await read(appdb) == expected
        (row,) = await appdb.list_unreadable()
    assert row.table == table
    assert row.reason


def list_text_columns() -> list[tuple[str, str]]:
    """Return the tables and columns with texts of the newest schema, but for tables without row numbers."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        baseline = load_baseline("onhook.appdb", "sqlite")
        for migration in (baseline, *load_migrations("onhook.appdb", "sqlite")[baseline.version :]):
            for statement in migration.statements:
                connection.execute(statement)
        return connection.execute(
            "SELECT t.name, c.name FROM pragma_table_list t JOIN pragma_table_info(t.name) c"
            " WHERE t.schema = 'main' AND t.wr = 0 AND t.name NOT LIKE 'sqlite%' AND c.type = 'TEXT' ORDER BY 1, c.cid"
        ).fetchall()


TEXT_COLUMNS = list_text_columns()


async def quiet_hours_of(appdb: AppDb) -> list[object]:
    return list((await appdb.alert_channels.all_quiet_hours()).items())


UNCHECKED_TABLES = {
    *("app_tokens", "attempts", "blocked_addresses", "deliveries", "failed_logins", "invitations", "leases"),
    *("pending_sign_ins", "recovery_codes", "sessions", "sign_in_challenges", "totp_enrolments", "share_tokens"),
    *("stores", "leg_groups", "leg_names", "external_ids", "pending_issue_notices", "report_optouts"),
    *("identities", "pending_alerts", "disk_samples", "node_states", "live_queues", "spools"),
}
"""Short-lived, or empty here."""

READERS: dict[str, Callable[[AppDb], Awaitable[Any]]] = {
    "pbxs": lambda appdb: appdb.pbxs(),
    "secrets": lambda appdb: appdb.webhook_credentials(),
    "serial_numbers": lambda appdb: appdb.serial_numbers.all(),
    "tokens": lambda appdb: appdb.tokens.all(),
    "users": list_users_without_factors,
    "reader_settings": lambda appdb: appdb.reader_settings.all(),
    "dashboards": lambda appdb: appdb.dashboards.all(),
    "wallboard_links": lambda appdb: appdb.wallboard_links.all(),
    "saved_questions": lambda appdb: appdb.saved_questions.all(),
    "sql_history": lambda appdb: appdb.sql_history.of_author("B"),
    "apps": lambda appdb: appdb.apps.all(),
    "destinations": lambda appdb: appdb.destinations.all(),
    "streams": lambda appdb: appdb.destinations.streams(2),
    "destination_log": lambda appdb: appdb.destination_log.list_for_call(CALL),
    "alarms": lambda appdb: appdb.alarms.all(),
    "issues": lambda appdb: appdb.issues.all(),
    "audit": lambda appdb: appdb.audit.latest(1_000),
    "notes": lambda appdb: appdb.notes.history("B", "1.1"),
    "missed_call_work": lambda appdb: appdb.missed_call_work.latest(10),
    "note keys": lambda appdb: appdb.notes.find_calls("tag", "text"),
    "tags": lambda appdb: appdb.notes.tags(),
    "directory_entries": lambda appdb: appdb.directory.entries(),
    "learnt_names": lambda appdb: appdb.directory.learnt_names(),
    "pbx_names": lambda appdb: appdb.directory.pbx_names(),
    "asterisks": lambda appdb: appdb.asterisks.all(),
    "saved_searches": lambda appdb: appdb.saved_searches.all(),
    "pbx_conventions": lambda appdb: appdb.pbx_conventions.all(),
    "queue_targets": lambda appdb: appdb.queue_targets.all(),
    "retention_overrides": lambda appdb: appdb.retention_overrides.all(),
    "source_matches": lambda appdb: appdb.source_matches.all(),
    "pbx_credentials": lambda appdb: appdb.pbx_credentials.all(),
    "cdr_sources": lambda appdb: appdb.cdr_sources.all(),
    "line_connections": lambda appdb: appdb.line_connections.all(),
    "swept_folders": lambda appdb: appdb.swept_folders.all(),
    "issue_recipients": lambda appdb: appdb.issue_recipients.all(),
    "mails": lambda appdb: appdb.mails.latest(10),
    "report_schedules": lambda appdb: appdb.report_schedules.all(),
    "alert_channels": lambda appdb: appdb.alert_channels.all(),
    "alert_settings": quiet_hours_of,
}


DEPENDENT = {"notes": ("notes", "note keys", "tags"), "destinations": ("destinations", "streams")}
"""Readers of a table besides the one with its name."""


async def read_everything(appdb: AppDb) -> dict[str, list[Any]]:
    values = {name: await read(appdb) for name, read in READERS.items()}
    return {name: list(v.items()) if isinstance(v, Mapping) else list(v) for name, v in values.items()}


@pytest.mark.parametrize("column_name", sampled([".".join(column) for column in TEXT_COLUMNS]))
async def test_text_that_is_not_utf8_disables_its_row_alone(path: Path, column_name: str) -> None:
    """It is named, nothing else is missing, and nothing has another value."""
    table, _dot, column = column_name.partition(".")
    async with AppDb(path) as appdb:
        before = await read_everything(appdb)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            f"UPDATE {table} SET {column} = CAST(x'42c328' AS TEXT)"  # noqa: S608 - names of the schema
            f" WHERE rowid = (SELECT max(rowid) FROM {table})"
        )
    async with AppDb(path) as appdb:
        await AppDbPbxRegistry(appdb).load()
        await AppDbPbxFacts(appdb)()
        after = await read_everything(appdb)
        unreadable = await appdb.list_unreadable()
    if table in UNCHECKED_TABLES:
        assert (after, unreadable) == (before, [])
        return
    assert [row.table for row in unreadable] == [table]
    for name, values in after.items():
        if name in ("pbxs", "secrets"):
            # A PBX may lose a secret or a serial number.
            assert {value.sn for value in values} <= {"A", "B"}
            assert values[0] == before[name][0]
        else:
            assert [value for value in before[name] if value in values] == values
            assert len(before[name]) - len(values) <= (name == table or name in DEPENDENT.get(table, ()))


async def test_list_unreadable_table_that_cannot_be_read_is_named(path: Path) -> None:
    """And the others are checked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE retention_overrides")
        connection.execute("UPDATE users SET role = 'king' WHERE name = 'B'")
    async with AppDb(path) as appdb:
        unreadable = await appdb.list_unreadable()
    assert [(row.table, row.name) for row in unreadable] == [("users", "B"), ("retention_overrides", "")]
    assert "no such table" in unreadable[1].reason


async def test_unreadable_signing_secret_is_not_replaced_by_another(path: Path) -> None:
    async with AppDb(path) as appdb:
        await appdb.destinations.add_secret("B", None, now_us=NOW)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE signing_secrets SET text = CAST(x'ff' AS TEXT) WHERE secret_id = 2")
        with pytest.raises(RowUnreadable):
            await appdb.destinations.secret_texts(2)
        assert await appdb.destinations.secret_texts(1)


async def test_row_with_a_damaged_text_is_removed_with_an_audit_entry(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = CAST(x'42c328' AS TEXT) WHERE name = 'B'")
    async with AppDb(path) as appdb:
        await appdb.remove_pbx("B")
        assert (await appdb.audit.latest(1))[0].action.startswith("remove PBX B")


async def test_list_unreadable_sound_database_has_none(path: Path) -> None:
    async with AppDb(path) as appdb:
        assert await appdb.list_unreadable() == []


async def test_unreadable_destination_is_reported_by_its_name(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE destinations SET spec = '{' WHERE name = 'B'")
    async with AppDb(path) as appdb:
        with pytest.raises(RowUnreadable):
            await appdb.destinations.get("B")


async def test_unreadable_rows_can_be_removed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table, column in (("pbxs", "number_plan"), ("destinations", "spec"), ("apps", "pbxs"), ("users", "scope")):
            connection.execute(f"UPDATE {table} SET {column} = '{{' WHERE name = 'B'")  # noqa: S608 - names of the test
    async with AppDb(path) as appdb:
        await appdb.remove_pbx("B")
        await appdb.destinations.remove("B")
        await appdb.apps.remove("B")
        await appdb.users.remove("B")
        assert await appdb.list_unreadable() == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '{"version":2,"value":[]}', '{"value":[]}', '{"version":1,"value":[1]}', '{"version":1}'],
)
def test_decode_column_of_another_form_is_unreadable(text: str) -> None:
    with pytest.raises(RowUnreadable):
        decode_column(text, list[str])


def test_decode_column_returns_what_was_encoded() -> None:
    assert decode_column(encode_column(["a", "ü"]), list[str]) == ["a", "ü"]
