"""Names of extensions, queues and other numbers of a PBX, learnt from the parties of its records: the latest wins.

It reads the store behind the projector, and stores a name only when it changes: neither the projector nor the intake
waits for it. Numbers outside are not learnt: callers choose their names themselves.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.directory import LEARNT_NAMES_MAX, DatedName, LearntState
from onhook.cdr.directory import NUMBER_CHARACTERS_MAX, TEXT_CHARACTERS_MAX
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Record
from onhook.cdr.record_masking import external_sides
from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.timestamps import to_microseconds
from onhook.lib.transition_log import TransitionLog
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier

BATCH_RECORDS = 1_000
"""Read in some ten milliseconds."""

REST_FACTOR = 3
"""After each batch the job pauses for so many times as long as that took: others read the same store."""

IDLE_SECONDS = 2.0
"""New calls are read together: a name is shown some seconds after it was first received."""

RETRY_SECONDS = 10.0

CHECK_SECONDS = 60.0
"""Time between two checks while the store does not change."""

REFRESH_MICROSECONDS = 24 * 3600 * 1_000_000
"""The time of an unchanged name is stored once a day: a back-filled call of an earlier day does not change it."""

POSITION_STEP = 10_000
"""Raw events after which the position is stored without a new name: fewer are read again after a start."""


class NameLearner:
    """Created once per process; one hub learns at a time."""

    def __init__(self, *, appdb: AppDb, store: Store, position_notifier: PositionNotifier) -> None:
        self._appdb = appdb
        self._store = store
        self._position_notifier = position_notifier
        self._names: dict[tuple[str, str], DatedName] = {}
        self._state: LearntState | None = None
        self._read_position = 0
        self._log = TransitionLog(
            logging.getLogger("directory"), begins="cannot learn names", ends="names are learnt again"
        )

    async def run(self) -> None:
        """Learn until cancelled."""
        self._state = None  # another hub may have learnt meanwhile
        while True:
            started_at = asyncio.get_running_loop().time()
            position = self._position_notifier.position
            try:
                is_behind = await self.learn_batch()
                self._log.end()
            except OnhookError as error:
                self._log.begin(error=str(error))
                self._state = None
                raise_if_cancelled()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if is_behind:
                await asyncio.sleep((asyncio.get_running_loop().time() - started_at) * REST_FACTOR)
            else:
                await asyncio.sleep(IDLE_SECONDS)
                await self._position_notifier.wait(position, CHECK_SECONDS)

    async def learn_batch(self) -> bool:
        """Read the next records, and store their new names; return whether there may be more. Raises `Unavailable`."""
        state = await self._appdb.directory.learnt_state()
        if self._state is None or state.erasures != self._state.erasures:
            self._state = await self._load(state)
        records = await self._store.records_after(self._read_position, BATCH_RECORDS)
        if not records:
            return False
        plans = {pbx.sn: pbx.number_plan for pbx in await self._appdb.pbxs()}
        new_names = find_new_names(records, plans, self._names)
        self._read_position = records[-1].seq
        if new_names or self._read_position >= self._state.position + POSITION_STEP:
            state = LearntState(position=self._read_position, erasures=self._state.erasures)
            if not await self._appdb.directory.learn(new_names, state):
                # A number was erased: its name may be in what was read.
                self._state = None
                return True
            self._state = state
            self._names |= {(name.sn, name.number): name for name in new_names}
        return len(records) >= BATCH_RECORDS

    async def _load(self, state: LearntState) -> LearntState:
        self._names = {(name.sn, name.number): name for name in await self._appdb.directory.dated_names()}
        # A ledger that began anew has lower numbers.
        self._read_position = min(state.position, await self._store.position())
        return state


def find_new_names(
    records: Sequence[Record], plans: Mapping[str, NumberPlan], known_names: Mapping[tuple[str, str], DatedName]
) -> list[DatedName]:
    """Return names that are not known, or later than the known ones and other, at most LEARNT_NAMES_MAX with these."""
    latest: dict[tuple[str, str], DatedName] = {}
    for name in _iter_names(records, plans):
        key = (name.sn, name.number)
        earlier = latest.get(key)
        if earlier is None or name.started_at >= earlier.started_at:
            latest[key] = name
    free_count = LEARNT_NAMES_MAX - len(known_names)
    new_names: list[DatedName] = []
    for key, name in latest.items():
        earlier_name = known_names.get(key)
        if earlier_name is None and free_count > 0:
            free_count -= 1
            new_names.append(name)
        elif earlier_name is not None and _is_news(name, earlier_name):
            new_names.append(name)
    return new_names


def _is_news(name: DatedName, earlier_name: DatedName) -> bool:
    if name.name != earlier_name.name:
        return name.started_at >= earlier_name.started_at
    return name.started_at >= earlier_name.started_at + REFRESH_MICROSECONDS


def _iter_names(records: Iterable[Record], plans: Mapping[str, NumberPlan]) -> Iterable[DatedName]:
    default_plan = NumberPlan()
    for record in records:
        plan = plans.get(record.sn, default_plan)
        sides = external_sides(record, plan)
        for party, is_external in zip((record.call_from, record.call_to), sides, strict=True):
            name, number = extract_name(party)[:TEXT_CHARACTERS_MAX].strip(), extract_number(party)
            is_named = bool(name and number) and name != number and len(number) <= NUMBER_CHARACTERS_MAX
            if is_external or not is_named or plan.kind_of(party) in ("external", "feature"):
                continue
            yield DatedName(
                sn=record.sn,
                number=number,
                name=name,
                started_at=to_microseconds(record.started_at),
                seq=record.seq,
            )
