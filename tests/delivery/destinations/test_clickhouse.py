"""ClickHouse: against a local server with its HTTP interface, and its SQL with chDB where this is installed."""

import importlib.util
import json
import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from onhook.delivery.destinations.clickhouse import REFUSALS_MAX
from onhook.delivery.destinations.clickhouse_tables import (
    REPLACED_COLUMN,
    STATE_COLUMNS,
    STATE_TABLE,
    columns_query,
    create_statements,
    deduplication_token,
    delete_statement,
    format_row,
    insert_position_statement,
    insert_statement,
    position_query,
    replacing_row,
    stored_calls_query,
)
from onhook.delivery.destinations.contract import CallReplacement, Notification
from onhook.delivery.destinations.row_columns import row_columns
from onhook.lib.errors import Unavailable
from tests.delivery.destinations.contract import REFUSED, DestinationContract, open_client
from tests.delivery.destinations.deletion_contract import DeletionContract
from tests.delivery.destinations.http_server import HttpServer, ReceivedRequest
from tests.factories import record

NO_CHDB = importlib.util.find_spec("chdb") is None


class ClickhouseServer(HttpServer):
    """See `deletion_contract.KeepingServer`: keeps rows by key, as the table's engine does, and tokens of inserts."""

    kind = "clickhouse"
    url_path = "/calls"

    def __init__(self) -> None:
        super().__init__()
        self.columns: set[tuple[str, str]] = set()
        self.statements: list[str] = []
        self.rows: dict[str, dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.positions: list[str] = []
        self.refusal = 400, b"Code: 469. DB::Exception: Constraint `c` for table calls.records is violated"
        self.is_deletion_forbidden = False

    def durations(self) -> dict[str, int]:
        return {row["call_id"]: row["talk_duration"] for row in self.rows.values()}

    def has_text(self, text: str) -> bool:
        return text in json.dumps(list(self.rows.values()))

    def forbid_deletions(self) -> None:
        self.is_deletion_forbidden = True

    def allow_deletions(self) -> None:
        self.is_deletion_forbidden = False

    def answer(self, request: ReceivedRequest) -> tuple[int, bytes]:
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        assert (request.method, parameters["database"]) == ("POST", "calls")
        if "query" not in parameters:
            return self._run(request.body.decode())
        assert parameters["query"] == "INSERT INTO records FORMAT JSONEachRow"
        assert (parameters["date_time_input_format"], parameters["async_insert"]) == ("best_effort", "0")
        rows = [json.loads(line) for line in request.body.splitlines()]
        if self.is_refusing and any(row["call_to"] == REFUSED for row in rows):
            return self.refusal
        if parameters["insert_deduplication_token"] not in self.tokens:
            self.tokens.append(parameters["insert_deduplication_token"])
            for row in rows:
                if row["seq"] >= self.rows.get(row["record_id"], {"seq": 0})["seq"]:
                    self.rows[row["record_id"]] = row
        return 200, b""

    def _run(self, statement: str) -> tuple[int, bytes]:
        if statement == columns_query("records"):
            return 200, "".join(f"{table}\t{name}\n" for table, name in sorted(self.columns)).encode()
        if statement == position_query("records"):
            return 200, (self.positions[-1] if self.positions else "0" if self.rows else "").encode()
        if statement.startswith("INSERT INTO onhook_state"):
            self.positions.append(statement.split(", ")[-2])
            return 200, b""
        if statement.startswith(("SELECT DISTINCT sn, call_id FROM records", "ALTER TABLE records DELETE")):
            return self._find_or_delete(statement)
        self.statements.append(statement)
        table = re.split(r"[ (]", statement.partition("EXISTS ")[2] or statement.partition("VIEW ")[2])[0]
        columns = (*row_columns("records"), REPLACED_COLUMN)
        self.columns |= {(table, name) for name in (STATE_COLUMNS if table == STATE_TABLE else columns)}
        return 200, b""

    def _find_or_delete(self, statement: str) -> tuple[int, bytes]:
        keys = set(re.findall(r"\('([^']*)', '([^']*)'\)", statement))
        rows = {name: row for name, row in self.rows.items() if (row["sn"], row["call_id"]) in keys}
        if statement.startswith("SELECT"):
            lines = {json.dumps([row["sn"], row["call_id"]]) for row in rows.values()}
            return 200, "\n".join(sorted(lines)).encode()
        if self.is_deletion_forbidden:
            return 497, b"Code: 497. DB::Exception: Not enough privileges (ACCESS_DENIED)"
        before_us = int(statement.rpartition(" < ")[2])
        for name, row in rows.items():
            if row.get(REPLACED_COLUMN, 0) < before_us:
                del self.rows[name]
        return 200, b""


@pytest.fixture
async def server() -> AsyncIterator[ClickhouseServer]:
    server = ClickhouseServer()
    await server.start()
    yield server
    await server.stop()


class TestClickhouse(DestinationContract, DeletionContract):
    """The promises of every kind, and of those that keep calls."""


def notifications(client: Any, *numbers: int) -> list[Notification]:
    sources = [record(call_id=f"1777287876.{number}", record_id=f"r{number}", seq=number) for number in numbers]
    return [Notification(f"r{source.seq}", client.format_payload(source), 1) for source in sources]


async def test_clickhouse_table_is_made_once(server: ClickhouseServer) -> None:
    for _unused in range(2):
        client = open_client(server.settings | {"fields": {"login": "onhook"}}, "geheimgeheim")
        for number in (1, 2):
            await client.send(notifications(client, number))
        await client.close()
    assert [statement.split(" (")[0] for statement in server.statements] == [
        "CREATE TABLE IF NOT EXISTS records",
        "CREATE OR REPLACE VIEW records_latest AS SELECT * EXCEPT",
        "CREATE TABLE IF NOT EXISTS onhook_state",
    ]
    headers = server.requests[0].headers
    assert (headers["X-ClickHouse-User"], headers["X-ClickHouse-Key"]) == ("onhook", "geheimgeheim")


async def test_clickhouse_repeated_batch_has_the_same_token(server: ClickhouseServer) -> None:
    client = open_client(server.settings)
    for numbers in ((1, 2), (1, 2), (2, 1)):
        await client.send(notifications(client, *numbers))
    await client.close()
    assert len(server.tokens) == 2
    assert deduplication_token(["a", "b"]) != deduplication_token(["ab"])


async def test_clickhouse_refused_value_is_found_by_halves(server: ClickhouseServer) -> None:
    client = open_client(server.settings)
    server.refuse()
    refused = Notification("refused", client.format_payload(record(call_to=REFUSED, record_id="x")), 1)
    batch = [*notifications(client, *range(1, 600)), refused, *notifications(client, *range(600, 1_000))]
    results = await client.send(batch)
    await client.close()
    assert [result.outcome for result in results].count("rejected") == 1
    assert results[599].outcome == "rejected"
    assert "Constraint" in results[599].detail
    assert (len(server.rows), len(server.requests) < 40) == (999, True)


async def test_clickhouse_columns_are_read_although_they_contain_the_user(server: ClickhouseServer) -> None:
    """Names and keys are hidden in what is shown of an answer, and `call` is a part of most columns."""
    for _unused in range(2):
        client = open_client(server.settings | {"fields": {"login": "call"}}, "record")
        await client.send(notifications(client, 1))
        await client.close()
    assert len(server.statements) == 3


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, b"Code: 457. DB::Exception: Cannot parse a value (BAD_QUERY_PARAMETER)"),
        (500, b"Code: 691. DB::Exception: Unknown element (UNKNOWN_ELEMENT_OF_ENUM)"),
        (413, b"Code: 131. DB::Exception: Too large (TOO_LARGE_STRING_SIZE)"),
    ],
)
async def test_clickhouse_refused_value_with_any_code_keeps_no_other_one(
    server: ClickhouseServer, status: int, answer: bytes
) -> None:
    client = open_client(server.settings)
    server.refuse()
    server.refusal = status, answer
    refused = Notification("refused", client.format_payload(record(call_to=REFUSED, record_id="x")), 1)
    results = await client.send([*notifications(client, 1, 2), refused, *notifications(client, 3)])
    await client.close()
    assert [result.outcome for result in results] == ["accepted", "accepted", "rejected", "accepted"]


async def test_clickhouse_batch_of_refused_values_takes_few_requests(server: ClickhouseServer) -> None:
    client = open_client(server.settings)
    server.refuse()
    body = client.format_payload(record(call_to=REFUSED, record_id="x"))
    results = await client.send([Notification(f"refused-{number}", body, 1) for number in range(1_000)])
    await client.close()
    assert [result.outcome for result in results[: REFUSALS_MAX + 1]] == ["rejected"] * REFUSALS_MAX + ["throttled"]
    assert len(server.requests) < 100


@pytest.mark.parametrize("status", [404, 500, 516])
async def test_clickhouse_other_error_is_retried(server: ClickhouseServer, status: int) -> None:
    server.reply = (status, b"Code: 81. DB::Exception: Database calls does not exist")
    client = open_client(server.settings)
    results = await client.send(notifications(client, 1, 2))
    await client.close()
    assert {(result.outcome, result.is_shared) for result in results} == {("unreachable", True)}
    assert "Database calls does not exist" in results[0].detail


async def test_clickhouse_replaced_call_that_was_interrupted_is_replaced_by_the_next_attempt(
    server: ClickhouseServer,
) -> None:
    """Its row is there already when deletion fails; the row of the notification goes with the next attempt."""
    client: Any = open_client(server.settings)
    await client.send(notifications(client, 1))
    source = record(call_id="1777287876.1", record_id="other", seq=1, call_from="erased")
    replacement = CallReplacement(source.sn, source.call_id, [client.format_payload(source)])
    server.forbid_deletions()
    for is_forbidden in (True, False):
        if not is_forbidden:
            server.allow_deletions()
        with pytest.raises(Unavailable, match="privileges") if is_forbidden else nullcontext():
            await client.replace_calls([replacement], 7)
        assert set(server.rows) == ({"r1", "other"} if is_forbidden else {"other"})
    assert await client.deletion_position() == 7
    await client.close()


async def test_clickhouse_replacement_that_is_refused_stays_deleted(server: ClickhouseServer) -> None:
    client: Any = open_client(server.settings)
    await client.send(notifications(client, 1))
    server.refuse()
    refused = record(call_id="1777287876.1", record_id="r1", call_to=REFUSED)
    await client.replace_calls([CallReplacement(refused.sn, refused.call_id, [client.format_payload(refused)])], 7)
    await client.close()
    assert server.rows == {}


def test_clickhouse_new_column_is_added_and_the_view_made_again() -> None:
    existing = {(table, name) for table in ("records", "records_latest") for name in row_columns("records")}
    existing |= {("records", REPLACED_COLUMN)} | {(STATE_TABLE, name) for name in STATE_COLUMNS}
    assert create_statements("records", existing) == ()
    existing -= {("records", "uid"), ("records_latest", "uid")}
    statements = create_statements("records", existing)
    assert statements[1] == "ALTER TABLE records ADD COLUMN IF NOT EXISTS `uid` String"
    assert statements[2].startswith("CREATE OR REPLACE VIEW records_latest")


@pytest.mark.slow
@pytest.mark.skipif(NO_CHDB, reason="chDB is not installed: pip install chdb")
@pytest.mark.parametrize("table", ["records", "calls"])
def test_clickhouse_statements_are_those_of_the_engine(tmp_path: Path, table: Any) -> None:
    """Table, view, insert, its token, a later event, an earlier one, and a column that an earlier version lacked."""
    session = import_module("chdb.session").Session(str(tmp_path / "chdb"))
    session.query("CREATE DATABASE calls; ")
    session.query("USE calls")

    def existing() -> set[tuple[str, str]]:
        lines = str(session.query(columns_query(table))).splitlines()
        return {(name, column) for name, column in (line.split("\t") for line in lines)}

    def insert(token: str, *rows: bytes) -> None:
        settings = f"SETTINGS date_time_input_format='best_effort', insert_deduplication_token='{token}'"
        statement = insert_statement(table).replace(" FORMAT", f" {settings} FORMAT")
        session.query(f"{statement} {b' '.join(rows).decode()}")

    def read(expression: str, source: str = f"{table}_latest") -> str:
        return str(session.query(f"SELECT {expression} FROM {source} FORMAT TSV")).strip()  # noqa: S608 - constants

    try:
        for statement in create_statements(table, existing()):
            session.query(statement)
        assert create_statements(table, existing()) == ()
        source = record(
            seq=7,
            record_id="r1",
            call_id="1777287876.1",
            extra={"a": [1, "x"]},
            talk_duration=None,
            call_from="Zoë 'x' \\ \"y\"",
        )
        for _unused in range(2):
            insert("a", format_row(source, table))
        assert read("count()", table) == "1"
        for token, seq, talk_duration in (("b", 9, 5), ("c", 8, 4)):
            event = msgspec.structs.replace(source, seq=seq, talk_duration=talk_duration)
            insert(token, format_row(event, table))
        assert read("talk_duration, seq") == "5\t9"
        row = json.loads(read(f"* FROM {table} WHERE seq = 7 FORMAT JSONEachRow --", table))
        expected = json.loads(format_row(source, table))
        assert {name: row[name] for name in ("call_from", "extra", "talk_duration", "is_shifted")} == {
            name: expected[name] for name in ("call_from", "extra", "talk_duration", "is_shifted")
        }
        assert row["started_at"] == f"{source.started_at:%Y-%m-%d %H:%M:%S.%f}"
        key = (source.sn, source.call_id)
        assert read("count()", f"({position_query(table).removesuffix(' FORMAT TSV')})") == "1"
        for position, now_us in ((7, 1), (5, 2)):
            session.query(insert_position_statement(table, position, now_us))
        assert str(session.query(position_query(table))).strip() == "5"
        assert json.loads(str(session.query(stored_calls_query(table, [key, ("it's", "\\")])))) == list(key)
        erased = msgspec.structs.replace(source, seq=9, call_from="erased")
        insert("d", replacing_row(format_row(erased, table), 3))
        assert read("call_from") == "erased"
        session.query(f"{delete_statement(table, [key], 3)} SETTINGS mutations_sync = 2")
        assert read("call_from", table) == "erased"
        session.query(f"ALTER TABLE {table} DROP COLUMN uid")
        for statement in create_statements(table, existing()):
            session.query(statement)
        assert create_statements(table, existing()) == ()
    finally:
        session.close()
