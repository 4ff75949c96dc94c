"""Measures and dimensions of calls: the SQL that summaries and rollups share."""

from collections.abc import Sequence

from onhook.cdr.call_details import ANSWERED
from onhook.store.contract import OUTSIDE_MARK
from onhook.store.queries.conditions import LEG_OF_CALL

_MISSED_STATUSES = {
    "voicemail": "VOICEMAIL",
    "busy": "BUSY",
    "no_answer": "NOANSWER",
    "abandoned": "ABANDONED",
    "failed": "FAILED",
}
IS_ANSWERED = f"status_folded = '{ANSWERED}'"
"""A call has a status of answered only if a person answered."""

MEASURES = {
    "calls": "count(*)",
    "answered": f"count(*) FILTER ({IS_ANSWERED})",
    "missed": f"count(*) - count(*) FILTER ({IS_ANSWERED})",
    **{name: f"count(*) FILTER (status_folded = '{status}')" for name, status in _MISSED_STATUSES.items()},
    **{name: f"sum({name})::BIGINT" for name in ("talk_duration", "call_duration", "ring_duration", "wait_duration")},
    "wait_duration_max": "max(wait_duration)",
}
"""The measures."""

COUNT_EXPRESSIONS = ", ".join(f"{sql} AS {name}" for name, sql in MEASURES.items())
SUM_EXPRESSIONS = ", ".join(
    f"max({name}) AS {name}" if name == "wait_duration_max" else f"sum({name})::BIGINT AS {name}" for name in MEASURES
)
"""The measures of calls, and those of rows that already contain them."""

_DURATION_NAMES = ("talk_duration", "call_duration", "ring_duration", "wait_duration")

OUTCOME_EXPRESSIONS = ", ".join(
    f"{MEASURES[name]} AS {name}" for name in ("calls", *_DURATION_NAMES, "wait_duration_max")
)
"""The measures of calls with one status."""


def outcome_measures(status: str) -> str:
    """Return all measures, from rows with OUTCOME_EXPRESSIONS whose status is an expression."""
    outcomes = {"answered": ANSWERED, **_MISSED_STATUSES}
    counts = {name: f"CASE WHEN {status} = '{outcome}' THEN calls ELSE 0 END" for name, outcome in outcomes.items()}
    counts["missed"] = f"calls - {counts['answered']}"
    return ", ".join(f"{counts.get(name, name)} AS {name}" for name in MEASURES)


INTERNAL_CHARACTERS_MAX = 32
"""No number or name of an extension is longer."""

IS_INTERNAL = (
    f"({{trunk}} = '' AND type_folded <> '{{opposite_type}}' AND {{number}} <> '' AND NOT starts_with({{number}}, '+')"
    f" AND length({{number}}) <= {INTERNAL_CHARACTERS_MAX})"
)
"""Whether a number may be inside the office: what came in or goes out by a trunk is not."""

MADE_BY_INTERNAL = IS_INTERNAL.format(number="from_number", trunk="src_trunk_name", opposite_type="INBOUND")
WENT_TO_INTERNAL = IS_INTERNAL.format(number="to_number", trunk="dst_trunk_name", opposite_type="OUTBOUND")

DIMENSION_COLUMNS = {
    "status": "status_folded",
    "type": "type_folded",
    "pbx": "pbx",
    "answered_by": "answered_by",
    "call_from": "from_number",
    "call_to": "to_number",
    "did_number": "did_number",
    "trunk": "CASE WHEN src_trunk_name <> '' THEN src_trunk_name ELSE dst_trunk_name END",
    "made_by": f"CASE WHEN {MADE_BY_INTERNAL} THEN from_number ELSE '' END",
    "went_to": "went_to",
}
"""Dimensions of calls besides times."""

MARKED_COLUMNS = {
    "call_from": ("from_number", "legs.leg_index = 0 AND legs.src_trunk_name <> ''"),
    "call_to": ("to_number", "legs.leg_index = 0 AND legs.dst_trunk_name <> ''"),
    "answered_by": ("answered_by", "legs.to_number = calls.answered_by AND legs.dst_trunk_name <> ''"),
}
"""Dimensions with numbers that may be outside: the column, and the test of a leg of the call that says so."""


def marked_source(dimensions: Sequence[str], source: str) -> str:
    """Return a source of calls with the columns `marked_call_from` and so on, as far as they are dimensions."""
    marks = "".join(
        f", CASE WHEN EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND {test})"
        f" THEN chr({ord(OUTSIDE_MARK)}) || calls.{column} ELSE calls.{column} END AS marked_{name}"
        for name, (column, test) in MARKED_COLUMNS.items()
        if name in dimensions
    )
    return f"(SELECT calls.*{marks} FROM {source}) AS calls"


def calls_source(dimensions: Sequence[str], leg_conditions: str = "") -> str:
    """Return the source of calls; by `went_to` a call appears once per number that it went to. `leg_conditions` limit
    the legs.
    """
    if "went_to" not in dimensions:
        return "calls"
    # Distinct by the call's numbers first, so that the legs of other calls need not be grouped.
    return (
        "(SELECT calls.*, visits.went_to FROM calls JOIN (SELECT DISTINCT call_key, sn, call_id, to_number AS went_to"
        f" FROM legs WHERE {WENT_TO_INTERNAL}{leg_conditions}) AS visits"
        " USING (call_key, sn, call_id)) AS calls"
    )
