"""State of the PBXs in a reader's scope, in a word for each."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.identity import fold_sn
from onhook.console.pages.pbx_overview import PbxOverview
from onhook.console.queries.quarantine import list_counters
from onhook.console.state import AppState
from onhook.receiver.verdict import is_live

LAST_MAX_AGE_SECONDS = 60.0
"""Of the time of the latest record of PBXs that send no events: reading it reads all records."""


class PbxHealth(msgspec.Struct, frozen=True, kw_only=True):
    """State of a PBX: a word, the meaning of its colour, and the time of its latest event, None where there is none."""

    sn: str
    name: str
    state: str
    tone: str
    last_at: datetime | None


async def load_health(app_state: AppState, scope: AccessScope | None) -> Sequence[PbxHealth]:
    """Return the state of each PBX in scope, by name."""
    now = app_state.clock.now()
    counters = await app_state.coalescer.get("counters", lambda: list_counters(app_state.ledger, app_state.appdb))
    open_alarms = await app_state.appdb.alarms.open_alarms()
    health = []

    async def read_last() -> Mapping[str, datetime]:
        return await app_state.unmasked_store.last_received_at(())

    for pbx in await app_state.appdb.pbxs():
        if scope is not None and not scope.allows_pbx(pbx.sn):
            continue
        sns = {fold_sn(sn) for sn in (pbx.sn, *pbx.further_sns)}
        own_counters = [counter for counter in counters if fold_sn(counter.sn) in sns]
        last_at = max((counter.last_at for counter in own_counters if is_live(counter)), default=None)
        if last_at is None:
            last_at = (await app_state.coalescer.get("last_received", read_last, LAST_MAX_AGE_SECONDS)).get(pbx.sn)
        overview = PbxOverview(
            pbx=pbx,
            last_at=last_at,
            stored=0,
            duplicates=0,
            rejected=0,
            last_rejected_at=None,
            tested_at=max(
                (counter.last_at for counter in own_counters if counter.kind == "test_message"), default=None
            ),
            latest_record=None,
            alarm_kinds=frozenset(alarm.kind for alarm in open_alarms if alarm.sn == pbx.sn),
        )
        word, tone = overview.state(now)
        health.append(PbxHealth(sn=pbx.sn, name=pbx.name, state=word, tone=tone, last_at=last_at))
    return health
