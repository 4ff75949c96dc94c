"""Reference model: what was reported, acknowledged and set, and what the machine must have because of it.

It knows nothing of numbers in the ledger, positions, batches or retries; where the outcome of a step is not known, as
after a lost answer, it allows both.

Invariants that always hold (`Model.check_always`): nothing is stored that was not reported; nothing that was
acknowledged is missing; no verified-complete interval lacks a call; notifications are signed, about reported legs, and
in order within a call, but for the last ones of a hub that was overtaken; the audit log has what was changed. When
everything is repaired and quiet (`check_end`), every call of the PBX's list is stored, and each destination has
accepted every matching record, or shows it as failed; and the stores of all hubs are equal record by record. As many
notifications as were uncommitted at a death come twice at most, and none that was committed as done. A number that was
erased is in none of its calls, wherever they are.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, NUMBER_FIELDS, CallDetails, fold_word
from onhook.cdr.coverage import Interval
from onhook.cdr.record import Call, Record
from tests.simulation.erasures import KnownErasures
from tests.simulation.receivers import SimulatedReceiver
from tests.simulation.watches import STALE_ATTEMPT_SECONDS, STALE_START_SECONDS, DoneNotifications

LegKey = tuple[str, str, str, str]
"""Serial number, call id, time of start, number of the callee."""

ROW_FIELDS_IGNORED = {"agent_ring_time", "enb_call_note"}
"""The PBX's list has no such columns."""


class ReportedLeg(msgspec.Struct, kw_only=True):
    """A leg that a PBX has had. Times are by the machine's clock; `is_listed`: the PBX's list has it."""

    details: CallDetails
    ended_at: datetime
    is_acknowledged: bool = False
    is_listed: bool = False
    is_clock_monotonic: bool = True
    """Whether the machine's clock had not been set back before: else its past is not what it seems."""


class KnownDestination(msgspec.Struct, kw_only=True):
    """A destination as the test has set it. `after` is the number after which it is served; `sns` are the filters that
    it has ever had.
    """

    name: str
    receiver: SimulatedReceiver
    is_per_call: bool
    after: int
    sns: set[str] = msgspec.field(default_factory=set)
    expired_seqs: frozenset[int] = frozenset()
    """Numbers of records that may have been deleted before it was added."""
    excused_ids: set[str] = msgspec.field(default_factory=set)
    """Notifications that failed or were discarded at some time: their order within a call is not checked."""
    replayed_until: int = 0

    def requires(self, sn: str, seq: int) -> bool:
        return seq > self.after and seq not in self.expired_seqs and all(sn == wanted for wanted in self.sns)


class MachineState(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine has, read by the test."""

    now: datetime
    calls: Sequence[Call]
    quarantined_bodies: Sequence[bytes]
    intervals: Sequence[Interval]
    audit_actions: Sequence[str]
    failed_ids: Mapping[str, set[str]]
    """Failed deliveries by destination."""
    destination_ids: Mapping[str, int]


class Model:
    """`errors` are the differences between what must be and what is."""

    def __init__(self, keep_days: int, read_time: Callable[[], float]) -> None:
        """`read_time` returns the seconds of the simulation."""
        self.keep_days = keep_days
        self.erasures = KnownErasures()
        self.done = DoneNotifications(read_time)
        self._read_time = read_time
        self._overtaking_times: list[float] = []
        self.legs: dict[LegKey, ReportedLeg] = {}
        self.destinations: dict[str, KnownDestination] = {}
        self.malformed: dict[bytes, datetime] = {}
        self.unreadable_calls: set[str] = set()
        self.late_seqs: set[int] = set()
        """Numbers of events that were parsed late."""
        self.changes: Counter[str] = Counter()
        self.uncertain_changes: Counter[str] = Counter()
        self.latest_now: datetime | None = None
        self.last_seqs: dict[LegKey, tuple[str, int]] = {}
        """The last known record id and number of each record that was ever stored."""
        self.call_seqs: dict[tuple[str, str], int] = {}
        self.errors: list[str] = []
        self._interruption_count = 0

    # What happens

    def add_leg(self, sn: str, details: CallDetails, now: datetime) -> ReportedLeg:
        """Add a leg that has ended now."""
        leg = self.legs.setdefault(leg_key(sn, details), ReportedLeg(details=details, ended_at=now))
        leg.is_clock_monotonic = self.latest_now is None or now >= self.latest_now
        self.see_time(now)
        return leg

    def see_time(self, now: datetime) -> None:
        """Note the time of the machine's clock."""
        self.latest_now = now if self.latest_now is None else max(self.latest_now, now)

    def change(self, action: str, *, is_certain: bool) -> None:
        """Add a change of the settings, by its action in the audit log."""
        (self.changes if is_certain else self.uncertain_changes)[action] += 1

    def count_interruption(self) -> None:
        """Add a death, or what may end as one for a task: a failed commit, or a lease that runs out."""
        self._interruption_count += 1

    def see_overtaking(self) -> None:
        """Note that leases may run out now while their owners go on."""
        self.count_interruption()
        self._overtaking_times.append(self._read_time())

    # What must be

    def check_always(self, state: MachineState) -> None:
        """Check what holds whenever the store is up to date."""
        self.see_time(state.now)
        stored = {leg_key(leg.sn, leg): leg for call in state.calls for leg in call.legs}
        self._remember(state.calls)
        self._check_stored(stored)
        self._check_missing(stored, [leg for leg in self.legs.items() if leg[1].is_acknowledged], "acknowledged")
        self._check_malformed(state)
        self._check_coverage(stored, state.intervals)
        self._check_audit(state.audit_actions)
        for destination in self.destinations.values():
            destination.excused_ids |= state.failed_ids.get(destination.name, set())
            self._check_notifications(destination)
            self._check_repeats(destination)
            self._check_done(destination, state.destination_ids)
            self.errors += self.erasures.find_in_notifications(destination.name, destination.receiver.accepted)
        self.errors += self.erasures.find_in_records(stored.values())

    def check_end(self, state: MachineState) -> None:
        """Check what holds when everything is repaired and quiet."""
        self.check_always(state)
        stored = {leg_key(leg.sn, leg): leg for call in state.calls for leg in call.legs}
        self._check_missing(stored, [leg for leg in self.legs.items() if leg[1].is_listed], "listed by the PBX")
        for destination in self.destinations.values():
            self._check_delivered(destination)

    def _remember(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self.call_seqs[call.sn, call.call_id] = max(leg.seq for leg in call.legs)
            for leg in call.legs:
                self.last_seqs[leg_key(leg.sn, leg)] = (record_id(leg), leg.seq)

    def _check_stored(self, stored: Mapping[LegKey, Record]) -> None:
        reported = {key[:3] for key in self.legs}
        for key, record in stored.items():
            if self.erasures.may_be_erased(*key[:2]):
                if key[:3] not in reported:
                    self.errors.append(f"stored of an erased call, but never reported: {key}")
            elif key not in self.legs:
                self.errors.append(f"stored, but never reported: {key}")
            else:
                self.errors += differences(record, self.legs[key].details)

    def _check_missing(
        self, stored: Mapping[LegKey, Record], legs: Iterable[tuple[LegKey, ReportedLeg]], reason: str
    ) -> None:
        for key, leg in legs:
            if not self._is_stored(key, stored) and not self.may_be_missing(key[:2], leg):
                self.errors.append(f"{reason}, but not stored: {key}, ended at {leg.ended_at}")

    def _check_malformed(self, state: MachineState) -> None:
        quarantined = set(state.quarantined_bodies)
        for body, received_at in self.malformed.items():
            is_excused = self._may_be_expired(received_at) or self.erasures.may_be_emptied(body)
            if body not in quarantined and not is_excused:
                self.errors.append(f"acknowledged, but not in the quarantine: {body[:80]!r}")

    def _check_coverage(self, stored: Mapping[LegKey, Record], intervals: Sequence[Interval]) -> None:
        complete = [interval for interval in intervals if interval.state == "complete"]
        for key, leg in self.legs.items():
            is_excused = not leg.is_clock_monotonic or self._may_be_expired(leg.ended_at)
            if not leg.is_listed or self._is_stored(key, stored) or is_excused:
                continue
            self.errors += [
                f"in a complete interval, but not stored: {key}, ended at {leg.ended_at}, {interval}"
                for interval in complete
                if interval.since <= leg.ended_at < interval.until
            ]

    def _check_audit(self, actions: Sequence[str]) -> None:
        counts = Counter(actions)
        for action in self.changes | self.uncertain_changes:
            least = self.changes[action]
            if not least <= counts[action] <= least + self.uncertain_changes[action]:
                self.errors.append(f"{action}: {counts[action]} entries in the audit log, changed {least} times")

    def _check_notifications(self, destination: KnownDestination) -> None:
        receiver = destination.receiver
        self.errors += [f"{destination.name}: not signed by a known secret: {name}" for name in receiver.unsigned_ids]
        known_calls = {key[1] for key in self.legs}
        last_seqs: dict[str, int] = {}
        known_ids: set[str] = set()
        for notification in receiver.accepted:
            if notification.call_id not in known_calls:
                self.errors.append(f"{destination.name}: a notification of an unknown call: {notification}")
            is_first = notification.notification_id not in known_ids
            known_ids.add(notification.notification_id)
            is_open = self._is_order_open(destination, notification.notification_id, notification.seq)
            if not is_first or is_open or self._was_overtaken(notification.time, STALE_START_SECONDS):
                continue
            if notification.seq < last_seqs.get(notification.call_id, 0):
                self.errors.append(f"{destination.name}: {notification.notification_id} came too late within its call")
            last_seqs[notification.call_id] = notification.seq

    def _check_repeats(self, destination: KnownDestination) -> None:
        """Check that no more was sent again than was uncommitted at each interruption."""
        counts = Counter(
            notification.notification_id
            for notification in destination.receiver.accepted
            if notification.seq > destination.replayed_until and notification.seq not in self.late_seqs
        )
        repeats, allowed = counts.total() - len(counts), UNCOMMITTED_MAX * self._interruption_count
        if repeats > allowed:
            self.errors.append(f"{destination.name}: {repeats} notifications came again, at most {allowed} may")

    def _check_done(self, destination: KnownDestination, destination_ids: Mapping[str, int]) -> None:
        """Check that nothing was sent again that had been committed as done, but by a hub that was overtaken."""
        destination_id = destination_ids[destination.name]
        known_ids: set[str] = set()
        for notification in destination.receiver.accepted:
            name, seq, time = notification.notification_id, notification.seq, notification.time
            is_repeat = name in known_ids and seq > destination.replayed_until and seq not in self.late_seqs
            known_ids.add(name)
            if (
                is_repeat
                and not self._was_overtaken(time, STALE_ATTEMPT_SECONDS)
                and self.done.is_done(destination_id, name, time)
            ):
                self.errors.append(f"{destination.name}: {name} was committed as done, and came again at {time:.1f} s")

    def _was_overtaken(self, time: float, seconds: float) -> bool:
        """Return whether a hub may have been overtaken so many seconds before, or later."""
        return any(0 <= time - each <= seconds for each in self._overtaking_times)

    def _is_stored(self, key: LegKey, stored: Mapping[LegKey, Record]) -> bool:
        """Return whether a leg is stored; one of an erased call under any callee."""
        if self.erasures.may_be_erased(*key[:2]):
            return any(key[:3] == each[:3] for each in stored)
        return key in stored

    def compare_stores(self, calls: Sequence[Call], other_calls: Sequence[Call]) -> None:
        """Compare two stores of one ledger."""
        stored, other = ({(call.sn, call.call_id): call for call in each} for each in (calls, other_calls))
        for key in stored | other:
            if stored.get(key) != other.get(key):
                self.errors.append(f"stores differ: {stored.get(key)} and {other.get(key)}")

    def _is_order_open(self, destination: KnownDestination, notification_id: str, seq: int) -> bool:
        """Return whether a notification may have come in another order: it failed, or was sent by a replay."""
        return notification_id in destination.excused_ids or seq <= destination.replayed_until or seq in self.late_seqs

    def _check_delivered(self, destination: KnownDestination) -> None:
        accepted = {notification.notification_id for notification in destination.receiver.accepted}
        done = accepted | destination.excused_ids
        if not destination.is_per_call:
            for (sn, call_id, *_), (name, seq) in self.last_seqs.items():
                if self.erasures.may_be_erased(sn, call_id):
                    continue  # what was pending is not sent
                if destination.requires(sn, seq) and f"{name}-{seq}" not in done:
                    self.errors.append(f"{destination.name}: not delivered: {call_id}, {name}-{seq}")
            return
        # The id of a call's notification contains the party that answered: only its number is compared.
        done_seqs = {int(name.rpartition("-")[2]) for name in done}
        for (sn, call_id), seq in self.call_seqs.items():
            is_excused = self.erasures.may_be_erased(sn, call_id)
            if destination.requires(sn, seq) and seq not in done_seqs and not is_excused:
                self.errors.append(f"{destination.name}: not delivered: call {call_id}, number {seq}")

    def list_expired_seqs(self) -> frozenset[int]:
        """Return the numbers of records that may have expired by now."""
        return frozenset(
            seq
            for key, (_name, seq) in self.last_seqs.items()
            if key not in self.legs or self._may_be_expired(self.legs[key].ended_at)
        )

    def may_be_missing(self, key: tuple[str, str], leg: ReportedLeg) -> bool:
        """Return whether a leg that was acknowledged may not be stored."""
        is_unreadable = key[1] in self.unreadable_calls or self.erasures.may_be_gone(*key)
        return is_unreadable or self._may_be_expired(leg.ended_at)

    def _may_be_expired(self, time: datetime) -> bool:
        """Return whether retention may have deleted what ended then; the PBX's clock may be wrong by hours."""
        if not self.keep_days or self.latest_now is None:
            return False
        return time < self.latest_now - timedelta(days=self.keep_days) + timedelta(hours=CLOCK_ERROR_HOURS_MAX)


CLOCK_ERROR_HOURS_MAX = 3

UNCOMMITTED_MAX = 6
"""Set for the simulation: a few calls would never reach the default."""


def leg_key(sn: str, details: CallDetails) -> LegKey:
    return sn, details.call_id, details.time_start, _number(details.call_to)


def record_id(record: Record) -> str:
    """Return the id of a record, as the documentation of destinations defines it."""
    return hashlib.md5("\x1f".join(leg_key(record.sn, record)).encode(), usedforsecurity=False).hexdigest()


def differences(record: Record, details: CallDetails) -> list[str]:
    """Return in which fields a record differs from what the PBX has; a row of its list says less."""
    ignored = ROW_FIELDS_IGNORED if record.via == "backfill" else set()
    return [
        f"{record.call_id}: {name} is {getattr(record, name)!r}, was {getattr(details, name)!r} (via {record.via})"
        for name in DETAIL_FIELDS
        if name not in ignored and _normalize(name, record) != _normalize(name, details)
    ]


def _normalize(name: str, details: CallDetails) -> str | int:
    value = getattr(details, name)
    if name in NUMBER_FIELDS:
        return value or 0  # the list leaves zeros out
    return _number(value) if name in ("call_from", "call_to") else fold_word(value)


def _number(party: str) -> str:
    match = re.fullmatch(r".*<(.*)>", party.strip())
    return match[1] if match else party.strip()
