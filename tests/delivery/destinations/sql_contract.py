"""Promises that databases keep: rows, tables, settings, TLS, and what retention and erasure delete or change."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import pytest

from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.row_columns import row_columns
from tests.delivery.destinations.contract import durations_of, open_client
from tests.delivery.destinations.deletion_contract import DeletionContract, KeepingServer, stored_calls
from tests.delivery.harness import SECRET, DeliveryHarness, make_calls
from tests.factories import call, record
from tests.server_certificates import ServerCertificate
from tests.waiting import wait_until


class SqlKindServer(KeepingServer, Protocol):
    """A real server of a database. `wrong_settings` are settings, a secret, and what the server says to them."""

    wrong_settings: Sequence[tuple[dict[str, Any], str, str]]

    def has_table(self, name: str) -> bool:
        """Return whether a table is made, with its views."""
        ...

    def lock_records(self) -> AbstractContextManager[None]:
        """Lock the table of records."""
        ...

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        ...


def notification(source: Record, settings: dict[str, Any]) -> Notification:
    return Notification("id", open_client(settings, SECRET).format_payload(source), 1)


async def send(settings: dict[str, Any], *records: Record) -> list[tuple[str, str]]:
    """Send records in one batch; return outcome and detail of each."""
    client = open_client(settings, SECRET)
    try:
        results = await client.send([notification(source, settings) for source in records])
        return [(result.outcome, result.detail) for result in results]
    finally:
        await client.close()


async def check_tls(settings: dict[str, Any], url: str, certificate: ServerCertificate) -> None:
    """Write a record over TLS, and none to a server that is not trusted or has another name."""
    settings |= {"url": url, "fields": {}}
    trusted = settings | {"ca_certificates": certificate.authority_pem}
    other_name = trusted | {"url": url.replace("localhost", "127.0.0.1")}
    outcomes = []
    for changed_settings in (settings, other_name, trusted):
        client = open_client(changed_settings, SECRET)
        (result,) = await client.send([Notification("id", client.format_payload(record()), 1)])
        outcomes.append((result.outcome, "certificate" in result.detail))
        await client.close()
    assert outcomes == [("unreachable", True), ("unreachable", True), ("accepted", False)]


class SqlContract(DeletionContract):
    """Tests with the fixtures `server` and `harness`."""

    async def test_sql_earlier_event_sent_again_undoes_nothing(self, server: SqlKindServer) -> None:
        first = record(talk_duration=1)
        later = msgspec.structs.replace(first, talk_duration=2, seq=first.seq + 1)
        for source in (first, later, first):
            assert await send(server.settings, source) == [("accepted", "stored")]
        assert server.query("SELECT talk_duration, seq FROM records") == [(2, later.seq)]

    async def test_sql_calls_are_rows_of_their_own_table(self, harness: DeliveryHarness, server: SqlKindServer) -> None:
        first_leg = record(datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC), call_to="Queue<6400>")
        second_leg = msgspec.structs.replace(first_leg, call_to="Bob<1002>", record_id="b" * 16)
        await harness.add_destination("calls", **server.settings, notifies_of="calls")
        harness.start()
        await harness.put_calls(call(first_leg, second_leg))
        await wait_until(
            lambda: server.has_table("calls") and server.query("SELECT call_id FROM calls") == [(first_leg.call_id,)]
        )
        assert "record_id" not in row_columns("calls")

    async def test_sql_table_of_an_earlier_version_gets_its_columns(self, server: SqlKindServer) -> None:
        """Its rows stay, and so do columns that people added."""
        columns = "record_id varchar(255) PRIMARY KEY, sn varchar(255), seq bigint, note text"
        server.query(f"CREATE TABLE records ({columns})")
        server.query("INSERT INTO records VALUES ('old', 'SN', 1, 'keep')")
        source = record()
        assert await send(server.settings, source) == [("accepted", "stored")]
        assert server.query("SELECT record_id, note, call_to FROM records ORDER BY record_id = 'old'") == [
            (source.record_id, None, source.call_to),
            ("old", "keep", None),
        ]

    async def test_sql_views_are_made_again_where_they_are_missing(self, server: SqlKindServer) -> None:
        started_at = datetime(2026, 4, 27, 22, 4, 36, tzinfo=UTC)
        source = record(started_at, call_from="Zoë <Z> Q<0030123>", utc_offset="+05:30")
        await send(server.settings, source)
        server.query("DROP VIEW records_by_day, records_report")
        other = record(record_id="b", call_from="1001", utc_offset="-03:30", status="NO ANSWER")
        await send(server.settings, source, other)
        first_row, second_row = server.query(
            "SELECT caller_name, caller_number, hour, weekday, is_answered FROM records_report ORDER BY record_id = 'b'"
        )
        assert first_row == ("Zoë <Z> Q", "0030123", 3, 2, True)
        assert second_row[:2] == ("", "1001")
        assert server.query("SELECT SUM(total), SUM(answered), SUM(unanswered) FROM records_by_day") == [(2, 1, 1)]

    @pytest.mark.parametrize("status", ["ANSWERED", "Answerd", "ANSWERD", "answered"])
    async def test_sql_views_count_an_answered_record_by_each_spelling(
        self, server: SqlKindServer, status: str
    ) -> None:
        await send(server.settings, record(status=status), record(record_id="b", status="No_Answer"))
        (counts,) = server.query("SELECT SUM(answered), SUM(unanswered) FROM records_by_day")
        assert counts == (1, 1)

    async def test_sql_wrong_setting_counts_against_no_notification(self, server: SqlKindServer) -> None:
        assert server.wrong_settings
        for changes, secret, detail in server.wrong_settings:
            client = open_client(server.settings | changes, secret)
            (result,) = await client.send([notification(record(), server.settings)])
            assert result.outcome == "unreachable"
            assert detail in result.detail
            assert secret not in result.detail
            await client.close()

    async def test_sql_changed_password_is_found_among_the_secrets(self, server: SqlKindServer) -> None:
        """Add the new one before it is changed at the server, and remove the old one afterwards."""
        client = open_client(server.settings, SECRET, "new-password-of-tomorrow")
        (result,) = await client.send([notification(record(), server.settings)])
        assert result.outcome == "accepted"
        await client.close()

    async def test_sql_locked_table_ends_with_the_time_out(self, server: SqlKindServer) -> None:
        """And the next attempt uses another connection."""
        client = open_client(server.settings | {"timeout_seconds": 1.0}, SECRET)
        source = notification(record(), server.settings)
        assert (await client.send([source]))[0].outcome == "accepted"
        with server.lock_records():
            assert (await client.send([source]))[0].outcome == "unreachable"
        assert (await client.send([source]))[0].outcome == "accepted"
        await client.close()

    # What retention and erasure delete or change

    async def test_sql_deletions_erased_number_is_in_no_row(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        """Also where the record has another identity without it."""
        await self._serve(harness, server)
        first_call, other_call = make_calls(2, call_from="Eve<15550100>")
        await harness.put_calls(first_call, other_call)
        await wait_until(lambda: len(server.durations()) == 2)
        (stored,) = [item for item in await stored_calls(harness) if item.call_id == first_call.call_id]
        leg = msgspec.structs.replace(stored.legs[0], call_from="erased", call_to="erased", talk_duration=77)
        await harness.erase(msgspec.structs.replace(stored, call_from="erased", legs=(leg,)))
        await wait_until(lambda: server.durations().get(first_call.call_id) == 77)
        query = "SELECT call_from, call_to, record_id = %s FROM records WHERE call_id = %s"
        rows = server.query(query, stored.legs[0].record_id, first_call.call_id)
        assert rows == [("erased", "erased", False)]
        assert len(server.durations()) == 2

    async def test_sql_deletions_calls_of_before_the_destination_get_no_rows(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        earlier_calls = list(make_calls(2))
        await harness.put_calls(*earlier_calls)
        await harness.add_destination("kind", **server.settings, after=harness.position)
        harness.start()
        (late_call,) = make_calls(1)
        await harness.put_calls(late_call)
        await wait_until(lambda: server.durations() == durations_of([late_call]))
        await harness.erase(*[item for item in await stored_calls(harness) if item.call_id != late_call.call_id])
        await wait_until(lambda: server.query("SELECT seq FROM onhook_state") == [(harness.position,)])
        assert server.durations() == durations_of([late_call])

    async def test_sql_deletions_restored_table_follows_again(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        """As one that was filled before deletions were followed."""
        calls = await self._fill(harness, server)
        await harness.stop()
        await harness.forget(calls[0])
        server.query("DELETE FROM onhook_state")
        harness.start()
        await wait_until(lambda: server.durations() == durations_of(calls[1:]))
