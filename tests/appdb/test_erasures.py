"""Erasure of a number from the application database: no column of any table is left out."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.erasure_searches import occurs_in_lines
from onhook.appdb.postgresql_connection import SCHEMA
from onhook.cdr.erasure import NumberPattern

pytestmark = pytest.mark.usefixtures("each_engine")

NUMBER = "030901820"
CALL = ("3631A2124ABC", "1795848000.7")
OTHER_TEXT = "x"

SETTINGS = {
    *("destinations.name", "destinations.spec", "streams.filter", "signing_secrets.label", "mail_settings.sender"),
    *("users.name", "users.email", "users.scope", "identities.subject", "passkeys.name", "tokens.name", "tokens.scope"),
    *("apps.name", "dashboards.name", "dashboards.content", "wallboard_links.name", "wallboard_links.scope"),
    *("identity_provider.settings", "mail_settings.user_name", "issue_recipients.address", "report_optouts.address"),
    *("pbxs.name", "pbxs.number_plan", "secrets.label", "source_matches.path", "pbx_credentials.url"),
    *("asterisks.trunks", "asterisks.inbound", "asterisks.detected_config", "asterisks.error", "recordings.directory"),
    *("cdr_sources.location", "cdr_sources.cdr_table", "cdr_sources.columns", "swept_folders.path"),
    *("swept_folders.target", "swept_folders.error", "queue_targets.queue"),
}
"""Are listed, and stay until a person changes them."""

ERASED = {
    *("notes.text", "notes.tags", "saved_searches.name", "saved_searches.path", "saved_questions.name"),
    *("saved_questions.sql", "sql_history.sql", "share_tokens.name", "share_tokens.export_filter", "audit.action"),
    *("audit.before", "audit.after", "directory_entries.number", "directory_entries.name", "directory_entries.company"),
    *("directory_entries.department", "directory_entries.site", "learnt_names.number", "learnt_names.name"),
    *("mails.subject", "mails.recipient", "mails.content", "mails.detail", "report_schedules.name"),
    *("report_schedules.spec", "report_schedules.detail", "issues.detail", "issues.hint", "alarms.detail"),
    *("alarms.hint", "destinations.reason"),
    # With their call:
    *("deliveries.body", "attempts.detail", "attempts.body", "destination_log.detail", "destination_log.exchange"),
    *("destination_log.body", "destination_log.response"),
    # At each erasure, all of them:
    *("pbx_names.number", "pbx_names.name", "pending_sign_ins.next_path", "sign_in_challenges.content"),
}

WITHOUT_NUMBER: Mapping[str, Iterable[str]] = {
    "a serial number, or the PBX's id of a call": (
        *(
            "*.sn",
            "*.call_id",
            "serial_numbers.pbx_sn",
            "external_ids.external_id",
            "leg_names.name",
            "leg_groups.legs",
        ),
    ),
    "a hash, a key, or a credential that is not shown": (
        *("*.hash", "*.secret_hash", "*.access_hash", "*.refresh_hash", "*.token_hash", "users.password"),
        *("secrets.text", "signing_secrets.text", "mask_key.text", "*.secret", "*.client_secret", "*.client_id"),
        *("pbx_credentials.fingerprint", "pbx_credentials.tokens", "*.password", "passkeys.credential_id"),
        *("passkeys.user_handle", "passkeys.public_key", "shared_certificates.*", "mails.mail_key"),
        *("identities.issuer", "identity_provider.issuer", "deliveries.notification_id"),
        *("destination_log.notification_id", "streams.done_ahead", "swept_files.digest", "shared_ledger.identity"),
    ),
    "the name of a user, an app or a token, which is listed where it is set": (
        *("*.user_name", "*.author", "invitations.name", "audit.actor", "audit.credential", "missed_call_work.*"),
        *("destinations.app", "apps.pbxs", "pending_sign_ins.credential"),
    ),
    "a word of Onhook's, or of its state": (
        *(
            "*.kind",
            "*.state",
            "*.dialect",
            "*.language",
            "*.zone",
            "*.role",
            "*.permissions",
            "*.mode",
            "*.precedence",
            "*.purpose",
        ),
        *("apps.behaviour", "audit.way", "asterisks.tls", "mail_settings.tls", "pbx_conventions.*", "sessions.factor"),
        *("issues.issue_key", "issues.subject", "report_schedules.outcome", "alert_channels.kinds"),
        *("issue_recipients.topics", "reader_settings.*", "sign_in_settings.*", "line_connections.fields", "leases.*"),
        *("stores.name", "sync_state.*", "node_states.*"),
    ),
    "an address of a network, or a name of a machine": (
        *(
            "*.host",
            "sessions.address",
            "audit.address",
            "apps.networks",
            "blocked_addresses.address",
            "*.node",
            "spools.*",
        ),
        *("failed_logins.network", "source_matches.addresses", "mails.message_domain", "passkeys.rp_id"),
        *("asterisks.user", "mail_settings.console_url"),
    ),
    "a certificate": ("mail_settings.ca_certificates",),
    "typed at a sign-in, for minutes": ("failed_logins.name",),
    "a queue at this moment, for seconds": ("live_queues.queue", "live_queues.name"),
    "the name of a file that the PBX has left, whose folder is listed": ("swept_files.name",),
}


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened:
        yield opened


class Tables:
    """The tables of the database, written without triggers and foreign keys."""

    def __init__(self, appdb: AppDb, path: Path | None) -> None:
        self._database = appdb._database
        self._path = path

    async def columns(self) -> dict[str, str]:
        """Return the types of all columns, by `table.column`, without the tables that PostgreSQL alone has: what its
        triggers note is deleted before the commit.
        """
        if self._path is not None:
            query = (
                "SELECT m.name, p.name, p.type FROM sqlite_schema m JOIN pragma_table_info(m.name) p"
                " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!'"
            )
            rows = await self._database.rows(query)
        else:
            rows = await self._database.rows(
                "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = ?"
                " AND table_name NOT IN ('schema_version', 'audit_triggers', 'changes')",
                (SCHEMA,),
            )
        return {f"{table}.{column}": column_type for table, column, column_type in rows}

    async def write(self, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        if self._path is not None:
            with sqlite3.connect(self._path) as connection:
                for sql, values in statements:
                    connection.execute(sql, values)
            connection.close()
            return
        async with self._database.transaction():
            await self._database.rows("SET LOCAL session_replication_role = replica")
            for sql, values in statements:
                await self._database.write(sql, values)

    async def read(self, name: str) -> list[str]:
        """Return the values of a column as texts."""
        table, column = name.split(".")
        rows = await self._database.rows(f'SELECT "{column}" FROM {table}')  # noqa: S608 - the schema's names
        return [value.decode() if isinstance(value, bytes) else str(value) for (value,) in rows]


@pytest.fixture
def tables(appdb: AppDb, each_engine: str, tmp_path: Path) -> Tables:
    return Tables(appdb, tmp_path / "onhook.db" if each_engine == "sqlite" else None)


def is_text(column_type: str) -> bool:
    return column_type in {"TEXT", "BLOB", "text", "bytea"}


def is_without_number(name: str) -> bool:
    table, column = name.split(".")
    names_without = {listed_name for names in WITHOUT_NUMBER.values() for listed_name in names}
    return not names_without.isdisjoint({name, f"*.{column}", f"{table}.*"}) and name not in SETTINGS | ERASED


def value(column_type: str, text: str) -> Any:
    if not is_text(column_type):
        return 1
    return text.encode() if column_type in {"BLOB", "bytea"} else text


def insertions(columns: Mapping[str, str], numbered: str = "") -> list[tuple[str, tuple[Any, ...]]]:
    """Return the statements that delete all rows and add one to each table; one column has the number."""
    rows: dict[str, dict[str, Any]] = {}
    for name, column_type in columns.items():
        table, column = name.split(".")
        text = dict(zip(("sn", "call_id"), CALL, strict=True)).get(column, OTHER_TEXT)
        rows.setdefault(table, {})[column] = value(column_type, NUMBER if name == numbered else text)
    if numbered == "tokens.name":
        rows["share_tokens"]["name"] = OTHER_TEXT + OTHER_TEXT
    if numbered == "share_tokens.name":
        rows["tokens"]["name"] = NUMBER
    if numbered == "audit.action":
        rows["audit"]["action"] = f"export {NUMBER}"
    statements: list[tuple[str, tuple[Any, ...]]] = []
    for table, row in rows.items():
        names, marks = ", ".join(f'"{column}"' for column in row), ", ".join("?" * len(row))
        statements += [
            (f"DELETE FROM {table}", ()),  # noqa: S608 - the schema's names
            (f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values())),  # noqa: S608
        ]
    return statements


async def test_schema_each_text_column_has_its_place_in_an_erasure(tables: Tables) -> None:
    """A new table or column is searched, erased with its call, or listed here with the reason why it has no number."""
    columns = await tables.columns()
    texts = {name for name, column_type in columns.items() if is_text(column_type)}
    unplaced = {name for name in texts - SETTINGS - ERASED if not is_without_number(name)}
    assert unplaced == set()
    assert (SETTINGS | ERASED) - texts == set()


async def test_erase_number_in_any_column_is_erased_or_listed(appdb: AppDb, tables: Tables) -> None:
    columns = await tables.columns()
    pattern = NumberPattern([NUMBER], is_internal=False)
    for name in sorted(SETTINGS | ERASED):
        await tables.write(insertions(columns, name))
        rows = await appdb.erasures.find(pattern.occurs_in, [CALL])
        assert bool(rows.settings) is (name in SETTINGS), name
        await appdb.erasures.erase([CALL], rows)
        values = await tables.read(name)
        assert any(NUMBER in text for text in values) is (name in SETTINGS), name
        if name in SETTINGS and name.rpartition(".")[2] == "name":
            assert any(NUMBER in setting for setting in rows.settings), name


async def test_erase_rows_without_the_number_stay(appdb: AppDb, tables: Tables) -> None:
    columns = await tables.columns()
    await tables.write(insertions(columns))
    rows = await appdb.erasures.find(NumberPattern([NUMBER], is_internal=False).occurs_in, [])
    assert (rows.is_empty, rows.settings) == (True, ())
    await appdb.erasures.erase([], rows)
    emptied = {name.partition(".")[0] for name in columns if not await tables.read(name)}
    # What is read again from the PBX, and sign-ins of this minute.
    assert emptied == {"pbx_names", "pending_sign_ins", "sign_in_challenges"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"version":1,"value":{"hour":10,"query":""}}', False),
        ('{"version":1,"value":{"hour":7,"query":"number=10"}}', True),
        ('{"version":1,"value":{"addresses":["10@fax.example.com"]}}', True),
        ('{"version":1,"value":{"10":true}}', True),
        ('Weekly\n{"version":1,"value":{"query":"caller=%28%3010%29"}}', False),
        ('Weekly\n{"version":1,"value":{"query":"caller=%2810%29"}}', True),
        ('{"10', True),
        ("Weekly 10", True),
    ],
)
def test_occurs_in_lines_of_json_reads_texts_alone(text: str, expected: bool) -> None:
    assert occurs_in_lines(text, NumberPattern(["10"], is_internal=True).occurs_in) is expected
