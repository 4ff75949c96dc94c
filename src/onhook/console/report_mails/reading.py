"""What a user of a schedule may see now: scope, masked numbers and filters, as on a page.

Invariant: everything is decided by the user as stored at this moment, not by what held when the schedule was set.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.report_spec import ReportSpec
from onhook.appdb.users import User
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.party_groups import PartyGroupKind
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.calls import list_visible_pbxs
from onhook.console.pages.reports.query import load_report_query
from onhook.console.pages.reports.report import Report, ReportQuery
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import mask_state
from onhook.console.queries.period import Period, choose_step
from onhook.console.queries.search_filters import make_record_filter, make_search_filter
from onhook.console.report_mails.subjects import SUBJECTS, SubjectReader
from onhook.console.state import AppState
from onhook.lib.errors import NotAllowed
from onhook.lib.messages import _


class ReadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report of a period, with the totals of its calls, and the query with its links."""

    report: Report
    totals: Totals
    query: ReportQuery


async def read_report(app_state: AppState, user: User, spec: ReportSpec, period: Period) -> ReadReport:
    """Return the report of a schedule, as its user may see it. Raises `NotAllowed` where the user may not, or not any
    longer, and `UsageError`.
    """
    scope = await _resolve_scope(app_state, user)
    await _check_access(app_state, user, scope, spec)
    if scope is not None:
        app_state = await mask_state(app_state, scope.mask)
    zone = ZoneInfo(spec.recurrence.zone)
    search_filter = await _make_filter(app_state, scope, spec, period, zone)
    filters = spec.filters
    subject = SUBJECTS[spec.report]
    group_by: PartyGroupKind | None = None
    if subject.is_grouped and filters.get("group_by") in ("department", "site"):
        group_by = "department" if filters["group_by"] == "department" else "site"
    query = await load_report_query(
        app_state,
        search_filter,
        period,
        zone,
        by=filters["by"] if subject.has_steps and filters.get("by") else choose_step(period),
        texts={
            **{name: text for name, text in filters.items() if name not in ("by", "group_by")},
            **{name: _to_text(boundary, zone) for name, boundary in (("since", period.since), ("until", period.until))},
            "zone": zone.key,
        },
        group_by=group_by,
    )
    return ReadReport(
        report=await subject.build(SubjectReader(app_state=app_state, user_name=user.name), query),
        totals=add_up(await query.store.summary(search_filter, "pbx", zone.key)),
        query=query,
    )


async def _make_filter(
    app_state: AppState, scope: AccessScope | None, spec: ReportSpec, period: Period, zone: ZoneInfo
) -> RecordFilter:
    record_filter = await make_record_filter(app_state, scope, spec.filters, zone)
    record_filter = msgspec.structs.replace(record_filter, since=period.since, until=period.until)
    return await make_search_filter(app_state, record_filter, spec.filters, zone)


async def _resolve_scope(app_state: AppState, user: User) -> AccessScope | None:
    """Return the scope of a user with the members that its departments and sites have now."""
    if user.scope is None or not user.scope.has_groups:
        return user.scope
    return (await app_state.directory.get(None)).groups.resolve(user.scope)


async def _check_access(app_state: AppState, user: User, scope: AccessScope | None, spec: ReportSpec) -> None:
    """Check that there is something that the user may see. Raises `NotAllowed`."""
    if user.is_disabled:
        raise NotAllowed(_("{name} is disabled", name=user.name))
    visible_pbxs = await list_visible_pbxs(app_state, scope)
    if scope is not None and not visible_pbxs:
        raise NotAllowed(_("{name} may see no PBX any longer", name=user.name))
    for name in ("pbx", "sn"):
        text = spec.filters.get(name)
        values = {pbx.name if name == "pbx" else pbx.sn for pbx in visible_pbxs}
        if text and text not in values:
            raise NotAllowed(_("{name} may not see the PBX {pbx}, or it was removed", name=user.name, pbx=text))


def _to_text(boundary: datetime, zone: ZoneInfo) -> str:
    return boundary.astimezone(zone).isoformat()
