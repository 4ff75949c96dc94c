"""Adding and changing schedules, as page, API and command do it.

Invariants: a schedule is that of one user, and shows what that user may see. Users see and change their own ones, an
administrator those of all. Only a user with the permission `mail` has reports sent to other addresses than the own.
"""

from datetime import datetime
from urllib.parse import parse_qsl

from litestar.exceptions import PermissionDeniedException

from onhook.appdb.appdb import AppDb
from onhook.appdb.report_schedules import ReportSchedule
from onhook.appdb.report_spec import CALLS_REPORT, ReportSpec, make_report_query, validate_report_spec
from onhook.appdb.users import User
from onhook.console.auth.access import Principal, may_act_for
from onhook.console.invitation_mails import find_console_url
from onhook.console.report_mails.pdf import is_pdf_available, missing_library_error
from onhook.console.report_mails.recipients import may_mail_others
from onhook.console.report_mails.subjects import MISSED_DIGEST, SUBJECTS
from onhook.console.state import AppState
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

_PAGE_REPORTS = {"/calls": CALLS_REPORT, "/missed": MISSED_DIGEST}


async def add_schedule(appdb: AppDb, clock: Clock, user_name: str, name: str, spec: ReportSpec) -> ReportSchedule:
    """Add a schedule of a user. Raises `UsageError`, `NotFound`."""
    user = await appdb.users.get(user_name)
    spec = await check_spec(appdb, user, spec, clock.now())
    return await appdb.report_schedules.add(user.name, name, spec, now_us=clock.microseconds())


async def change_schedule(appdb: AppDb, clock: Clock, schedule_id: int, name: str, spec: ReportSpec) -> ReportSchedule:
    """Change name and spec of a schedule. Raises `UsageError`, `NotFound`."""
    schedule = await appdb.report_schedules.get(schedule_id)
    spec = await check_spec(appdb, await appdb.users.get(schedule.user_name), spec, clock.now())
    return await appdb.report_schedules.change(schedule_id, name, spec, now_us=clock.microseconds())


async def check_spec(appdb: AppDb, user: User, spec: ReportSpec, now: datetime) -> ReportSpec:
    """Return a spec as it is stored, where its user may have it. Raises `UsageError`."""
    spec = validate_report_spec(spec, tuple(SUBJECTS), now)
    if "pdf" in spec.files and not is_pdf_available():
        raise missing_library_error()
    own = [address for address in spec.addresses if address.casefold() == user.email.casefold()]
    if not own and spec.to_user and not user.email and not spec.addresses:
        raise UsageError(
            _("{name} has no e-mail address", name=user.name),
            location="to_user",
            hint=_("an administrator sets it on the page Users"),
        )
    if len(spec.addresses) == len(own):
        return spec
    if not may_mail_others(user):
        raise UsageError(
            _("{name} may not have reports sent to other addresses", name=user.name),
            location="addresses",
            hint=_("an administrator gives the permission on the page Users"),
        )
    if not await find_console_url(appdb):
        raise UsageError(
            _("the address of the console is not set, with which links for unsubscribing begin"),
            location="addresses",
            hint=_("an administrator sets it on the page Mail, or with `onhook mail set`"),
        )
    return spec


def get_owner(principal: Principal | None, user_name: str) -> str:
    """Return whose schedule is added: that of the user of the request, or of the user that an administrator names.
    Raises 403.
    """
    if principal is not None and principal.role == "administrator" and user_name:
        return user_name
    if principal is None or not principal.is_user:
        raise PermissionDeniedException(
            _("only a user has scheduled reports: sign in, or name one as an administrator")
        )
    if user_name not in ("", principal.name):
        raise PermissionDeniedException(_("only an administrator schedules reports for other users"))
    return principal.name


async def list_schedules(app_state: AppState, principal: Principal | None) -> list[ReportSchedule]:
    """Return the schedules that a user sees: the own ones, an administrator those of all."""
    if principal is not None and principal.role == "administrator":
        return await app_state.appdb.report_schedules.all()
    if principal is None or not principal.is_user:
        return []
    return await app_state.appdb.report_schedules.all(principal.name)


async def find_schedule(app_state: AppState, principal: Principal | None, schedule_id: int) -> ReportSchedule:
    """Return a schedule that a user may see and change. Raises `NotFound`."""
    schedule = await app_state.appdb.report_schedules.get(schedule_id)
    if may_act_for(principal, schedule.user_name):
        return schedule
    raise NotFound(
        _("there is no scheduled report {number}", number=schedule_id), hint=_("the page Scheduled reports lists them")
    )


def parse_page_path(path: str) -> tuple[str, str]:
    """Return report and filters of the address of a page, such as that of a saved search.

    >>> parse_page_path("/reports?report=queues&pbx=Office&since=30d"), parse_page_path("/calls?status=busy&sort=wait")
    (('queues', 'pbx=Office'), ('calls', 'status=busy'))
    """
    page, _separator, query = path.partition("?")
    texts = dict(parse_qsl(query))
    report = _PAGE_REPORTS.get(page) or texts.get("report", "volume")
    if report != CALLS_REPORT:
        texts.pop("status", None)
    return report, make_report_query(texts)
