"""Following of retention and erasure, beside the databases of `destinations.sql_contract`."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from onhook.appdb.destinations import Destination
from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.deletion_follower import ENTRIES_AT_ONCE, DeletionFollower
from onhook.delivery.destinations.contract import CallReplacement
from onhook.delivery.record_preparation import RecordPreparation
from onhook.delivery.record_reader import RecordReader
from onhook.ledger.control_entries import list_facts
from onhook.lib.errors import Unavailable
from tests.delivery.harness import DeliveryHarness, make_calls


class CallKeeper:
    """The other side: remembers what it was asked for. `error` is raised once."""

    def __init__(self, position: int | None = 0) -> None:
        self.position = position
        self.replacements: list[CallReplacement] = []
        self.error: Unavailable | None = None

    async def deletion_position(self) -> int | None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.position

    async def replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        self.replacements += replacements
        self.position = self.position if position is None else position


async def create_follower(
    harness: DeliveryHarness, keeper: CallKeeper, ledger_end: int = 0, **fields: Any
) -> DeletionFollower:
    destination: Destination = await harness.add_destination("BI", "https://crm.example.com/", **fields)

    async def read_ledger_end() -> int:
        return ledger_end

    return DeletionFollower(
        destination,
        replacer=keeper,
        preparation=RecordPreparation(destination, harness.appdb),
        format_payload=msgspec.json.encode,
        appdb=harness.appdb,
        record_reader=RecordReader(harness.store, harness.position_notifier),
        read_control_entries=harness._read_control_entries,
        read_ledger_end=read_ledger_end,
    )


async def test_deletion_follower_read_notifications_are_done_first(harness: DeliveryHarness) -> None:
    calls = make_calls(2)
    await harness.put_calls(*calls)
    keeper = CallKeeper()
    follower = await create_follower(harness, keeper)
    states = [follower.is_waiting]
    for is_drained in (False, True):
        await follower.follow(is_drained=is_drained)
        states.append(follower.is_waiting)
    assert states == [True, True, False], "the position is read first"
    await harness.forget(calls[0])
    follower._check_at = 0
    counts = []
    for is_drained in (False, True):
        await follower.follow(is_drained=is_drained)
        counts.append((follower.is_waiting, len(keeper.replacements)))
    assert counts == [(True, 0), (False, 1)]
    assert keeper.replacements == [CallReplacement(calls[0].sn, calls[0].call_id, [])]
    assert keeper.position == harness.position


async def test_deletion_follower_entry_waits_for_the_store(harness: DeliveryHarness) -> None:
    (source,) = make_calls(1)
    await harness.put_calls(source)
    keeper = CallKeeper()
    await harness.forget(source)
    harness.control_entries = [msgspec.structs.replace(harness.control_entries[0], seq=harness.position + 5)]
    follower = await create_follower(harness, keeper)
    await follower.follow(is_drained=True)
    assert (keeper.replacements, follower.is_waiting) == ([], False)


@pytest.mark.parametrize(("position", "ledger_end", "count"), [(None, 9, 0), (0, 9, 1), (90, 9, 1), (90, 0, 0)])
async def test_deletion_follower_begins_at_its_position(
    harness: DeliveryHarness, position: int | None, ledger_end: int, count: int
) -> None:
    """At the end without calls; at the beginning with a position of another ledger."""
    (source,) = make_calls(1)
    await harness.put_calls(source)
    await harness.forget(source)
    keeper = CallKeeper(position)
    await (await create_follower(harness, keeper, ledger_end)).follow(is_drained=True)
    assert len(keeper.replacements) == count
    assert keeper.position == (harness.position if count or position is None else position)


async def test_deletion_follower_call_is_replaced_as_it_is_notified(harness: DeliveryHarness) -> None:
    (source,) = make_calls(1, call_from="Eve<15550100>", src_trunk_name="trunk")
    await harness.put_calls(source)
    await harness.erase(*(await harness.store.calls(RecordFilter(), 9)).data)
    keeper = CallKeeper()
    follower = await create_follower(harness, keeper, notifies_of="calls", mask="last3")
    await follower.follow(is_drained=True)
    ((body,),) = [replacement.bodies for replacement in keeper.replacements]
    assert msgspec.json.decode(body)["call_from"] == "15550***"


async def test_deletion_follower_call_is_replaced_with_the_changes_of_its_members(harness: DeliveryHarness) -> None:
    """Also after an erasure of another number of the call: what a destination must not get it does not get then."""
    (source,) = make_calls(1, call_from="Eve<15550100>", call_to="Bob<15550111>")
    await harness.put_calls(source)
    await harness.erase(*(await harness.store.calls(RecordFilter(), 9)).data)
    keeper = CallKeeper()
    follower = await create_follower(harness, keeper, transform="mask call_to last3\nmask call_from hash")
    await follower.follow(is_drained=True)
    ((body,),) = [replacement.bodies for replacement in keeper.replacements]
    members = msgspec.json.decode(body)
    assert members["call_to"] == "15550***"
    assert members["call_from"].startswith("anon-")


async def test_deletion_follower_other_entries_are_passed_over(harness: DeliveryHarness) -> None:
    (source,) = make_calls(1)
    await harness.put_calls(source)
    (facts,) = list_facts({source.sn: PbxFacts(sn=source.sn)}).values()
    for _unused in range(ENTRIES_AT_ONCE):
        await harness._apply_control(facts)
    await harness.forget(source)
    keeper = CallKeeper()
    follower = await create_follower(harness, keeper)
    await follower.follow(is_drained=True)
    assert (keeper.position, follower.seconds_until_check()) == (0, 0)
    await follower.follow(is_drained=True)
    assert keeper.position == harness.position


async def test_deletion_follower_failure_is_repeated_later(harness: DeliveryHarness) -> None:
    (source,) = make_calls(1)
    await harness.put_calls(source)
    await harness.forget(source)
    keeper = CallKeeper()
    keeper.error = Unavailable("no connection")
    follower = await create_follower(harness, keeper)
    await follower.follow(is_drained=True)
    assert not follower.is_waiting
    assert 50 < follower.seconds_until_check() <= 60
    follower._check_at = 0
    await follower.follow(is_drained=True)
    assert keeper.position == harness.position


async def test_deletion_follower_reports_what_it_has_applied(harness: DeliveryHarness) -> None:
    """Until then the ledger keeps the entries, also while the other side cannot be reached."""
    calls = make_calls(2)
    await harness.put_calls(*calls)
    keeper = CallKeeper()
    follower = await create_follower(harness, keeper)
    positions = harness.appdb.store_positions
    assert await positions.slowest_follower() is None
    await follower.follow(is_drained=True)
    assert await positions.slowest_follower() == 0
    await harness.forget(calls[0])
    follower._check_at = 0
    reported = []
    for is_drained in (False, True):
        await follower.follow(is_drained=is_drained)
        reported.append(await positions.slowest_follower())
    assert reported == [0, harness.position]
    (destination,) = await harness.appdb.destinations.all()
    await harness.appdb.destinations.remove(destination.name)
    assert await positions.slowest_follower() is None
