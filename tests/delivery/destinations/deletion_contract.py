"""Promises that kinds keep whose other side keeps calls: what retention and erasure delete or change goes there too."""

import asyncio
from typing import Any, Protocol

import msgspec
import pytest

from onhook.appdb.destination_spec import Kind
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery import deletion_follower
from onhook.delivery.destinations.kinds import KINDS
from tests.delivery.destinations.contract import KindServer, durations_of
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import call, record
from tests.waiting import wait_until

NUMBER = "15550100"


class KeepingServer(KindServer, Protocol):
    """A real server that keeps calls."""

    kind: Kind

    def has_text(self, text: str) -> bool:
        """Return whether a text is in anything that is stored of calls."""
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


class DeletionContract:
    """Tests with the fixtures `server` and `harness`."""

    many_calls = 600
    """More than are replaced at once."""

    @pytest.fixture(autouse=True)
    def _short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deletion_follower, "CHECK_SECONDS", 0.05)
        monkeypatch.setattr(deletion_follower, "RETRY_SECONDS", 0.3)

    async def _serve(self, harness: DeliveryHarness, server: KeepingServer, **fields: Any) -> None:
        await harness.add_destination("kind", **(server.settings | fields))
        harness.start()

    async def _fill(self, harness: DeliveryHarness, server: KeepingServer, count: int = 3) -> list[Call]:
        """Serve, and return calls that have rows."""
        await self._serve(harness, server)
        calls = list(make_calls(count))
        await harness.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))
        return calls

    def test_deletions_kind_is_one_that_follows(self, server: KeepingServer) -> None:
        assert KINDS[server.settings["kind"]].follows_deletions

    async def test_deletions_forgotten_calls_have_no_rows(
        self, harness: DeliveryHarness, server: KeepingServer
    ) -> None:
        """Other calls stay, and come."""
        calls = await self._fill(harness, server, self.many_calls)
        forgotten_count = self.many_calls * 2 // 3
        await harness.forget(*calls[:forgotten_count])
        late_call = call(record())
        await harness.put_calls(late_call)
        await wait_until(lambda: server.durations() == durations_of([*calls[forgotten_count:], late_call]))

    async def test_deletions_erased_call_that_does_not_match_any_more_has_no_row(
        self, harness: DeliveryHarness, server: KeepingServer
    ) -> None:
        await self._serve(harness, server, filter=RecordFilter(number=NUMBER))
        (source,) = make_calls(1, call_to=f"Eve<{NUMBER}>")
        await harness.put_calls(source)
        await wait_until(lambda: len(server.durations()) == 1)
        (stored,) = await stored_calls(harness)
        leg = msgspec.structs.replace(stored.legs[0], call_to="erased")
        await harness.erase(msgspec.structs.replace(stored, call_to="erased", legs=(leg,)))
        await wait_until(lambda: server.durations() == {})

    async def test_deletions_of_a_stop_are_made_after_it(self, harness: DeliveryHarness, server: KeepingServer) -> None:
        calls = await self._fill(harness, server)
        await harness.stop()
        await harness.forget(calls[0])
        harness.start()
        await wait_until(lambda: server.durations() == durations_of(calls[1:]))

    @pytest.mark.usefixtures("short_delays")
    async def test_deletions_wait_for_a_server_that_is_down(
        self, harness: DeliveryHarness, server: KeepingServer
    ) -> None:
        calls = await self._fill(harness, server)
        await server.stop()
        await harness.forget(calls[0])
        (late_call,) = make_calls(1)
        await harness.put_calls(late_call)
        await server.start()
        await wait_until(lambda: server.durations() == durations_of([*calls[1:], late_call]))

    async def test_deletions_that_fail_delay_no_delivery(self, harness: DeliveryHarness, server: KeepingServer) -> None:
        """And are made later."""
        calls = await self._fill(harness, server)
        await asyncio.to_thread(server.forbid_deletions)
        await harness.forget(calls[0])
        late_calls = list(make_calls(2))
        await harness.put_calls(late_calls[0])
        await wait_until(lambda: late_calls[0].call_id in server.durations())
        await harness.put_calls(late_calls[1])
        await wait_until(lambda: late_calls[1].call_id in server.durations())
        assert calls[0].call_id in server.durations()
        # The server may let it wait for a transaction of the client, which goes on meanwhile.
        await asyncio.to_thread(server.allow_deletions)
        await wait_until(lambda: server.durations() == durations_of([*calls[1:], *late_calls]))

    async def test_deletions_erased_number_is_nowhere(self, harness: DeliveryHarness, server: KeepingServer) -> None:
        """Also where the record has another identity without it; another call keeps what it has."""
        await self._serve(harness, server)
        (first_call,) = make_calls(1, call_to=f"Eve<{NUMBER}>")
        (other_call,) = make_calls(1)
        await harness.put_calls(first_call, other_call)
        await wait_until(lambda: len(server.durations()) == 2)
        assert server.has_text(NUMBER)
        (stored,) = [item for item in await stored_calls(harness) if item.call_id == first_call.call_id]
        leg = msgspec.structs.replace(stored.legs[0], call_to="erased", talk_duration=77)
        await harness.erase(msgspec.structs.replace(stored, call_to="erased", talk_duration=77, legs=(leg,)))
        await wait_until(lambda: server.durations().get(first_call.call_id) == 77)
        await wait_until(lambda: not server.has_text(NUMBER))
        assert server.durations() == {first_call.call_id: 77, **durations_of([other_call])}
