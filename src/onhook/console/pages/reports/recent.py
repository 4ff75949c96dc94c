"""A long period with many calls, cut to its last days where a report would have to look at each call by itself."""

from datetime import timedelta

import msgspec

from onhook.console.pages.reports.report import ReportQuery, query_parts

CALLS_MAX = 500_000
"""Looked at one by one in a few tenths of a second; a period with no more is never cut."""


async def cut_to_recent(asked: ReportQuery, days: int) -> tuple[ReportQuery, str]:
    """What is asked, or the last days of it; and the sentence that says so, or nothing."""
    since = asked.until - timedelta(days=days)
    if since <= asked.since:
        return asked, ""
    calls = sum(row["calls"] for row in await asked.store.summary(asked.where, "pbx", asked.zone.key))
    if calls <= CALLS_MAX:
        return asked, ""
    recent_query = msgspec.structs.replace(
        asked,
        since=since,
        where=msgspec.structs.replace(asked.where, since=since),
        filters={**asked.filters, **query_parts({"since": since.astimezone(asked.zone).isoformat()})},
    )
    return recent_query, f" Of so many calls only those of the last {days} days of the period are looked at."
