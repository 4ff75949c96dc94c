"""Contract suite of the kinds of destinations; each kind runs it with a fixture `open_client`."""

from onhook.appdb.destination_spec import DestinationSpec
from onhook.delivery.destinations.contract import Notification, OpenDestination
from tests.factories import record

UNREACHABLE_URL = "http://127.0.0.1:9/"
"""An address without a listener."""


class DestinationContract:
    """See `delivery.destinations.contract.DestinationClient`."""

    async def test_contract_same_record_gives_same_bytes(self, opened: OpenDestination) -> None:
        """So that a retry carries the same bytes, and the same signature."""
        client, source_record = opened(DestinationSpec(url=UNREACHABLE_URL), ()), record()
        assert client.format_payload(source_record) == client.format_payload(source_record)
        assert client.format_payload(source_record) != client.format_payload(record(call_to="1009"))
        assert client.format_test_payload() not in (b"", client.format_payload(source_record))
        await client.close()

    async def test_contract_no_listener_is_a_result(self, opened: OpenDestination) -> None:
        """A failure in words, and no exception."""
        client = opened(DestinationSpec(url=UNREACHABLE_URL, allow_private=True), ())
        (result,) = await client.send([Notification("id", b"{}", 1)])
        assert (result.outcome, result.status) == ("unreachable", None)
        assert result.detail
        await client.close()

    async def test_contract_private_network_is_blocked(self, opened: OpenDestination) -> None:
        """Unless an operator allowed it."""
        client = opened(DestinationSpec(url=UNREACHABLE_URL), ())
        (result,) = await client.send([Notification("id", b"{}", 1)])
        assert result.detail.startswith("not connected: ")
        assert "--allow-private" in result.detail
        await client.close()

    async def test_contract_secrets_are_not_shown(self, opened: OpenDestination) -> None:
        """Neither in the repr nor in a result."""
        client = opened(DestinationSpec(url=UNREACHABLE_URL), ("geheimgeheim",))
        (result,) = await client.send([Notification("id", b"{}", 1)])
        assert "geheim" not in f"{client!r} {result!r}"
        await client.close()
