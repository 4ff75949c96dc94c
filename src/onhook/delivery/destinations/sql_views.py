"""Views for business intelligence beside the tables of destinations that are databases. Pure: SQL as text.

`records_report` and `calls_report` have a row for each row of their table, with what reports group by: day, hour and
weekday by the PBX's own clock, names and numbers of the parties apart. `records_by_day` and `calls_by_day` count them.

Invariant: a view gets new columns at its end only, or an engine refuses to replace it.
"""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.appdb.destination_spec import NotifiesOf

PLAIN_COLUMNS = ("sn", "pbx", "call_id", "started_at", "type", "status")
DURATION_COLUMNS = ("ring_duration", "talk_duration", "call_duration")


class ViewExpressions(msgspec.Struct, frozen=True, kw_only=True):
    """Expressions that engines write differently. `party_number` and `party_name` are of the column `{party}`, where it
    has both.
    """

    quote: str
    integer: str
    local_time: str
    weekday: str
    party_number: str
    party_name: str


def view_columns(table: NotifiesOf) -> dict[str, Sequence[str]]:
    """Return the columns of the views of a table, by view."""
    record_id = ("record_id",) if table == "records" else ()
    report = (
        *(*PLAIN_COLUMNS, *record_id, "day", "hour", "weekday", "is_answered"),
        *("caller_name", "caller_number", "called_name", "called_number"),
        *("trunk", "did_number", *DURATION_COLUMNS, "has_recording"),
    )
    by_day = ("day", "sn", "pbx", "type", "total", "answered", "unanswered", "talk_duration", "call_duration")
    return {f"{table}_report": report, f"{table}_by_day": by_day}


def create_view_statements(table: NotifiesOf, prefix: str, expressions: ViewExpressions) -> Sequence[str]:
    """Return the statements that make the views, or replace them; `prefix` stands before names of tables."""
    quote = expressions.quote

    def quoted(name: str) -> str:
        return f"{prefix}{quote}{name}{quote}"

    (report, report_columns), (by_day, _by_day_columns) = view_columns(table).items()
    values = _report_values(expressions)
    columns = ", ".join(f"{values.get(name, name)} AS {quote}{name}{quote}" for name in report_columns)
    sums = {
        "answered": "CASE WHEN is_answered THEN 1 ELSE 0 END",
        "unanswered": "CASE WHEN is_answered THEN 0 ELSE 1 END",
        "talk_duration": "talk_duration",
        "call_duration": "call_duration",
    }
    counts = ", ".join(f"{_sum(value, expressions)} AS {name}" for name, value in sums.items())
    select_days = f"SELECT day, sn, pbx, type, COUNT(*) AS total, {counts} FROM {quoted(report)}"  # noqa: S608 - constants
    return (
        f"CREATE OR REPLACE VIEW {quoted(report)} AS SELECT {columns} FROM {quoted(table)}",  # noqa: S608 - constants
        f"CREATE OR REPLACE VIEW {quoted(by_day)} AS {select_days} GROUP BY day, sn, pbx, type",
    )


def _report_values(expressions: ViewExpressions) -> Mapping[str, str]:
    local_time = expressions.local_time
    return {
        "day": f"CAST({local_time} AS date)",
        "hour": f"CAST(EXTRACT(HOUR FROM {local_time}) AS {expressions.integer})",
        "weekday": f"CAST({expressions.weekday.format(time=local_time)} AS {expressions.integer})",
        # The spellings of `cdr.call_details.fold_word`.
        "is_answered": "COALESCE(UPPER(REPLACE(REPLACE(status, ' ', ''), '_', '')) IN ('ANSWERED', 'ANSWERD'), FALSE)",
        "caller_name": _party(expressions.party_name, "call_from", "''"),
        "caller_number": _party(expressions.party_number, "call_from", "call_from"),
        "called_name": _party(expressions.party_name, "call_to", "''"),
        "called_number": _party(expressions.party_number, "call_to", "call_to"),
        "trunk": "COALESCE(NULLIF(src_trunk_name, ''), dst_trunk_name)",
        "has_recording": "COALESCE(recording <> '', FALSE)",
    }


def _party(expression: str, party: str, otherwise: str) -> str:
    """Return the expression where a party is a name and a number in angle brackets, else another one."""
    has_name = f"RIGHT({party}, 1) = '>' AND POSITION('<' IN {party}) > 0"
    return f"CASE WHEN {has_name} THEN {expression.format(party=party)} ELSE {otherwise} END"


def _sum(value: str, expressions: ViewExpressions) -> str:
    return f"CAST(COALESCE(SUM({value}), 0) AS {expressions.integer})"
