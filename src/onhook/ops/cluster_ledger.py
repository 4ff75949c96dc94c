"""The ledger of an application database that machines share: both know each other.

Invariants: cursors, deliveries and positions of the database are numbers of one ledger. A process whose settings name
another ledger changes nothing in either.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LeaseHolder
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.ops.engines import Engines
from onhook.ops.instance_lock import check_ledger_file

FILE_LEDGER_LEASE = "hub:ledger.db"
"""Lease of the only hub of an application database on a server, while the ledger is a file of one machine; and of a
command that replaces the ledger.
"""


@asynccontextmanager
async def sole_use(appdb: AppDb, clock: Clock) -> AsyncIterator[None]:
    """Keep hubs with a ledger in a file out of an application database while the context is open. Raises `Unavailable`
    where one runs, on whichever machine.
    """
    holder = LeaseHolder(appdb.leases, clock)
    async with holder.holding(FILE_LEDGER_LEASE):
        renewal = asyncio.create_task(holder.run())
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.wait([renewal])


async def check_ledger_setting(config: Config, appdb: AppDb) -> None:
    """Check that the settings have a ledger on NATS where the application database has one, and only there. Raises
    `UsageError`.
    """
    if not config.appdb:
        return
    has_shared_ledger = bool(await appdb.cluster.ledger_identity())
    if has_shared_ledger and not config.ledger:
        raise UsageError(
            _("the ledger of the application database is on NATS, and the setting `ledger` names none"),
            location="ledger",
            hint=_("set it in onhook.toml or as ONHOOK_LEDGER, as on the other machines"),
        )
    if config.ledger and not has_shared_ledger:
        raise UsageError(
            _("the application database has no ledger on NATS yet"),
            location="ledger",
            hint=_(
                "`onhook cluster move-ledger` moves ledger.db; for a new installation `onhook begin-ledger` begins one"
            ),
        )


async def open_checked_ledger(config: Config, appdb: AppDb, engines: Engines) -> Ledger:
    """Open the ledger of the configuration, once it is known to be that of the application database. Raises
    `UsageError`, `Unavailable`; then no file was created.
    """
    check_ledger_file(config)
    await check_ledger_setting(config, appdb)
    ledger = engines.open_ledger(config)
    try:
        await check_ledger(config, appdb, ledger)
    except BaseException:
        await ledger.close()
        raise
    return ledger


async def check_ledger(config: Config, appdb: AppDb, ledger: Ledger) -> None:
    """Check the setting, and that a ledger on NATS is that of the application database. Raises `UsageError`,
    `Unavailable`.
    """
    await check_ledger_setting(config, appdb)
    if config.ledger and await ledger.identity() != await appdb.cluster.ledger_identity():
        raise UsageError(
            _("the setting `ledger` names another ledger than that of the application database"),
            location="ledger",
            hint=_("compare both settings with those of the other machines"),
        )
