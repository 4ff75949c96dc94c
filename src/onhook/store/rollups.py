"""Sums of weeks that are over, so that a year is not counted call by call each time it is looked at.

Laws: a week's sums are made by counting its calls, whole, and a put that touches a week throws its sums away in the
same transaction. So what stands here is always what counting would give, and a week without sums is counted.
"""

from collections.abc import Collection, Iterable, Mapping

import duckdb

from onhook.cdr.record_filter import FILTER_NAMES, Filter
from onhook.store.queries.concurrency_sql import LEVELS, spans
from onhook.store.queries.conditions import Condition, for_pbxs
from onhook.store.queries.measures import COLUMNS, COUNTED, source
from onhook.store.queries.weekly import QUARTER_SECONDS, WEEK_SECONDS, Piece, weeks_between
from onhook.store.schema import SUM_TABLES, SUMS

SETTLED_SECONDS = 86_400
"""A week is summed up when calls came that began so long after it: few late ones are still to come."""

TIMES = ("hour", "day", "week", "month", "hour_of_day", "weekday")

KINDS = {
    "status": {"status": "party"},
    "answered_by": {"answered_by": "party"},
    "made_by": {"made_by": "party"},
    "did_number": {"did_number": "party"},
    "trunk": {"trunk": "party"},
    "visits": {"went_to": "party", "answered_by": "answered_by"},
}
"""By which parties sums are kept, and in which column of `sums_by_party`. Numbers outside are not among them: most call
once, so that their sums would be as many as the calls."""

_SUMMED = ", ".join(SUMS)


def touch(connection: duckdb.DuckDBPyConnection, spans: Iterable[tuple[int, int | None]]) -> None:
    """Forget the sums of weeks in which calls begin or go on; each is the seconds of its start and its end."""
    touched = {week for begun, ended in spans for week in weeks_between(begun, max(begun, ended or begun))}
    known = connection.execute("SELECT week FROM weeks WHERE NOT is_summed").fetchall()
    if gone := sorted(touched.difference(week for (week,) in known)):
        for table in (*SUM_TABLES, "weeks"):
            connection.execute(f"DELETE FROM {table} WHERE week IN (SELECT unnest($1))", [gone])
        connection.execute("INSERT INTO weeks SELECT unnest($1), false", [gone])


def sum_up(connection: duckdb.DuckDBPyConnection) -> bool:
    """Make the sums of one week that is over and has none; whether there was one."""
    found = connection.execute(
        "SELECT min(week) FROM weeks WHERE NOT is_summed"
        f" AND (week + 1) * {WEEK_SECONDS} + {SETTLED_SECONDS} <= (SELECT max(started_at) FROM calls)"
    ).fetchall()
    week = found[0][0]
    if week is None:
        return False
    _sum_times(connection, week)
    for kind, columns in KINDS.items():
        _sum_parties(connection, week, kind, columns)
    _sum_levels(connection, week)
    connection.execute("UPDATE weeks SET is_summed = true WHERE week = $1", [week])
    return True


def summed_weeks(connection: duckdb.DuckDBPyConnection) -> list[int]:
    """Those that need not be counted."""
    return [week for (week,) in connection.execute("SELECT week FROM weeks WHERE is_summed").fetchall()]


def bounds(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Before which second no call begins, and from which on none does."""
    first, last = connection.execute("SELECT min(started_at), max(started_at) FROM calls").fetchall()[0]
    return (0, 0) if first is None else (first, last + 1)


def table_for(names: Collection[str], where: Filter) -> Mapping[str, str] | None:
    """In which columns of which table (`""`) these are summed up, narrowed so; None where they must be counted."""
    others = {name for name in FILTER_NAMES if getattr(where, name) is not None} - {"since", "until", "pbx", "sn"}
    if where.aspects is not None or (where.within is not None and where.within.numbers is not None):
        return None
    wanted = set(names) - {"pbx"}
    if others <= {"type"} and wanted <= {*TIMES, "type"}:
        return {"": "sums_by_time", "type": "type_folded"}
    for kind, columns in KINDS.items():
        if not others and wanted <= columns.keys():
            return {"": "sums_by_party", "kind": f"'{kind}'", **columns}
    return None


def in_piece(where: Filter, piece: Piece, columns: Mapping[str, str]) -> Condition:
    """For the rows of a table of sums that belong to a piece."""
    weeks = weeks_between(piece.since, piece.until - 1)
    condition = for_pbxs(where).also(f"week BETWEEN {weeks.start} AND {weeks.stop - 1}")
    return condition.also(f"kind = {columns['kind']}") if "kind" in columns else condition


def _sum_times(connection: duckdb.DuckDBPyConnection, week: int) -> None:
    begins = f"started_at // {QUARTER_SECONDS} * {QUARTER_SECONDS}"
    connection.execute(
        f"INSERT INTO sums_by_time (week, started_at, sn, pbx, type_folded, {_SUMMED})"
        f" SELECT {week}, {begins} AS begins, sn, pbx, type_folded, {COUNTED} FROM calls WHERE {_began_in(week)}"
        " GROUP BY begins, sn, pbx, type_folded ORDER BY begins"
    )


def _sum_parties(connection: duckdb.DuckDBPyConnection, week: int, kind: str, columns: Mapping[str, str]) -> None:
    first, *_ = columns
    other = "answered_by" if "answered_by" in columns.values() else "NULL"
    groups = [f"{COLUMNS[first]} AS party", f"{other} AS other"]
    narrow = f" AND {_began_in(week, 'call_started_at')}"
    connection.execute(
        f"INSERT INTO sums_by_party (week, kind, sn, pbx, party, answered_by, {_SUMMED})"
        f" SELECT {week}, '{kind}', sn, pbx, {', '.join(groups)}, {COUNTED}"
        f" FROM {source(tuple(columns), narrow)} WHERE {_began_in(week)}"
        " GROUP BY sn, pbx, party, other ORDER BY party"
    )


def _sum_levels(connection: duckdb.DuckDBPyConnection, week: int) -> None:
    """How many calls were under way at once: all together, of each PBX, and of both by trunk."""
    begin, end = week * WEEK_SECONDS, (week + 1) * WEEK_SECONDS
    going_on = f"started_at < {end} AND ended_at > {begin}"
    found = connection.execute(f"SELECT DISTINCT pbx FROM calls WHERE {going_on}").fetchall()
    for pbx in (None, *(pbx for (pbx,) in found)):
        test, values = (going_on, {}) if pbx is None else (f"{going_on} AND pbx = $pbx", {"pbx": pbx})
        for by_trunk in (False, True):
            levels = LEVELS.format(**spans(test, by_trunk=by_trunk), until=end)
            begins = [begin] if by_trunk else list(range(begin, end, QUARTER_SECONDS))
            connection.execute(
                f"INSERT INTO sums_of_levels SELECT {week}, begins, $named, {'trunk' if by_trunk else 'NULL'}, calls,"
                f" reached FROM ({levels}) WHERE calls > 0",
                {**values, "named": pbx, "stretches": begins},
            )


def _began_in(week: int, column: str = "started_at") -> str:
    return f"{column} BETWEEN {week * WEEK_SECONDS} AND {(week + 1) * WEEK_SECONDS - 1}"
