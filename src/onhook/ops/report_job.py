"""The job that runs scheduled reports: one process at a time does it, by its lease.

Invariants: each time of a schedule is run once: its mails are added in the transaction that sets the next time, and
have keys made of it. Times that passed while no hub ran are one run, late. A report that cannot be made has a result
that says why, and is due again at its next time. One that may succeed later is tried again in each round, after all
others, for `RETRY_SECONDS_MAX`; then it has failed too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.origin import Origin
from onhook.appdb.report_schedules import ReportRun, ReportSchedule
from onhook.appdb.users import User
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog

ROUND_SECONDS = 5.0
"""How long a test waits at most; a round without a run costs one small query."""

ROUND_RUNS_MAX = 20
"""Runs of one round, one after the other: reports never take more than one reader of the store."""

RUN_SECONDS_MAX = 120.0
"""Of one report: more than the slowest page takes."""

RETRY_SECONDS_MAX = 1_800.0
"""From the first try on: as long as a large store is made anew. A report of the morning is read before noon."""

BuildReportMails = Callable[[ReportSchedule, User], Awaitable[ReportRun]]
"""Makes the mails of a schedule for a user as stored now; raises `Unavailable` where it is worth trying again."""


_RunKey = tuple[object, ...]
"""What identifies one time, or one test, of a schedule as it is."""


class _Failures(msgspec.Struct):
    """Tries of one run that failed, and when the first one did, in microseconds."""

    first_at_us: int
    count: int = 1


class ReportJob:
    """Created once per process; `run` is called with the lease of the job."""

    def __init__(self, appdb: AppDb, build: BuildReportMails, clock: Clock) -> None:
        self._appdb = appdb
        self._build = build
        self._clock = clock
        self._failures: dict[_RunKey, _Failures] = {}

    async def run(self) -> None:
        """Run what is due, until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("mail"), begins="cannot run scheduled reports", ends="scheduled reports run again"
        )
        await run_periodically(self.run_round, ROUND_SECONDS, failure_log)

    async def run_round(self) -> int:
        """Run the schedules that are due; return how many mails were added. Raises `OnhookError`."""
        due = await self._appdb.report_schedules.due(now_us=self._clock.microseconds())
        due_keys = {_run_key(schedule) for schedule in due}
        self._failures = {key: failures for key, failures in self._failures.items() if key in due_keys}
        due.sort(key=self._count_failures)
        return sum([await self._run_schedule(schedule) for schedule in due[:ROUND_RUNS_MAX]])

    async def _run_schedule(self, schedule: ReportSchedule) -> int:
        user = await self._appdb.users.find(schedule.user_name)
        if user is None:  # removed meanwhile, with its schedules
            return 0
        run = await self._build_run(schedule, user)
        if run is None:
            return 0
        if run.outcome != "sent":
            extra = {"schedule": schedule.name, "user": schedule.user_name, "detail": run.detail}
            logging.getLogger("mail").warning("scheduled report was not sent to all", extra=extra)
        async with self._appdb.transaction():
            return await self._store(schedule, user, run)

    async def _build_run(self, schedule: ReportSchedule, user: User) -> ReportRun | None:
        """Return the run of a schedule, which may have failed; None where it is to be tried again."""
        extra = {"schedule": schedule.name, "user": schedule.user_name}
        try:
            async with asyncio.timeout(RUN_SECONDS_MAX):
                return await self._build(schedule, user)
        except Unavailable as error:  # such as a busy store
            if self._may_try_again(schedule):
                extra["error"] = str(error)
                logging.getLogger("mail").warning("scheduled report is tried again", extra=extra)
                return None
            return ReportRun(outcome="failed", detail=str(error))
        except TimeoutError:
            seconds = RUN_SECONDS_MAX
            return ReportRun(
                outcome="failed", detail=_("the report took more than {seconds:g} seconds", seconds=seconds)
            )
        except Exception as error:  # an error in one report must not stop the others
            logging.getLogger("mail").exception("scheduled report failed", extra=extra)
            return ReportRun(outcome="failed", detail=_("internal error: {error}", error=type(error).__name__))

    def _may_try_again(self, schedule: ReportSchedule) -> bool:
        """Count a failed try; return whether another one may follow."""
        now_us, key = self._clock.microseconds(), _run_key(schedule)
        if key not in self._failures:
            self._failures[key] = _Failures(now_us)
            return True
        failures = self._failures[key]
        failures.count += 1
        return now_us - failures.first_at_us < RETRY_SECONDS_MAX * 1_000_000

    def _count_failures(self, schedule: ReportSchedule) -> int:
        failures = self._failures.get(_run_key(schedule))
        return 0 if failures is None else failures.count

    async def _store(self, schedule: ReportSchedule, user: User, run: ReportRun) -> int:
        """Store a run with its mails; return their number. Nothing is stored where schedule or user are others by now:
        the report is made again.
        """
        now_us, schedules = self._clock.microseconds(), self._appdb.report_schedules
        current = await self._appdb.users.find(schedule.user_name)
        if current is None or access_of(current) != access_of(user):
            return 0
        if not await schedules.record_run(schedule, run, now_us=now_us):
            return 0
        optouts = await schedules.list_optouts(schedule.schedule_id)
        mail_count = 0
        for mail in run.mails:
            if not (mail.content.unsubscribe_url and mail.recipient.casefold() in optouts):
                mail_count += await self._appdb.mails.add(mail, now_us=now_us)
        if run.mails:
            origin = Origin(actor=schedule.user_name, credential="", address="", way="onhook")
            action = f"scheduled report {schedule.name}"
            await self._appdb.audit.add_read(action, now_us=now_us, origin=origin)
        return mail_count


def _run_key(schedule: ReportSchedule) -> _RunKey:
    return schedule.schedule_id, schedule.revision, schedule.next_at, schedule.test_at


def access_of(user: User) -> tuple[object, ...]:
    """Return what decides what a user may see, and where mails go."""
    return user.role, user.scope, user.is_disabled, user.permissions, user.email
