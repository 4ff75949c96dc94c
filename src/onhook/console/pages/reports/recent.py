"""A long period with many calls, cut to its last days where a report would have to look at each call by itself."""

from datetime import timedelta

import msgspec

from onhook.console.pages.reports.report import ReportQuery, query_parts

CALLS_MAX = 500_000
"""Looked at one by one in a few tenths of a second; a period with no more is never cut."""


async def cut_to_recent(query: ReportQuery, days: int) -> tuple[ReportQuery, str]:
    """What is asked, or the last days of it; and the sentence that says so, or nothing."""
    since = query.until - timedelta(days=days)
    if since <= query.since:
        return query, ""
    calls = sum(row["calls"] for row in await query.store.summary(query.search_filter, "pbx", query.zone.key))
    if calls <= CALLS_MAX:
        return query, ""
    recent_query = msgspec.structs.replace(
        query,
        since=since,
        search_filter=msgspec.structs.replace(query.search_filter, since=since),
        filters={**query.filters, **query_parts({"since": since.astimezone(query.zone).isoformat()})},
    )
    return recent_query, f" Of so many calls only those of the last {days} days of the period are looked at."
