"""Promises that every kind of destination keeps; a kind's test adds a real server of it (`KindServer`)."""

import asyncio
import json
import socket
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Call
from onhook.config import Config
from onhook.delivery.destination_streams import READ_AHEAD_MAX
from onhook.delivery.destinations.contract import DestinationClient, Notification
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.record_reader import BATCH_RECORDS
from onhook.delivery.status import view_destination
from onhook.delivery.worker import DestinationWorker
from onhook.lib.clock import SystemClock
from tests.delivery.harness import SECRET, DeliveryHarness, WebhookReceiver, make_calls
from tests.factories import call, record
from tests.waiting import polls, wait_until

REFUSED = "Refused<6666>"
"""Called party of the records that `KindServer.refuse` makes the server refuse."""

REFUSED_BYTES = 8_000
"""Of such a record where the server refuses by size (`DestinationContract.is_refused_by_size`)."""

DEAD_DESTINATION_TEST = "test_contract_dead_destination_delays_no_other"

DISPATCHER_TESTS = frozenset(
    {
        DEAD_DESTINATION_TEST,
        "test_contract_restart_skips_none",
        "test_contract_paused_destination_receives_nothing",
    }
)
"""Promises of the dispatcher, whatever the kind."""

PENDING_MAX = READ_AHEAD_MAX + BATCH_RECORDS
MANY_RECORDS_SECONDS = 120.0
"""A kind that makes several requests for each record takes ten seconds for 700 on a calm machine."""


class KindServer(Protocol):
    """A real server of one kind."""

    settings: dict[str, Any]
    """Fields of a destination at this server."""

    def dead_settings(self, port: int) -> dict[str, Any]:
        """Return the fields of a destination at another port of this machine."""
        ...

    def durations(self) -> dict[str, int]:
        """Return the talk durations that arrived, by call; of updates the newest one."""
        ...

    async def stop(self) -> None:
        """Stop accepting connections."""
        ...

    async def start(self) -> None:
        """Accept connections again."""
        ...

    def refuse(self) -> None:
        """Refuse records whose called party is `REFUSED`, or of `REFUSED_BYTES`, and no others, where `can_refuse`."""
        ...


def open_client(settings: dict[str, Any], *secrets: str) -> DestinationClient:
    return destination_opener(Config())(DestinationSpec(**settings), secrets)


def later_event(earlier: Call, talk_duration: int) -> Call:
    """Return the call as a later event reports it."""
    leg = msgspec.structs.replace(earlier.legs[0], talk_duration=talk_duration)
    return msgspec.structs.replace(earlier, talk_duration=talk_duration, legs=(leg,))


def durations_of(calls: tuple[Call, ...] | list[Call]) -> dict[str, int]:
    return {item.call_id: item.legs[0].talk_duration or 0 for item in calls}


def contract_tests(*suites: type) -> set[str]:
    """Return the names of the tests of contract suites."""
    return {name for suite in suites for name in vars(suite) if name.startswith("test_")}


class DestinationContract:
    """Tests with the fixtures `server` and `harness`; a server that takes everything cannot refuse, and a folder has no
    connection.
    """

    can_refuse = True
    is_refused_by_size = False
    has_connection = True

    slow_tests: Collection[str] = (DEAD_DESTINATION_TEST,)
    """Names of tests that run in `make test-all` alone: another kind shows in `make test` what they show."""

    @pytest.fixture
    def silent_port(self) -> Iterator[int]:
        """A port that accepts connections and never answers."""
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            yield listener.getsockname()[1]

    @pytest.fixture
    def closed_port(self) -> int:
        """A port without a listener."""
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port: int = listener.getsockname()[1]
            return port

    @pytest.fixture
    async def served(self, harness: DeliveryHarness, server: KindServer) -> DeliveryHarness:
        """A dispatcher that serves the destination `kind`."""
        await harness.add_destination("kind", **server.settings)
        harness.start()
        return harness

    async def test_contract_same_record_gives_same_bytes(self, server: KindServer) -> None:
        """And another record gives others."""
        client, source_record = open_client(server.settings), record()
        assert client.format_payload(source_record) == client.format_payload(source_record)
        assert client.format_payload(source_record) != client.format_payload(record(call_to="1009"))
        assert client.format_test_payload() not in (b"", client.format_payload(source_record))
        await client.close()

    async def test_contract_each_record_arrives(self, served: DeliveryHarness, server: KindServer) -> None:
        calls = list(make_calls(700))
        await served.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls), seconds=MANY_RECORDS_SECONDS)

    async def test_contract_restart_skips_none(self, served: DeliveryHarness, server: KindServer) -> None:
        calls = list(make_calls(300))
        await served.put_calls(*calls)
        await wait_until(lambda: bool(server.durations()))
        await served.stop()
        served.start()
        await wait_until(lambda: server.durations() == durations_of(calls))

    async def test_contract_later_event_of_a_call_is_the_last_one(
        self, served: DeliveryHarness, server: KindServer
    ) -> None:
        calls = list(make_calls(20))
        await served.put_calls(*calls)
        for talk_duration in (15, 16, 17):
            calls = [later_event(item, talk_duration) for item in calls]
            await served.put_calls(*calls)
        await wait_until(lambda: server.durations() == durations_of(calls))

    @pytest.mark.usefixtures("short_delays")
    async def test_contract_server_that_was_down_receives_all(
        self, served: DeliveryHarness, server: KindServer
    ) -> None:
        first_calls, later_calls = list(make_calls(5)), list(make_calls(40))
        await served.put_calls(*first_calls)
        await wait_until(lambda: server.durations() == durations_of(first_calls))
        await server.stop()
        await served.put_calls(*later_calls)
        await asyncio.sleep(0.3)  # attempts fail meanwhile
        await server.start()
        await wait_until(lambda: server.durations() == durations_of(first_calls + later_calls))

    @pytest.mark.usefixtures("short_delays")
    async def test_contract_refused_notification_fails_alone(
        self, harness: DeliveryHarness, server: KindServer
    ) -> None:
        """It becomes a failed delivery with a reason; those around it arrive."""
        if not self.can_refuse:
            pytest.skip("this kind of server refuses no notification")
        await harness.add_destination("kind", **server.settings, retry_policy="original", max_attempts=2)
        server.refuse()
        harness.start()
        calls = list(make_calls(60))
        padding = {"padding": "x" * REFUSED_BYTES} if self.is_refused_by_size else {}
        refused_call = call(record(call_to=REFUSED, extra=padding))
        await harness.put_calls(*calls[:30], refused_call, *calls[30:])
        await wait_until(lambda: server.durations() == durations_of(calls))
        await wait_until(bool(await harness.rows("kind", "failed")) async for _ in polls())
        rows = await harness.rows("kind", "failed")
        assert [row.call_id for row in rows] == [refused_call.call_id]
        attempts = await harness.appdb.deliveries.attempts(rows[0].delivery_id)
        assert len(attempts) == 2
        assert all(attempt.detail for attempt in attempts)

    async def test_contract_paused_destination_receives_nothing(
        self, served: DeliveryHarness, server: KindServer
    ) -> None:
        first_call, second_call = make_calls(2)
        await served.put_calls(first_call)
        await wait_until(lambda: bool(server.durations()))
        await served.appdb.destinations.set_state("kind", "paused")
        await wait_until(lambda: not served.dispatcher._supervisors)
        await served.put_calls(second_call)
        await asyncio.sleep(0.3)
        assert server.durations() == durations_of([first_call])
        await served.appdb.destinations.set_state("kind", "active")
        await wait_until(lambda: server.durations() == durations_of([first_call, second_call]))

    @pytest.mark.parametrize("is_sample", [False, True])
    async def test_contract_test_is_accepted_and_is_no_call(
        self, harness: DeliveryHarness, server: KindServer, is_sample: bool
    ) -> None:
        await harness.add_destination("kind", **server.settings)
        result = await send_test_by_name(
            harness.appdb, harness.open_destination, SystemClock(), "kind", is_sample=is_sample
        )
        assert (result.accepted, server.durations()) == (True, {})
        assert result.detail

    async def test_contract_no_listener_is_a_result(self, server: KindServer, closed_port: int) -> None:
        """A failure in words, and no exception."""
        client = open_client(server.dead_settings(closed_port))
        (result,) = await client.send([Notification("id", b"{}", 1)])
        assert (result.outcome, result.status, result.is_shared) == ("unreachable", None, False)
        assert result.detail
        await client.close()

    async def test_contract_failed_batch_has_a_shared_result_for_each(
        self, server: KindServer, closed_port: int
    ) -> None:
        client = open_client(server.dead_settings(closed_port))
        count = client.limits.batch_count
        results = await client.send([Notification(f"id-{number}", b"{}", 1) for number in range(count)])
        assert [result.is_shared for result in results] == [count > 1] * count
        await client.close()

    async def test_contract_silent_server_ends_with_the_time_out(self, server: KindServer, silent_port: int) -> None:
        if not self.has_connection:
            pytest.skip("there is no connection")
        client = open_client(server.dead_settings(silent_port) | {"timeout_seconds": 1.0})
        async with asyncio.timeout(10):
            (result,) = await client.send([Notification("id", b"{}", 1)])
        assert (result.outcome, result.detail) == ("unreachable", "no response within 1 seconds")
        await client.close()

    async def test_contract_private_network_is_blocked(self, server: KindServer, closed_port: int) -> None:
        """Unless an operator allowed it."""
        if not self.has_connection:
            pytest.skip("there is no connection")
        client = open_client(server.dead_settings(closed_port) | {"allow_private": False})
        (result,) = await client.send([Notification("id", b"{}", 1)])
        assert result.detail.startswith("not connected: ")
        assert "--allow-private" in result.detail
        await client.close()

    async def test_contract_secrets_are_not_shown(
        self, harness: DeliveryHarness, server: KindServer, closed_port: int
    ) -> None:
        """Neither in the repr nor in a result, nor by the API."""
        client = open_client(server.settings, "geheimgeheim")
        dead_client = open_client(server.dead_settings(closed_port), "geheimgeheim")
        results = [*await client.send([Notification("id", b"{}", 1)])]
        results += await dead_client.send([Notification("id", b"{}", 1)])
        assert "geheim" not in f"{client!r} {results!r}"
        destination = await harness.add_destination("kind", **server.settings)
        view = await view_destination(destination, harness.appdb, harness.store, datetime.now(UTC))
        assert SECRET not in json.dumps(msgspec.to_builtins(view), default=str)
        await client.close()
        await dead_client.close()

    async def test_contract_dead_destination_delays_no_other(
        self, harness: DeliveryHarness, server: KindServer, silent_port: int, receiver: WebhookReceiver
    ) -> None:
        """Twenty of them, each waiting for a server that never answers; and what waits stays within its limit."""
        for number in range(20):
            await harness.add_destination(f"dead {number}", **server.dead_settings(silent_port))
        await harness.add_destination("CRM", receiver.url)
        workers: list[DestinationWorker] = []
        harness.start()
        calls = make_calls(PENDING_MAX * 2)
        await harness.put_calls(*calls)
        await wait_until(lambda: len(receiver.accepted) == len(calls), seconds=60)
        workers = [supervisor._worker for supervisor in harness.dispatcher._supervisors.values() if supervisor._worker]
        assert len(workers) == 21
        assert all(len(worker._queues.calls._followers) <= PENDING_MAX for worker in workers)
