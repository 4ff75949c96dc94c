"""Reports that users have sent at times that come again.

Invariants: a schedule ends with its user. A run is stored in the transaction that adds its mails, and only for the
schedule as it was when the run began: each time is sent once, and none of a schedule that was changed meanwhile. An
address that wants no further mails of a schedule gets none, also where it is named again.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.mails import NewMail
from onhook.appdb.pbxs import validate_name
from onhook.appdb.report_spec import ReportSpec, validate_recurrence
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.recurrence import next_occurrence
from onhook.lib.timestamps import to_datetime, to_microseconds

SCHEDULES_MAX = 1_000
"""Of an installation."""

USER_SCHEDULES_MAX = 20
"""Of one user: each is read by people."""

TEST_WAIT_MICROSECONDS = 60_000_000
"""Between two tests of a schedule: a person looks at the first one before."""

LATEST_WAIT_MICROSECONDS = 40 * 86_400 * 1_000_000
"""No time is further away; a stored one that is comes from a clock that was set back."""

DETAIL_CHARACTERS_MAX = 500

RunOutcome = Literal["", "sent", "partial", "failed"]
"""Of the last run: `partial` where some recipients got no mail; empty before the first one."""

_COLUMNS = "schedule_id, user_name, name, spec, revision, is_paused, next_at, test_at, ran_at, outcome, detail"
_SELECT = f"SELECT {_COLUMNS} FROM report_schedules"


class ReportSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule; `detail` says of its last run what the outcome does not. With `test_at` a test is to be sent.
    `revision` is another one after each change by a person.
    """

    schedule_id: int
    user_name: str
    name: str
    spec: ReportSpec
    revision: int
    is_paused: bool
    next_at: datetime
    test_at: datetime | None
    ran_at: datetime | None
    outcome: RunOutcome
    detail: str


class ReportRun(msgspec.Struct, frozen=True, kw_only=True):
    """The mails of a run, and what is listed of it."""

    outcome: RunOutcome
    detail: str = ""
    mails: Sequence[NewMail] = ()


class ReportSchedules:
    """Repository of schedules. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, user_name: str | None = None) -> list[ReportSchedule]:
        """Return all schedules, or those of a user, by name."""
        rows = await self._database.rows(
            f"{_SELECT} WHERE ?1 IS NULL OR user_name = ?1 ORDER BY name COLLATE NOCASE, schedule_id", (user_name,)
        )
        return read_rows(rows, _schedule)

    async def get(self, schedule_id: int) -> ReportSchedule:
        """Return a schedule. Raises `NotFound`."""
        rows = await self._database.rows(f"{_SELECT} WHERE schedule_id = ?", (schedule_id,))
        schedules = read_rows(rows, _schedule)
        if not schedules:
            raise _not_found_error(schedule_id)
        return schedules[0]

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("report_schedules", await self._database.rows(_SELECT), _schedule, name_columns=[2])

    @transactional
    async def add(self, user_name: str, name: str, spec: ReportSpec, *, now_us: int) -> ReportSchedule:
        """Add a schedule with a valid spec; its first time is the next one. Raises `UsageError`, `NotFound`."""
        name = validate_name(name)
        ((all_count, own_count),) = await self._database.rows(
            "SELECT count(*), count(CASE WHEN user_name = ? THEN 1 END) FROM report_schedules", (user_name,)
        )
        if own_count >= USER_SCHEDULES_MAX or all_count >= SCHEDULES_MAX:
            maximum = USER_SCHEDULES_MAX if own_count >= USER_SCHEDULES_MAX else SCHEDULES_MAX
            raise UsageError(_("there are already {maximum} scheduled reports", maximum=maximum), hint=_("remove one"))
        try:
            await self._database.write(
                "INSERT INTO report_schedules (user_name, name, spec, revision, is_paused, next_at, outcome, detail)"
                " VALUES (?, ?, ?, 1, 0, ?, '', '')",
                (user_name, name, encode_column(spec), _next_at(spec, now_us)),
            )
        except ConstraintViolation:
            raise NotFound(
                _("there is no user {name}", name=repr(user_name[:80])), hint=_("the page Users lists them")
            ) from None
        ((schedule_id,),) = await self._database.rows(
            "SELECT max(schedule_id) FROM report_schedules WHERE user_name = ? AND name = ?", (user_name, name)
        )
        return await self.get(schedule_id)

    @transactional
    async def change(self, schedule_id: int, name: str, spec: ReportSpec, *, now_us: int) -> ReportSchedule:
        """Change name and spec; where it is due at other times, the next one is in the future. Raises `NotFound`,
        `UsageError`.
        """
        schedule, name = await self.get(schedule_id), validate_name(name)
        is_moved = spec.recurrence != schedule.spec.recurrence
        next_at = _next_at(spec, now_us) if is_moved else to_microseconds(schedule.next_at)
        await self._database.write(
            "UPDATE report_schedules SET name = ?, spec = ?, next_at = ?, revision = revision + 1"
            " WHERE schedule_id = ?",
            (name, encode_column(spec), next_at, schedule_id),
        )
        return await self.get(schedule_id)

    @transactional
    async def set_paused(self, schedule_id: int, *, is_paused: bool, now_us: int) -> ReportSchedule:
        """Pause a schedule, or resume it: what was due meanwhile is not sent. Raises `NotFound`."""
        schedule = await self.get(schedule_id)
        if schedule.is_paused is not is_paused:
            await self._database.write(
                "UPDATE report_schedules SET is_paused = ?, next_at = ?, revision = revision + 1 WHERE schedule_id = ?",
                (is_paused, _next_at(schedule.spec, now_us), schedule_id),
            )
        return await self.get(schedule_id)

    @transactional
    async def request_test(self, schedule_id: int, *, now_us: int) -> ReportSchedule:
        """Have the hub send a test within seconds. Raises `NotFound`, and `UsageError` shortly after another run."""
        schedule = await self.get(schedule_id)
        latest = schedule.test_at or schedule.ran_at
        if latest is not None and 0 <= now_us - to_microseconds(latest) < TEST_WAIT_MICROSECONDS:
            raise UsageError(_("this report was sent a moment ago"), hint=_("wait a minute"))
        await self._database.write(
            "UPDATE report_schedules SET test_at = ? WHERE schedule_id = ?", (now_us, schedule_id)
        )
        return await self.get(schedule_id)

    async def remove(self, schedule_id: int) -> None:
        """Remove a schedule. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM report_schedules WHERE schedule_id = ?", (schedule_id,)):
            raise _not_found_error(schedule_id)

    # The job that sends

    async def due(self, *, now_us: int) -> list[ReportSchedule]:
        """Return all schedules that are to run now, those that wait for longest first: some of them may have to wait
        behind others, and rows that cannot be read take the place of none.
        """
        rows = await self._database.rows(
            f"{_SELECT} WHERE test_at IS NOT NULL OR (is_paused = 0 AND (next_at <= ? OR next_at > ?))"
            " ORDER BY coalesce(test_at, next_at), schedule_id",
            (now_us, now_us + LATEST_WAIT_MICROSECONDS),
        )
        return read_rows(rows, _schedule)

    async def record_run(self, schedule: ReportSchedule, run: ReportRun, *, now_us: int) -> bool:
        """Store the run of a schedule, inside the transaction that adds its mails. Return False, and store nothing,
        where the schedule is another one by now: nothing is to be sent then.
        """
        next_at, test_at = to_microseconds(schedule.next_at), schedule.test_at
        recorded_count = await self._database.write(
            "UPDATE report_schedules SET next_at = ?, test_at = NULL, ran_at = ?, outcome = ?, detail = ?"
            " WHERE schedule_id = ? AND revision = ? AND next_at = ? AND coalesce(test_at, 0) = ?",
            (
                *(_next_at(schedule.spec, now_us) if test_at is None else next_at, now_us),
                *(run.outcome, run.detail[:DETAIL_CHARACTERS_MAX], schedule.schedule_id, schedule.revision, next_at),
                0 if test_at is None else to_microseconds(test_at),
            ),
        )
        return bool(recorded_count)

    # Recipients

    async def list_optouts(self, schedule_id: int) -> frozenset[str]:
        """Return the addresses that want no further mails of a schedule, folded."""
        rows = await self._database.rows("SELECT address FROM report_optouts WHERE schedule_id = ?", (schedule_id,))
        return frozenset(str(address) for (address,) in rows)

    async def all_optouts(self) -> Mapping[int, frozenset[str]]:
        """Return the addresses that want no further mails, folded, of each schedule with some."""
        optouts: dict[int, set[str]] = {}
        for schedule_id, address in await self._database.rows("SELECT schedule_id, address FROM report_optouts"):
            optouts.setdefault(schedule_id, set()).add(str(address))
        return {schedule_id: frozenset(addresses) for schedule_id, addresses in optouts.items()}

    async def opt_out(self, schedule_id: int, address: str, *, now_us: int) -> None:
        """Send an address no further mails of a schedule. Raises `NotFound`."""
        try:
            await self._database.write(
                "INSERT INTO report_optouts VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (schedule_id, address.casefold(), now_us),
            )
        except ConstraintViolation:
            raise _not_found_error(schedule_id) from None


def select_recipients(addresses: Collection[str], optouts: Collection[str]) -> list[str]:
    """Return the addresses that want mails, each once.

    >>> select_recipients(["Ann@example.com", "ann@example.com", "bob@example.com"], {"bob@example.com"})
    ['Ann@example.com']
    """
    by_folded = {address.casefold(): address for address in reversed(list(addresses))}
    wanted = [by_folded[folded] for address in addresses if (folded := address.casefold()) not in optouts]
    return list(dict.fromkeys(wanted))


def _next_at(spec: ReportSpec, now_us: int) -> int:
    return to_microseconds(next_occurrence(spec.recurrence, to_datetime(now_us)).time)


def _not_found_error(schedule_id: int) -> NotFound:
    return NotFound(
        _("there is no scheduled report {number}", number=schedule_id), hint=_("the page Scheduled reports lists them")
    )


def _schedule(row: Row) -> ReportSchedule:
    schedule_id, user_name, name, spec_text, revision, is_paused, next_at, test_at, ran_at, outcome, detail = row
    spec = decode_column(spec_text, ReportSpec)
    validate_recurrence(spec.recurrence)
    if outcome not in get_args(RunOutcome):
        raise UsageError(_("{outcome} is not an outcome", outcome=repr(outcome)))
    return ReportSchedule(
        schedule_id=schedule_id,
        user_name=user_name,
        name=name,
        spec=spec,
        revision=revision,
        is_paused=bool(is_paused),
        next_at=to_datetime(next_at),
        test_at=None if test_at is None else to_datetime(test_at),
        ran_at=None if ran_at is None else to_datetime(ran_at),
        outcome=outcome,
        detail=detail,
    )
