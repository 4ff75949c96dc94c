"""State of one PBX: its events, its clock, its coverage and its back-fill, as figures and as sentences."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.alarms import Alarm
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import FILE_DIALECTS, LINE_DIALECTS
from onhook.cdr.agent_ring_time import RingTimeMeaning, detect_meaning
from onhook.cdr.identity import fold_sn
from onhook.cdr.merge import LATE_CHANNELS
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import AlarmKind
from onhook.console.pages.formatting import count, from_epoch_seconds, local_time
from onhook.console.queries.coverage import Backfill, PbxCoverage
from onhook.console.state import AppState
from onhook.lib.messages import _, mark
from onhook.lib.text import format_duration
from onhook.receiver.rejections import RequestCounter
from onhook.receiver.verdict import is_live

REJECTED_KINDS = frozenset({"invalid_signature", "missing_signature"})
"""Verdicts on events of a PBX that are not stored."""

QUIET_PERIOD = timedelta(days=1)
"""A PBX without events for this long is marked; a weekend may be the reason."""

RING_TIME_CALLS_MAX = 200
"""Latest answered calls, from which the meaning of `agent_ring_time` is detected."""

RECENT_RECORDS_MAX = 50
"""Latest records of a PBX, from which its offset from UTC and its clock are shown."""

LISTED_RECORDS_MAX = 10
"""Latest records of each PBX in the list of all: with a thousand PBXs as many as fit a second."""

OFFSET_ORIGINS = ("ids", "configured", "assumed")
"""From the best evidence to none: a call without evidence does not refute what other calls show."""

ALARM_STATES: Mapping[AlarmKind, str] = {
    "unreachable": mark("unreachable"),
    "credentials": mark("no access"),
    "certificate": mark("certificate not trusted"),
    "silence": mark("silent"),
}
"""Open alarms that say more about a PBX than the time of its last event does, the most severe first."""

CLOCK_SKEW_SECONDS_MAX = 120
"""An event arrives within seconds of a call's end: a longer delay means a wrong clock, or a lost connection."""


class PbxOverview(msgspec.Struct, frozen=True, kw_only=True):
    """State of a PBX: its events, and the clock skew that they show. `recent_records` begin with the latest one, and
    are empty where only that is known; `alarm_kinds` are those of its open alarms.
    """

    pbx: Pbx
    last_at: datetime | None
    stored: int
    duplicates: int
    rejected: int
    last_rejected_at: datetime | None
    tested_at: datetime | None
    latest_record: Record | None
    recent_records: Sequence[Record] = ()
    alarm_kinds: frozenset[AlarmKind] = frozenset()
    ring_time_meaning: RingTimeMeaning | None = None
    is_ring_time_set: bool = False

    @property
    def ring_time_sentence(self) -> str:
        """Return what `agent_ring_time` means in its calls."""
        if self.ring_time_meaning is None:
            return _("Unknown: no call shows whether it is the ringing of the telephone or the wait of the caller.")
        meaning = {
            "ring": _("The time for which the telephone of the agent rang."),
            "wait": _("The time that the caller waited in the queue for an agent."),
        }[self.ring_time_meaning]
        origin = _("It is set for this PBX.") if self.is_ring_time_set else _("It is detected from its calls.")
        return f"{meaning} {origin}"

    def state(self, now: datetime) -> tuple[str, str]:
        """Return the state in a word, and the meaning of its colour. Any sender can be rejected in the name of a PBX,
        so rejected requests change no state.
        """
        for kind, word in ALARM_STATES.items():
            if kind in self.alarm_kinds:
                return word, "bad"
        if self.last_at is None:
            return ("tested", "soft") if self.tested_at else ("waiting", "soft")
        return ("reporting", "good") if now - self.last_at < QUIET_PERIOD else ("quiet", "soft")

    @property
    def offset_record(self) -> Record | None:
        """Return the latest record with the best evidence of the offset from UTC; None without a record."""
        records = self.recent_records or ([self.latest_record] if self.latest_record else [])
        return min(records, key=lambda record: OFFSET_ORIGINS.index(record.offset_from), default=None)

    @property
    def live_record(self) -> Record | None:
        """Return the latest record that shows the clock: reported as its call ended, with times as sure as any."""
        records = self.recent_records or ([self.latest_record] if self.latest_record else [])
        return next(
            (
                record
                for record in records
                if record.via not in LATE_CHANNELS
                and self.offset_record is not None
                and record.offset_from == self.offset_record.offset_from
            ),
            None,
        )

    @property
    def delay_seconds(self) -> int | None:
        """Return how long after its end the latest call was received; negative where the PBX's clock is ahead."""
        if self.live_record is None or self.live_record.ended_at is None:
            return None
        return round((self.live_record.received_at - self.live_record.ended_at).total_seconds())

    @property
    def has_clock_skew(self) -> bool:
        """Return whether the delay is longer than any transmission."""
        return self.delay_seconds is not None and abs(self.delay_seconds) > CLOCK_SKEW_SECONDS_MAX

    @property
    def is_offset_assumed(self) -> bool:
        """Return whether neither the calls nor a setting give the offset from UTC."""
        return self.offset_record is not None and self.offset_record.offset_from not in ("ids", "configured")

    @property
    def offset_sentence(self) -> str:
        """Return the origin of the offset from UTC; empty without a call."""
        if self.offset_record is None:
            return ""
        if self.offset_record.offset_from == "ids":
            return _(
                "Detected from its call ids: UTC{offset}, also during daylight saving time."
                " Nothing needs to be configured.",
                offset=self.offset_record.utc_offset,
            )
        if self.offset_record.offset_from == "configured":
            return _("Its calls do not contain the time zone: the configured one is used, {zone}.", zone=self.pbx.zone)
        return _("Its calls do not contain the time zone and none is configured: UTC is assumed.")

    @property
    def clock_sentence(self) -> str:
        """Return how the PBX's clock compares with this server's at the latest call."""
        seconds = self.delay_seconds
        if self.live_record is None and any(record.via not in LATE_CHANNELS for record in self.recent_records):
            return _("Calls that were received as they ended do not contain the time zone: they do not show the clock.")
        if self.live_record is None:
            return _("No recent call was received as it ended: its calls do not show the clock.")
        if seconds is None:
            return _("The end of the latest call is unknown.")
        if self.has_clock_skew:
            delay = format_duration(abs(seconds))
            if seconds < 0:
                return _("By the PBX's clock the latest call ended {delay} after it was received.", delay=delay)
            return _("By the PBX's clock the latest call ended {delay} before it was received.", delay=delay)
        if seconds < 0:
            return _("The latest call was received {seconds} s before its end by the PBX's clock.", seconds=-seconds)
        return _("The latest call was received {seconds} s after its end by the PBX's clock.", seconds=seconds)


async def load_pbx_overview(
    app_state: AppState, pbx: Pbx, counters: Sequence[RequestCounter], open_alarms: Iterable[Alarm]
) -> PbxOverview:
    """Return the state of one PBX; `open_alarms` may have those of others."""
    latest_page = await app_state.store.records(RecordFilter(sn=pbx.sn), RECENT_RECORDS_MAX)
    set_meaning = (await app_state.appdb.pbx_conventions.get(pbx.sn)).ring_time_meaning or None
    answered_calls = await app_state.store.calls(RecordFilter(sn=pbx.sn, status="ANSWERED"), RING_TIME_CALLS_MAX)
    return msgspec.structs.replace(
        _make_overview(pbx, _counters_of(pbx, _counters_by_sn(counters)), latest_page.data, open_alarms),
        ring_time_meaning=set_meaning or detect_meaning(answered_calls.data),
        is_ring_time_set=set_meaning is not None,
    )


async def list_pbx_overviews(
    app_state: AppState, pbxs: Sequence[Pbx], counters: Sequence[RequestCounter], open_alarms: Sequence[Alarm]
) -> list[PbxOverview]:
    """Return the states of PBXs by one query for all, without the meaning of `agent_ring_time`."""
    records = await app_state.unmasked_store.latest_records(LISTED_RECORDS_MAX)
    by_sn = _counters_by_sn(counters)
    return [_make_overview(pbx, _counters_of(pbx, by_sn), records.get(pbx.sn, ()), open_alarms) for pbx in pbxs]


def _counters_by_sn(counters: Iterable[RequestCounter]) -> Mapping[str, Sequence[RequestCounter]]:
    by_sn: dict[str, list[RequestCounter]] = {}
    for counter in counters:
        if counter.kind != "unregistered":
            by_sn.setdefault(fold_sn(counter.sn), []).append(counter)
    return by_sn


def _counters_of(pbx: Pbx, by_sn: Mapping[str, Sequence[RequestCounter]]) -> list[RequestCounter]:
    return [counter for sn in {fold_sn(sn) for sn in (pbx.sn, *pbx.further_sns)} for counter in by_sn.get(sn, ())]


def _make_overview(
    pbx: Pbx, counters: Sequence[RequestCounter], records: Sequence[Record], open_alarms: Iterable[Alarm]
) -> PbxOverview:
    """Return the state of a PBX by its own counters, and its latest records, the latest one first."""
    return PbxOverview(
        pbx=pbx,
        last_at=_latest_time(counter for counter in counters if is_live(counter))
        or next((record.received_at for record in records if record.via not in LATE_CHANNELS), None),
        stored=sum(counter.count for counter in counters if counter.kind == "stored"),
        duplicates=sum(counter.count for counter in counters if counter.kind == "duplicate"),
        rejected=sum(counter.count for counter in counters if counter.kind in REJECTED_KINDS),
        last_rejected_at=_latest_time(counter for counter in counters if counter.kind in REJECTED_KINDS),
        tested_at=_latest_time(counter for counter in counters if counter.kind == "test_message"),
        latest_record=records[0] if records else None,
        recent_records=records,
        alarm_kinds=frozenset(alarm.kind for alarm in open_alarms if alarm.sn == pbx.sn),
    )


def _latest_time(counters: Iterable[RequestCounter]) -> datetime | None:
    return max((counter.last_at for counter in counters), default=None)


def describe_coverage(pbx: Pbx, coverage: PbxCoverage, zone: ZoneInfo) -> str:
    """Return until when calls are verified complete, or what is missing to verify them."""
    if coverage.complete_until is not None:
        return _("Verified complete until {time}.", time=local_time(coverage.complete_until, zone))
    sentence = _("Not yet compared with the PBX's own list.")
    if coverage.has_backfill_source:
        return sentence
    if pbx.dialect == "asterisk":
        advice = _(
            "Missing calls cannot be detected without a CDR source, the file or table in which the Asterisk stores its"
            " calls."
        )
    elif pbx.dialect == "freeswitch":
        advice = _(
            "Missing calls cannot be detected: a FreeSWITCH keeps no list of calls. What it could not send is in its"
            " `err-log-dir`; the section Files of this page has the server store these files."
        )
    elif pbx.dialect == "grandstream":
        advice = _("Missing calls cannot be detected without access to the list of calls of the UCM.")
    elif pbx.dialect in FILE_DIALECTS:
        advice = _("Missing calls cannot be detected: a file that is not delivered is not known.")
    elif pbx.dialect in LINE_DIALECTS:
        advice = _("Missing calls cannot be detected: a line is written once, and without an answer.")
    else:
        advice = _("Missing calls cannot be detected without access to the web API of the PBX.")
    return f"{sentence} {advice}"


def describe_backfill(backfill: Backfill, zone: ZoneInfo) -> str:
    """Return the progress of the running back-fill, or the request, or the result of the last one, in a sentence."""
    if backfill.progress is not None:
        done_until, until = (
            local_time(from_epoch_seconds(seconds), zone)
            for seconds in (backfill.progress.done_until, backfill.progress.until)
        )
        return _("Back-fill in progress: up to {done} of {until}.", done=done_until, until=until)
    if backfill.request is not None:
        return _("Back-fill requested; it starts in a moment.")
    if backfill.result is None:
        return ""
    if backfill.result.error:
        return _("The last back-fill failed:")
    return _(
        "The last back-fill read {rows} rows: {new} new, {changed} changed, {same} unchanged.",
        rows=count(backfill.result.rows),
        new=count(backfill.result.new),
        changed=count(backfill.result.changed),
        same=count(backfill.result.same),
    )


def find_backfill_error(backfill: Backfill) -> str:
    """Return the error of the last back-fill, where it is the latest that is known."""
    is_over = backfill.progress is None and backfill.request is None
    return backfill.result.error if is_over and backfill.result is not None else ""
