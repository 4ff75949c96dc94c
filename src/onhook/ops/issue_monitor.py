"""Monitor of issues: destinations, alarms of PBXs, rejected requests, and checks of this installation; destinations are
notified of each.

Invariants: an issue is notified once when it begins and once when it has ended, also over a restart. One that comes and
goes within minutes is one issue. In one round few issues begin or end; the others follow in the next rounds. A clock
that is set back delays nothing: a wait that would begin in the future begins now.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from zoneinfo import ZoneInfo

from onhook.appdb.alarms import Alarm
from onhook.appdb.appdb import AppDb
from onhook.appdb.disk_samples import DiskSample
from onhook.appdb.issues import CHECK_KIND_PREFIX, OperationalIssue
from onhook.appdb.node_states import SpoolReport
from onhook.appdb.senders import list_senders
from onhook.cdr.identity import fold_sn
from onhook.cdr.utc_offset import get_zone
from onhook.config import Config
from onhook.delivery.issues import Issue, find_all_issues
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _, _n
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.ops.doctor.check import Check, worst_check
from onhook.ops.doctor.cluster import check_spools
from onhook.ops.doctor.disk import check_node_disk
from onhook.ops.doctor.files import check_swept_folders, find_worst
from onhook.ops.doctor.host import QUARANTINE_COUNT_MAX, check_backlog, check_files, check_resources
from onhook.ops.doctor.mails import check_mails
from onhook.ops.doctor.requests import describe_rejection
from onhook.ops.doctor.settings import check_settings
from onhook.ops.node_report import running_machines
from onhook.projector.ledger_check import LedgerMismatch, check_ledger
from onhook.receiver.rejections import RequestCounter, find_remedy, list_rejections, name_counters
from onhook.store.contract import Store

ROUND_SECONDS = 15.0
"""How often destinations, alarms and the disk are looked at; it takes milliseconds."""

FILE_CHECK_SECONDS = 86_400.0
"""How often the files are checked for damage: that reads all of them."""

BEGIN_SECONDS = 300.0
"""A check that is not `OK` for this long is an issue: a backlog after an import is not. Destinations and alarms have
waits of their own.
"""

END_SECONDS = 120.0
"""An issue that is gone for this long has ended."""

CHECK_PREFIX = "check:"
"""Of the keys of checks."""

REJECTION_PREFIX = "rejected:"
"""Of the keys of rejected requests."""

REPEAT_SECONDS = 60.0
"""Rejected requests are an issue when they go on for longer: anyone can send one that is forged, and a PBX whose secret
is wrong is rejected with each of its calls.
"""

IMMEDIATE_KEYS = frozenset({"check:settings", "check:cursors", "check:ledger"})
"""Checks that no wait makes better: neither lost settings and events nor a damaged file come back by themselves."""

TRANSITIONS_MAX = 50
"""Issues that begin or end in one round: each is a notification for every destination of issues."""


class IssueMonitor:
    """Created once per process. It stores issues, from which `delivery` sends the notifications.

    `lowered_stream_count` is the number of streams that were past the end of the ledger at the start of the process.
    """

    def __init__(
        self,
        *,
        config: Config,
        appdb: AppDb,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        lowered_stream_count: int = 0,
    ) -> None:
        self._config = config
        self._appdb = appdb
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._lowered_stream_count = lowered_stream_count
        self._present_since: dict[str, float] = {}
        self._absent_since: dict[str, float] = {}
        self._rejected_since: Mapping[str, float] = {}
        self._repeated_rejections: frozenset[str] = frozenset()
        self._file_checks: Mapping[str, Check] = {}
        self._files_checked_at = float("-inf")

    async def run(self) -> None:
        """Check until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("issues"), begins="issues cannot be checked", ends="issues can be checked again"
        )
        await run_periodically(self.check_all, ROUND_SECONDS, failure_log)

    async def check_all(self) -> None:
        """Begin and end issues as they are now. Raises `Unavailable`, where a file cannot be used now."""
        samples = await self._sample_disk()
        host_checks = await asyncio.to_thread(self._check_host, samples)
        other_disks = await self._check_other_disks()
        if other_disks:
            host_checks["disk"] = worst_check((host_checks["disk"], *other_disks))
        checks = {**host_checks, **await self._check_backlog(), **await self._check_settings()}
        await self._update({**checks, **self._check_cursors()})

    def _check_cursors(self) -> Mapping[str, Check]:
        if not self._lowered_stream_count:
            return {}
        detail = _n(
            "1 stream of a destination was past the end of the ledger, which was replaced by another one: it goes on at"
            " its end",
            "{count} streams of destinations were past the end of the ledger, which was replaced by another one: they"
            " go on at its end",
            self._lowered_stream_count,
        )
        hint = _("`onhook destination replay` sends calls again; this ends with the next start of the server")
        return {"cursors": Check("ERROR", detail, hint)}

    async def _check_settings(self) -> Mapping[str, Check]:
        try:
            has_events = await self._ledger.has_events()
        except OnhookError as error:
            if not error.permanent:
                raise
            return {}  # a damaged ledger is an issue of its own
        return {
            "settings": await check_settings(self._appdb, has_events=has_events),
            "folders": find_worst(await check_swept_folders(self._appdb)),
            "mail": await check_mails(self._appdb, self._clock.now()),
            "spool": worst_check(check_spools(await self._list_spools(), get_zone(self._config.zone))),
        }

    async def _list_spools(self) -> list[SpoolReport]:
        return await self._appdb.node_states.list_spools(now_us=self._clock.microseconds())

    async def _check_backlog(self) -> Mapping[str, Check]:
        try:
            # In this order: the store is never found ahead of a ledger that grows.
            position = await self._store.position()
            lag = await self._ledger.last_seq() - position
            checks = check_backlog(lag, len(await self._store.quarantine(QUARANTINE_COUNT_MAX)))
            try:
                await check_ledger(self._ledger, self._store)
            except LedgerMismatch as error:
                return {**checks, "backlog": Check("ERROR", error.message, error.hint)}
            return checks
        except OnhookError as error:
            if not error.permanent:
                raise
            return {"backlog": Check("ERROR", error.message, error.hint)}

    async def _sample_disk(self) -> Sequence[DiskSample]:
        """Add how much of the disk is free, once an hour, and return the samples. Several machines report their own."""
        node = self._config.node_name
        if not node:
            free_bytes = (await asyncio.to_thread(shutil.disk_usage, self._config.data)).free
            await self._appdb.disk_samples.add(free_bytes, now_us=self._clock.microseconds())
        return await self._appdb.disk_samples.all(node)

    async def _check_other_disks(self) -> list[Check]:
        """Return the checks of the disks of the other machines; a machine that reports nothing now is left out."""
        reports = await self._appdb.node_states.all(now_us=self._clock.microseconds())
        return [
            check_node_disk(state, await self._appdb.disk_samples.all(state.node), self._clock.now())
            for state in running_machines(reports)
            if state.node != self._config.node_name
        ]

    def _check_host(self, samples: Sequence[DiskSample]) -> dict[str, Check]:
        """Return the checks of this installation by name; those of files are repeated rarely."""
        now = self._now()
        if not 0 <= now - self._files_checked_at < FILE_CHECK_SECONDS:
            self._file_checks, self._files_checked_at = check_files(self._config), now
        return {**check_resources(self._config, self._clock, samples), **self._file_checks}

    async def _update(self, checks: Mapping[str, Check]) -> None:
        issues = {issue.issue_key: issue for issue in (*await self._find_issues(), *_check_issues(checks))}
        await self._appdb.issues.refresh(issues.values())
        open_keys = await self._appdb.issues.open_keys()
        now_us = self._clock.microseconds()
        for key in islice(self._begun_keys(issues.keys() - open_keys), TRANSITIONS_MAX):
            await self._appdb.issues.begin(issues[key], now_us=now_us)
        for key in islice(self._ended_keys(open_keys, issues.keys()), TRANSITIONS_MAX):
            await self._appdb.issues.end(key, now_us=now_us)

    def _begun_keys(self, new_keys: Iterable[str]) -> list[str]:
        """Return the issues that have begun; a check is one only after a while."""
        now = self._now()
        self._present_since = {key: min(self._present_since.get(key, now), now) for key in new_keys}
        return sorted(key for key, since in self._present_since.items() if self._has_lasted(key, now - since))

    def _has_lasted(self, key: str, seconds: float) -> bool:
        """Return whether a condition that was first seen so many seconds ago is an issue."""
        if key.startswith(REJECTION_PREFIX):
            return key in self._repeated_rejections
        return not key.startswith(CHECK_PREFIX) or key in IMMEDIATE_KEYS or seconds >= BEGIN_SECONDS

    def _note_rejections(self, last_times: Mapping[str, float]) -> None:
        """Note which rejected requests go on, by the time of the last one of each issue (Unix seconds)."""
        self._rejected_since = {key: min(self._rejected_since.get(key, last), last) for key, last in last_times.items()}
        self._repeated_rejections = frozenset(
            key for key, last in last_times.items() if last - self._rejected_since[key] >= REPEAT_SECONDS
        )

    def _ended_keys(self, open_keys: Iterable[str], current_keys: Iterable[str]) -> list[str]:
        """Return the open issues that are gone for long enough."""
        now, absent_keys = self._now(), set(open_keys) - set(current_keys)
        self._absent_since = {key: min(self._absent_since.get(key, now), now) for key in absent_keys}
        return sorted(key for key, since in self._absent_since.items() if now - since >= END_SECONDS)

    async def _find_issues(self) -> list[OperationalIssue]:
        """Return the issues of destinations, the open alarms, and the requests that were rejected lately."""
        appdb, zone = self._appdb, get_zone(self._config.zone)
        destination_issues = find_all_issues(
            await appdb.destinations.all(), await appdb.deliveries.backlogs(), self._clock.now(), zone
        )
        pbxs = await appdb.pbxs()
        names = {pbx.sn: pbx.name for pbx in pbxs}
        sns = {pbx.name: pbx.sn for pbx in pbxs}
        rejections = _group_rejections(await self._read_rejections(), sns)
        self._note_rejections({key: group[0].last_at.timestamp() for key, group in rejections.items()})
        return [
            *map(_destination_issue, destination_issues),
            *(_alarm_issue(alarm, names) for alarm in await appdb.alarms.open_alarms()),
            *_rejection_issues(rejections, sns, zone),
        ]

    async def _read_rejections(self) -> list[RequestCounter]:
        """Return the counters of requests that were rejected lately, the latest first; none of a damaged ledger."""
        try:
            counters = name_counters(await self._ledger.counters(), await list_senders(self._appdb))
        except OnhookError as error:
            if not error.permanent:
                raise
            return []
        return list_rejections(counters, self._clock.now())

    def _now(self) -> float:
        return self._clock.microseconds() / 1_000_000


def _destination_issue(issue: Issue) -> OperationalIssue:
    return OperationalIssue(
        issue_key=f"destination:{issue.destination_id}:{issue.kind}",
        kind=f"destination_{issue.kind}",
        subject=issue.name,
        detail=issue.detail,
        hint=issue.hint,
        destination_id=issue.destination_id,
    )


def _alarm_issue(alarm: Alarm, names: Mapping[str, str]) -> OperationalIssue:
    return OperationalIssue(
        issue_key=f"alarm:{alarm.alarm_id}",
        kind=f"alarm_{alarm.kind}",
        sn=alarm.sn,
        subject=names.get(alarm.sn, alarm.sn),
        detail=alarm.detail,
        hint=alarm.hint,
    )


def _group_rejections(
    rejections: Iterable[RequestCounter], sns: Mapping[str, str]
) -> Mapping[str, Sequence[RequestCounter]]:
    """Return the counters by the key of their issue: one for each registered PBX and reason, and one for each reason
    for all unknown senders: anyone can send requests under any serial number, and must not open any number of issues.
    `sns` are the first serial numbers of the registered PBXs by name: an issue stays the same whichever number was used
    last.
    """
    counters_by_key: dict[str, list[RequestCounter]] = {}
    for counter in rejections:
        sn = fold_sn(sns.get(counter.pbx, counter.sn)) if counter.pbx else ""
        counters_by_key.setdefault(f"{REJECTION_PREFIX}{counter.kind}:{sn}", []).append(counter)
    return counters_by_key


def _rejection_issues(
    rejections: Mapping[str, Sequence[RequestCounter]], sns: Mapping[str, str], zone: ZoneInfo
) -> Iterable[OperationalIssue]:
    """Yield the issue of each group of counters, the latest of which is the first one."""
    for key, counters in rejections.items():
        latest = counters[0]
        detail = describe_rejection(latest, zone)
        if len(counters) > 1 and not latest.pbx and latest.sn:
            detail = _n(
                "{detail}; and 1 other serial number",
                "{detail}; and {count} other serial numbers",
                len(counters) - 1,
                detail=detail,
            )
        yield OperationalIssue(
            issue_key=key,
            kind=f"rejected_{latest.kind}",
            sn=sns.get(latest.pbx, latest.sn) if latest.pbx else "",
            subject=latest.pbx or _("unknown PBX"),
            detail=detail,
            hint=find_remedy(latest),
        )


def _check_issues(checks: Mapping[str, Check]) -> Iterable[OperationalIssue]:
    """Yield the checks that are not `OK`."""
    for name, check in checks.items():
        if check.status != "OK":
            yield OperationalIssue(
                issue_key=f"{CHECK_PREFIX}{name}",
                kind=f"{CHECK_KIND_PREFIX}{name}",
                subject=name,
                detail=check.detail,
                hint=check.hint,
            )
