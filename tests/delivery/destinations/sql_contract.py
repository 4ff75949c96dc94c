"""Promises that databases keep: TLS, and what retention and erasure delete or change."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import pytest

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery import deletion_follower
from onhook.delivery.destinations.contract import Notification
from tests.delivery.destinations.contract import KindServer, durations_of, open_client
from tests.delivery.harness import SECRET, DeliveryHarness, make_calls
from tests.factories import call, record
from tests.server_certificates import ServerCertificate
from tests.waiting import wait_until


class SqlKindServer(KindServer, Protocol):
    """A real server of a database."""

    def query(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        ...

    def forbid_deletions(self) -> None:
        """Refuse to delete records."""
        ...

    def allow_deletions(self) -> None:
        """Delete records again."""
        ...


async def stored_calls(harness: DeliveryHarness) -> list[Call]:
    """Return the calls of the store with their numbers."""
    return list((await harness.store.calls(RecordFilter(), 1_000)).data)


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


class SqlDeletionContract:
    """Tests with the fixtures `server` and `harness`."""

    @pytest.fixture(autouse=True)
    def _short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deletion_follower, "CHECK_SECONDS", 0.05)
        monkeypatch.setattr(deletion_follower, "RETRY_SECONDS", 0.3)

    async def _serve(self, harness: DeliveryHarness, server: SqlKindServer, **fields: Any) -> None:
        await harness.add_destination("kind", **(server.settings | fields))
        harness.start()

    async def test_sql_deletions_forgotten_calls_have_no_rows(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        """Other calls stay, and come."""
        await self._serve(harness, server)
        calls = list(make_calls(600))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        await harness.forget(*calls[:400])
        late_call = call(record())
        await harness.put_calls(late_call)
        await wait_until(lambda: server.durations() == durations_of([*calls[400:], late_call]))

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

    async def test_sql_deletions_erased_call_that_does_not_match_any_more_has_no_row(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        await self._serve(harness, server, filter=RecordFilter(number="15550100"))
        (source,) = make_calls(1, call_from="Eve<15550100>")
        await harness.put_calls(source)
        await wait_until(lambda: len(server.durations()) == 1)
        (stored,) = await stored_calls(harness)
        leg = msgspec.structs.replace(stored.legs[0], call_from="erased")
        await harness.erase(msgspec.structs.replace(stored, call_from="erased", legs=(leg,)))
        await wait_until(lambda: server.durations() == {})

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

    async def test_sql_deletions_of_a_stop_are_made_after_it(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        await self._serve(harness, server)
        calls = list(make_calls(3))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        await harness.stop()
        await harness.forget(calls[0])
        harness.start()
        await wait_until(lambda: server.durations() == durations_of(calls[1:]))

    async def test_sql_deletions_restored_table_follows_again(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        """As one that was filled before deletions were followed."""
        await self._serve(harness, server)
        calls = list(make_calls(3))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        await harness.stop()
        await harness.forget(calls[0])
        server.query("DELETE FROM onhook_state")
        harness.start()
        await wait_until(lambda: server.durations() == durations_of(calls[1:]))

    @pytest.mark.usefixtures("short_delays")
    async def test_sql_deletions_wait_for_a_server_that_is_down(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        await self._serve(harness, server)
        calls = list(make_calls(3))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        await server.stop()
        await harness.forget(calls[0])
        (late_call,) = make_calls(1)
        await harness.put_calls(late_call)
        await server.start()
        await wait_until(lambda: server.durations() == durations_of([*calls[1:], late_call]))

    async def test_sql_deletions_that_fail_delay_no_delivery(
        self, harness: DeliveryHarness, server: SqlKindServer
    ) -> None:
        """And are made later."""
        await self._serve(harness, server)
        calls = list(make_calls(3))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        server.forbid_deletions()
        await harness.forget(calls[0])
        late_calls = list(make_calls(2))
        await harness.put_calls(late_calls[0])
        await wait_until(lambda: late_calls[0].call_id in server.durations())
        await harness.put_calls(late_calls[1])
        await wait_until(lambda: late_calls[1].call_id in server.durations())
        assert calls[0].call_id in server.durations()
        server.allow_deletions()
        await wait_until(lambda: server.durations() == durations_of([*calls[1:], *late_calls]))
