"""Calls of a serial number that belongs to another PBX by now, and of a PBX that has another name."""

import asyncio
import logging
from collections.abc import Sequence

from onhook.cdr.call_assembly import to_reported_leg
from onhook.cdr.identity import CallKey, fold_sn
from onhook.projector.event_parsing import Facts, ParsedEvents, assemble_calls_and_visits
from onhook.store.contract import Store, StoreBatch

MOVED_CALLS_MAX = 1_000
"""Calls per transaction that get another serial number: some 20 ms, in which the projector waits."""


async def move_calls(store: Store, sn: str, facts: Facts) -> None:
    """Move stored calls of a further serial number to the PBX that it belongs to."""
    pbx = facts.get(fold_sn(sn))
    if pbx is None or fold_sn(pbx.sn) == fold_sn(sn):
        return
    count = 0
    while old_keys := await store.call_keys(sn, MOVED_CALLS_MAX):
        await _move(store, old_keys, pbx.sn, facts)
        count += len(old_keys)
    if count:
        logging.getLogger("projector").info("calls joined", extra={"sn": sn, "calls": count})


async def rename_calls(store: Store, sn: str, facts: Facts) -> None:
    """Give stored calls of a PBX the name that it has now, so that filters and reports by its name have them all."""
    pbx = facts.get(fold_sn(sn))
    if pbx is None or not pbx.name or fold_sn(pbx.sn) != fold_sn(sn):
        return
    count = 0
    while await store.rename_pbx(pbx.sn, pbx.name):
        count += 1
    if count:
        logging.getLogger("projector").info("calls renamed", extra={"sn": sn, "pbx": pbx.name, "weeks": count})


async def _move(store: Store, old_keys: Sequence[CallKey], sn: str, facts: Facts) -> None:
    """Store these calls under another serial number, together with what is stored there already."""
    parsed_events = ParsedEvents({(sn, call_id): [] for _sn, call_id in old_keys}, [])
    stored_legs = await store.legs([*old_keys, *parsed_events.reported_legs])
    for leg in stored_legs:
        parsed_events.reported_legs[sn, leg.call_id].append(to_reported_leg(leg))
    calls, visits = await asyncio.to_thread(assemble_calls_and_visits, parsed_events, (), facts)
    await store.put(
        StoreBatch(
            calls=calls,
            quarantined=(),
            reparsed_seqs=(),
            position=await store.position(),
            removed_keys=old_keys,
            call_visits=visits,
        )
    )
