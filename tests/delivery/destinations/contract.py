"""What every sink must hold: a suite that each kind runs, by giving it a fixture `opened` that opens one."""

from collections.abc import Callable

from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient, DestinationConfig, Notification
from tests.factories import record

Opened = Callable[[DestinationConfig], DestinationClient]
NOBODY = "http://127.0.0.1:9/"
"""Where nobody listens."""


class SinkContract:
    """See `sinks.sink.Sink`."""

    async def test_a_record_is_packed_alike_each_time(self, opened: Opened) -> None:
        """So that a retry carries the same bytes, and the same signature."""
        sink, one = opened(DestinationConfig(url=NOBODY)), record()
        assert sink.pack(one) == sink.pack(one)
        assert sink.pack(one) != sink.pack(record(call_to="1009"))
        assert sink.pack_test() not in (b"", sink.pack(one))
        await sink.close()

    async def test_nobody_there_is_an_answer(self, opened: Opened) -> None:
        """A failure in words, and no exception."""
        sink = opened(DestinationConfig(url=NOBODY, allows_private=True))
        answer = await sink.send(Notification("id", b"{}", 1))
        assert (answer.verdict, answer.status) == ("failed", None)
        assert answer.said
        await sink.close()

    async def test_its_own_network_is_closed(self, opened: Opened) -> None:
        """Unless a person allowed it."""
        sink = opened(DestinationConfig(url=NOBODY))
        answer = await sink.send(Notification("id", b"{}", 1))
        assert answer.said.startswith("was not asked: ")
        assert "--allow-private" in answer.said
        await sink.close()

    async def test_secrets_are_not_shown(self, opened: Opened) -> None:
        """Neither in what it is called nor in what it says."""
        destination = DestinationConfig(url=NOBODY, secrets=("geheimgeheim",))
        sink = opened(destination)
        answer: DeliveryResult = await sink.send(Notification("id", b"{}", 1))
        assert "geheim" not in f"{destination!r} {sink!r} {answer!r}"
        await sink.close()
