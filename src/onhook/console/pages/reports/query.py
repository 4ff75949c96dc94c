"""The query of a report: what its filter, its period and the settings of PBXs and queues are."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from onhook.cdr.party_groups import NO_GROUPS, PartyGroupKind
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.reports.report import ReportQuery, query_parts
from onhook.console.queries.directory import load_groups, load_names
from onhook.console.queries.period import Period
from onhook.console.state import AppState


async def load_report_query(
    app_state: AppState,
    search_filter: RecordFilter,
    period: Period,
    zone: ZoneInfo,
    *,
    by: str,
    texts: Mapping[str, str],
    compared: Period | None = None,
    group_by: PartyGroupKind | None = None,
) -> ReportQuery:
    """Return the query of a filter; `texts` are the parameters of its links to calls."""
    pbxs = await app_state.appdb.pbxs()
    names = {pbx.sn: pbx.name for pbx in pbxs}
    return ReportQuery(
        store=app_state.store,
        search_filter=search_filter,
        since=period.since,
        until=period.until,
        zone=zone,
        by=by,
        filters=query_parts(texts),
        zone_param=texts.get("zone", ""),
        compared=compared,
        number_plans={pbx.name: pbx.number_plan for pbx in pbxs},
        queue_targets={
            (names[sn], queue): targets
            for (sn, queue), targets in (await app_state.appdb.queue_targets.all()).items()
            if sn in names
        },
        directory=await load_names(app_state),
        sns_by_pbx={pbx.name: pbx.sn for pbx in pbxs},
        group_by=group_by,
        groups=await load_groups(app_state, search_filter.scope) if group_by else NO_GROUPS,
    )
