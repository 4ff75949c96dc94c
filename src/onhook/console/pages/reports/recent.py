"""Cutting of a long period with many calls to its last days, for reports that read each call."""

from datetime import timedelta

import msgspec

from onhook.console.pages.reports.report import ReportQuery, query_parts
from onhook.console.queries.period import Period
from onhook.lib.messages import _

CALLS_MAX = 500_000
"""Calls read one by one in a few tenths of a second; a period with fewer is never cut."""


async def cut_to_recent(query: ReportQuery, days: int) -> tuple[ReportQuery, str]:
    """Return the query, or its last days, and the sentence that says so, or empty."""
    if query.until - timedelta(days=days) <= query.since:
        return query, ""
    calls = sum(row["calls"] for row in await query.store.summary(query.search_filter, "pbx", query.zone.key))
    return cut_query(query, days) if calls > CALLS_MAX else (query, "")


def cut_query(query: ReportQuery, days: int) -> tuple[ReportQuery, str]:
    """Return the last days of a query, and the sentence that says so; empty where it has none but these."""
    since = query.until - timedelta(days=days)
    if since <= query.since:
        return query, ""
    compared = query.compared
    if compared is not None:
        compared = Period(max(compared.since, compared.until - timedelta(days=days)), compared.until)
    recent_query = msgspec.structs.replace(
        query,
        since=since,
        compared=compared,
        search_filter=msgspec.structs.replace(query.search_filter, since=since),
        filters={**query.filters, **query_parts({"since": since.astimezone(query.zone).isoformat()})},
    )
    return recent_query, " " + _(
        ("There are too many calls in this period: only those of its last {days} days are included."), days=days
    )
