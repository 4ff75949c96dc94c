"""The Asterisks that are declared, as the ways in want them: what was set, and a conversation with each.

What was heard and what was not is written into the coverage, as of any PBX; what a person should know is an alarm.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx, Asterisks
from onhook.cdr.coverage import Interval, add_disconnection, add_interval
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.timestamps import to_datetime
from onhook.pbx.asterisk.call_collector import PbxReading
from onhook.pbx.asterisk.connection import AsteriskConversation, reading_of
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import Login
from onhook.pbx.connection import Conversation
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.ami_connections import ConnectionSpec
from onhook.sync.pbx_sync import UNREACHABLE_SECONDS

_CONNECTION_ALARM_KINDS: Sequence[AlarmKind] = ("unreachable", "credentials")

_EARLIEST_TIME = datetime.min.replace(tzinfo=UTC)

COVERAGE_SAVE_INTERVAL = timedelta(minutes=5)
"""How often the coverage says anew that a PBX was heard: each time is a sync of the disk."""

GAP_AGE_MAX = timedelta(days=31)
"""A gap that is older is still in the coverage, and alarms nobody any more."""

GAP_FILL_GRACE = timedelta(hours=1)
"""A PBX that keeps its CDRs fills a gap with its next call; where it has none for so long, a person should look."""


class AsteriskConnectionState:
    """See the contract, `intake.outgoing.Book`. `is_heard_again` is told of each PBX that is, after a time that it was
    not."""

    def __init__(self, settings: AppDb, clock: Clock, is_heard_again: Callable[[str], None] = lambda sn: None) -> None:
        self._settings = settings
        self._clock = clock
        self._is_heard_again = is_heard_again
        self._asterisks: Asterisks = settings.asterisks
        self._painted_until: dict[str, datetime] = {}
        self._failing_since: dict[str, float] = {}
        self.learned: Callable[[str, str], None] = self._asterisks.learned

    def opened(self, sn: str, at: int) -> None:
        previous_state = self._asterisks.of(sn)
        self._paint(previous_state)
        self._asterisks.opened(sn, at)
        if previous_state.covered_until is not None:
            reason = f"it was not heard: {previous_state.trouble or 'nobody listened'}"
            intervals = self._settings.receiving.stretches(sn)
            self._settings.receiving.keep_stretches(
                sn, add_disconnection(intervals, previous_state.covered_until, to_datetime(at), reason)
            )
        self._failing_since.pop(sn, None)
        for kind in _CONNECTION_ALARM_KINDS:
            self._settings.alarms.end(sn, kind, at=at)
        self._look_at_gaps(sn)
        self._is_heard_again(sn)

    def covered(self, sn: str, until: int) -> None:
        self._asterisks.covered(sn, until)
        if to_datetime(until) - self._painted_until.get(sn, _EARLIEST_TIME) >= COVERAGE_SAVE_INTERVAL:
            self._paint(self._asterisks.of(sn))
            self._look_at_gaps(sn)

    def closed(self, sn: str, why: str, *, is_refused: bool) -> None:
        self._paint(self._asterisks.of(sn))
        self._asterisks.closed(sn, why)
        now = self._clock.microseconds()
        since = self._failing_since.setdefault(sn, now / 1_000_000)
        if is_refused or now / 1_000_000 - since >= UNREACHABLE_SECONDS:
            kind: AlarmKind = "credentials" if is_refused else "unreachable"
            self._settings.alarms.sound(sn, kind, why, todo="`onhook doctor` with its name looks at it", at=now)

    def _paint(self, one: AsteriskPbx) -> None:
        """The time in which a PBX was heard since that was said last; what was found out of the time before counts."""
        if one.connected_at is None or one.covered_until is None:
            return
        since = max(one.connected_at, self._painted_until.get(one.sn, _EARLIEST_TIME))
        if since >= one.covered_until:
            return
        self._painted_until[one.sn] = one.covered_until
        connected_interval = Interval(since, one.covered_until, "heard", "the connection was alive")
        intervals = self._settings.receiving.stretches(one.sn)
        self._settings.receiving.keep_stretches(one.sn, add_interval(intervals, connected_interval))

    def _look_at_gaps(self, sn: str) -> None:
        """A person is told of a gap that is not filled, or that nothing can fill."""
        now, source = self._clock.now(), self._settings.sources.of(sn)
        gaps = find_open_gaps(self._settings, sn, now)
        if source is not None:
            gaps = [gap for gap in gaps if gap.until < now - GAP_FILL_GRACE]
        if not gaps:
            self._settings.alarms.end(sn, "gap", at=self._clock.microseconds())
            return
        detail = f"calls may be missing from {format_gap(gaps[0])}: {gaps[0].why}"
        hint = "`onhook pbx change NAME --cdr FILE` says where it keeps its CDRs"
        hint = hint if source is None else "`onhook doctor` with its name looks at what it keeps"
        self._settings.alarms.sound(sn, "gap", detail, todo=hint, at=self._clock.microseconds())

    def lines(self) -> Sequence[ConnectionSpec]:
        names = {pbx.sn: pbx.name for pbx in self._settings.pbxs()}
        return [self._line(asterisk, names.get(asterisk.sn, asterisk.sn)) for asterisk in self._asterisks.all()]

    def _line(self, one: AsteriskPbx, name: str) -> ConnectionSpec:
        secret = self._asterisks.secret(one.sn)
        config_values = (one.host, one.port, one.user, one.tls, one.trunks, one.inbound, one.has_pins)
        return ConnectionSpec(
            declared=RegisteredPbx(sn=one.sn, dialect=Asterisk.name),
            name=name,
            host=one.host,
            port=one.port,
            tls=one.tls,
            begin=partial(self._begin, one.sn, Login(one.user, secret)),
            # A hash, so that the secret stands in no more places than it must.
            mark=hash((*config_values, secret)),
        )

    def _begin(self, sn: str, login: Login) -> Conversation:
        """With what was learned up to now."""
        asterisk = self._asterisks.of(sn)
        return AsteriskConversation(login, build_parser_config(asterisk), searches=asterisk.trunks is None)


def find_open_gaps(settings: AppDb, sn: str, now: datetime) -> list[Interval]:
    """The times of the last month in which a PBX was not heard and that are not filled."""
    intervals = settings.receiving.stretches(sn)
    return [interval for interval in intervals if interval.state == "gap" and interval.until > now - GAP_AGE_MAX]


def format_gap(gap: Interval) -> str:
    """`2026-11-24 12:00:05 to 2026-11-24 12:03:17 UTC`."""
    return f"{gap.since:%Y-%m-%d %H:%M:%S} to {gap.until:%Y-%m-%d %H:%M:%S} UTC"


def build_parser_config(one: AsteriskPbx) -> PbxReading:
    """What is needed to read the CDRs of an Asterisk: as it was set, or as it was learned."""
    if one.trunks is None:
        detected_config = reading_of(one.learned)
        inbound = tuple(dict.fromkeys([*one.inbound, *detected_config.inbound]))
        return PbxReading(trunks=detected_config.trunks, inbound=inbound, has_pins=one.has_pins)
    return PbxReading(trunks=one.trunks, inbound=one.inbound, has_pins=one.has_pins)
