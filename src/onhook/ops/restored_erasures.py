"""Erasures after a restore of the application database or the ledger on their servers, whose own tools know none.

Invariants: no hub runs meanwhile, because what is stored after a restore gets the keys of rows and the numbers of
events that were lost. An entry is restored once, and a row that is erased already is left as it is.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.erasures import NumberRows
from onhook.appdb.leases import NODE_PREFIX
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.control_entries import Erased, copy_entry, encode_control, read_control_entries
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.cluster_ledger import open_checked_ledger
from onhook.ops.engines import Engines
from onhook.ops.erasure_list import check_lists, read_list
from onhook.ops.instance_lock import exclusive_intake_lock, instance_lock, prepare_directory

TRIES_MAX = 10
"""An intake may append what has changed of a PBX meanwhile."""


class RestoredErasures(msgspec.Struct, frozen=True, kw_only=True):
    """How many erasures the ledger has, how many of them it lacked, and of how many calls they are."""

    erasures: int
    appended: int
    calls: int


async def erase_again(config: Config, lists: Sequence[Path], engines: Engines, clock: Clock) -> RestoredErasures:
    """Append to the ledger the erasures of these lists that it lacks, and erase from the application database what all
    erasures of the ledger name; hubs do the rest once they run. Raises `UsageError` without the setting `appdb`, for a
    file that is no list, and where a hub runs, else `OnhookError`; the next call goes on.
    """
    if not config.appdb:
        raise UsageError(
            _("the setting `appdb` names no PostgreSQL database"),
            hint=_("on one machine `onhook restore` erases again; `--erasures FILE` names further lists"),
        )
    check_lists(lists)
    prepare_directory(config)
    listed_entries = {entry.erasure_id: entry for path in lists for entry in read_list(path)}
    with instance_lock(config), exclusive_intake_lock(config):
        async with engines.open_appdb(config) as appdb:
            await _check_no_hub(appdb, clock)
            ledger = await open_checked_ledger(config, appdb, engines)
            try:
                stored_entries, appended_count = await _append_missing(ledger, listed_entries, clock)
            finally:
                await ledger.close()
            for entry in stored_entries:
                await appdb.erasures.erase(
                    sorted({(call.sn, call.call_id) for call in entry.calls}),
                    NumberRows(**msgspec.structs.asdict(entry.rows)),
                )
            if stored_entries:
                await appdb.erasures.overwrite_deleted()
    calls = {(call.sn, call.call_id) for entry in stored_entries for call in entry.calls}
    return RestoredErasures(erasures=len(stored_entries), appended=appended_count, calls=len(calls))


async def _check_no_hub(appdb: AppDb, clock: Clock) -> None:
    owners = await appdb.leases.list_owners(now_us=clock.microseconds())
    nodes = [name.removeprefix(NODE_PREFIX) for name, owner in owners if owner and name.startswith(NODE_PREFIX)]
    if nodes:
        raise UsageError(
            _("a hub runs on {nodes}", nodes=", ".join(nodes)),
            hint=_("stop the servers of all machines: what they store now may have the keys of what was lost"),
        )


async def _append_missing(ledger: Ledger, listed_entries: dict[str, Erased], clock: Clock) -> tuple[list[Erased], int]:
    """Append the listed entries that the ledger lacks; return all that it has then, and how many were appended."""
    for _try in range(TRIES_MAX):
        last_control_seq = await ledger.last_control_seq()
        stored_entries = await _read_entries(ledger)
        known_ids = {entry.erasure_id for entry in stored_entries}
        last_seq = await ledger.last_seq()
        missing = [
            copy_entry(entry, last_seq) for entry in listed_entries.values() if entry.erasure_id not in known_ids
        ]
        if not missing or await ledger.append_control(
            list(map(encode_control, missing)), last_control_seq=last_control_seq, now_us=clock.microseconds()
        ):
            return [*stored_entries, *missing], len(missing)
    raise Unavailable(_("the ledger is changed by another process"), hint=_("try again"))


async def _read_entries(ledger: Ledger) -> list[Erased]:
    return [entry async for _raw_event, entry in read_control_entries(ledger) if isinstance(entry, Erased)]
