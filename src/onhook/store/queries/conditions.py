"""Filters as SQL: a row matches exactly if `RecordFilter.matches` or `RecordFilter.matches_call` returns true."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.extra_filter import ExtraFilter
from onhook.cdr.identity import extract_number
from onhook.cdr.merge import ROW_NOTE
from onhook.cdr.party_filter import PartyCondition
from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter, WordFilter
from onhook.cdr.utc_offset import get_zone
from onhook.store.queries.zones import TRANSITIONS_FROM, TRANSITIONS_UNTIL, list_offsets, offset_sql
from onhook.store.rows import epoch_seconds
from onhook.store.schema import call_key, number_suffix

_LEG_FILTERS = {
    "number": "(from_number = $number OR to_number = $number)",
    "call_from": "from_number = $call_from",
    "call_to": "to_number = $call_to",
    "trunk": "(src_trunk_name = $trunk OR dst_trunk_name = $trunk)",
    "did_number": "did_number = $did_number",
}
"""Filters that any leg of a call can satisfy."""

LEG_OF_CALL = "legs.call_key = calls.call_key AND legs.sn = calls.sn AND legs.call_id = calls.call_id"
"""Joins legs to their call."""

_NUMBER_FILTERS = ("number", "call_from", "call_to")

_ROW_FILTERS = {
    "since": "started_at >= $since",
    "until": "started_at < $until",
    "pbx": "pbx = $pbx",
    "sn": "sn = $sn",
    "call_id": "call_id = $call_id",
    "min_talk_duration": "talk_duration >= $min_talk_duration",
    "max_talk_duration": "talk_duration BETWEEN 0 AND $max_talk_duration",
}
"""Filters on records and calls alike."""

_NOTE_MEMBER = msgspec.json.encode(ROW_NOTE).decode()

_CALL_FILTERS = {
    "answered_by": "answered_by = $answered_by",
    "min_wait_duration": "wait_duration >= $min_wait_duration",
    "max_wait_duration": "wait_duration BETWEEN 0 AND $max_wait_duration",
    "min_ring_duration": "ring_duration >= $min_ring_duration",
    "max_ring_duration": "ring_duration BETWEEN 0 AND $max_ring_duration",
    "weekday": "({local_start} // 86400 + 3) % 7 + 1 = $weekday",
    "hour_of_day": "{local_start} // 3600 % 24 = $hour_of_day",
    "caller": "from_number = $caller",
    "dialled": "to_number = $dialled",
    "by_trunk": "CASE WHEN src_trunk_name <> '' THEN src_trunk_name ELSE dst_trunk_name END = $by_trunk",
    "by_did": "did_number = $by_did",
    "numbers": f"EXISTS (SELECT 1 FROM {{legs_source}} AS legs WHERE {LEG_OF_CALL}"
    " AND (list_contains($numbers, from_number) OR list_contains($numbers, to_number)))",
    "name": f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL}"
    " AND (contains(lower(coalesce(call_from, from_number)), $name)"
    " OR contains(lower(coalesce(call_to, to_number)), $name){name_parties}))",
    "call_keys": "call_key IN (SELECT unnest($call_key_numbers::BIGINT[]))"
    " AND sn || chr(31) || call_id IN (SELECT unnest($call_keys::VARCHAR[]))",
    # Only JSON with a note is parsed.
    "note": "((call_key IN (SELECT unnest($note_call_key_numbers::BIGINT[]))"
    " AND sn || chr(31) || call_id IN (SELECT unnest($note_call_keys::VARCHAR[])))"
    f" OR EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND contains(extra, '{_NOTE_MEMBER}:')"
    f" AND json_type(extra, '/{ROW_NOTE}') = 'VARCHAR'"
    f" AND contains(lower(json_extract_string(extra, '/{ROW_NOTE}')), $note)))",
    "under_way_at": "started_at <= $under_way_at AND ended_at > $under_way_at",
    "ended_since": "ended_at >= $ended_since",
}
"""Filters on calls. `{local_start}` is the start by the clock of the zone; `{legs_source}`, `{name_parties}`: see
`_call_filter_tests`.
"""

_NAME_PARTIES = "".join(
    f" OR list_contains($name_parties, {sn} || chr(31) || {number})"
    for sn in ("legs.sn", "''")
    for number in ("legs.from_number", "legs.to_number")
)


class SqlCondition(msgspec.Struct, frozen=True):
    """SQL after WHERE, and the values of its parameters."""

    sql: str
    values: dict[str, Any]

    def and_where(self, sql: str) -> "SqlCondition":
        """Return this condition and another one; `sql` consists of Onhook's own words and numbers only."""
        return SqlCondition(f"{self.sql} AND {sql}", self.values)


def both(first: SqlCondition, second: SqlCondition) -> SqlCondition:
    """Return the condition that both are met; the parameters of the second one are renamed."""
    second_sql = re.sub(r"\$(\w+)", r"$second_\1", second.sql)
    second_values = {f"second_{name}": value for name, value in second.values.items()}
    return SqlCondition(f"{first.sql} AND {second_sql}", first.values | second_values)


def leg_condition(record_filter: RecordFilter) -> SqlCondition:
    """Return the condition for rows of `legs`."""
    filters = _filter_values(record_filter)
    tests = {**_ROW_FILTERS, **_leg_filters(filters), **_suffix_filters(filters), **_word_filters(filters)}
    scope_tests = _pbx_scope(record_filter.scope) + _number_scope(record_filter.scope)
    call_tests = [
        f"EXISTS (SELECT 1 FROM calls WHERE {LEG_OF_CALL} AND {test})"
        for test in (*_call_filter_tests(record_filter), *_party_tests(record_filter, of_legs=False))
    ]
    scope_tests += _party_tests(record_filter, of_legs=True)
    return SqlCondition(
        " AND ".join(
            ["true", *(tests[name] for name in filters), *scope_tests, *call_tests, *_call_key_test(record_filter)]
        ),
        _values(filters) | _scope_values(record_filter),
    )


def legs_source(record_filter: RecordFilter) -> str:
    """Return the source of rows of `legs` for a condition of this filter, with their `rowid`; each row appears once.

    A number is compared by its suffix first, each side in a query of its own, so that DuckDB scans integers and reads
    the texts of few rows only.
    """
    if record_filter.number is None:
        return "legs"
    suffix = number_suffix(extract_number(record_filter.number))
    return (
        f"(SELECT *, rowid FROM legs WHERE from_suffix = {suffix}"
        f" UNION ALL SELECT *, rowid FROM legs WHERE to_suffix = {suffix} AND from_suffix <> {suffix}) AS legs"
    )


def call_condition(record_filter: RecordFilter, since: int | None = None, until: int | None = None) -> SqlCondition:
    """Return the condition for rows of `calls` that began in a time range: `since` and `until`, in seconds."""
    filters = _filter_values(record_filter)
    time_range = _time_range(
        "call_started_at", _latest_bound(filters.get("since"), since), _earliest_bound(filters.get("until"), until)
    )
    range_sql = "".join(f" AND {test}" for test in (*time_range, *_call_key_test(record_filter)))
    row_filters = {**_ROW_FILTERS, **_word_filters(filters)}
    leg_filters = _leg_filters(filters)
    tests = [
        f"EXISTS (SELECT 1 FROM {_legs_source(name, filters[name])}"
        f" WHERE {LEG_OF_CALL} AND {leg_filters[name]}{range_sql})"
        if name in leg_filters
        else row_filters[name]
        for name in filters
    ]
    tests += [
        f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND {test}{range_sql})"
        for test in (*_number_scope(record_filter.scope), *_party_tests(record_filter, of_legs=True))
    ]
    tests += _party_tests(record_filter, of_legs=False)
    tests += [*_pbx_scope(record_filter.scope), *_call_filter_tests(record_filter)]
    tests += [*_time_range("started_at", since, until), *_call_key_test(record_filter)]
    return SqlCondition(" AND ".join(["true", *tests]), _values(filters) | _scope_values(record_filter))


def pbx_condition(record_filter: RecordFilter) -> SqlCondition:
    """Return the condition for rows that have a PBX and a type and stand for many calls: other filters are ignored."""
    filters = {name: value for name, value in _filter_values(record_filter).items() if name in ("pbx", "sn", "type")}
    tests = {**_ROW_FILTERS, **_word_filters(filters)}
    sql = " AND ".join(["true", *(tests[name] for name in filters), *_pbx_scope(record_filter.scope)])
    return SqlCondition(sql, used_values(sql, _values(filters) | _scope_values(record_filter)))


def used_values(sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a query uses: DuckDB rejects others."""
    used_names = set(re.findall(r"\$(\w+)", sql))
    return {name: value for name, value in values.items() if name in used_names}


def _filter_values(record_filter: RecordFilter) -> dict[str, Any]:
    return {name: value for name in FILTER_NAMES if (value := getattr(record_filter, name)) is not None} | {
        name: ceil_seconds(value)
        for name in ("since", "until")
        if isinstance(value := getattr(record_filter, name), datetime)
    }


def _leg_filters(values: dict[str, Any]) -> dict[str, str]:
    """Return the SQL of the filters that any leg of a call can satisfy."""
    return {**_LEG_FILTERS, "extra": _extra_test(values["extra"])} if "extra" in values else _LEG_FILTERS


def _suffix_filters(values: dict[str, Any]) -> dict[str, str]:
    """Return the SQL of the filters on one side of a leg, by the integer first: see `legs_source`."""
    return {
        name: f"{column}_suffix = {number_suffix(extract_number(values[name]))} AND {_LEG_FILTERS[name]}"
        for name, column in (("call_from", "from"), ("call_to", "to"))
        if name in values
    }


def _extra_test(text: str) -> str:
    """Return the SQL of the filter `extra`; names and values are parameters, `$extra_path_0` and `$extra_0`. Only JSON
    that contains the name before the value is parsed.
    """
    tests = (
        f"(contains(extra, $extra_text_{number}) OR contains(extra, $extra_member_{number}))"
        f" AND json_extract_string(extra, $extra_path_{number})"
        f" = $extra_{number} AND json_type(extra, $extra_path_{number})"
        " IN ('VARCHAR', 'BIGINT', 'UBIGINT', 'BOOLEAN')"
        for number in range(len(ExtraFilter.parse(text).conditions))
    )
    return f"({' AND '.join(tests)})"


def _extra_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, (name, value) in enumerate(ExtraFilter.parse(text).conditions):
        member = f"{msgspec.json.encode(name).decode()}:"
        values[f"extra_member_{number}"] = f"{member}{value}"
        values[f"extra_text_{number}"] = f"{member}{msgspec.json.encode(value).decode()}"
        values[f"extra_path_{number}"] = "/" + name.replace("~", "~0").replace("/", "~1")
        values[f"extra_{number}"] = value
    return values


def _word_filters(values: dict[str, Any]) -> dict[str, str]:
    """Return the SQL of `status` and `type`, which may be one of several words, or none of them; each is a parameter,
    `$status_0`.
    """
    tests: dict[str, str] = {}
    for name in ("status", "type"):
        if name in values:
            words = WordFilter.parse(values[name])
            placeholders = ", ".join(f"${placeholder}" for placeholder in _word_values(name, words))
            tests[name] = f"{name}_folded {'NOT IN' if words.is_negated else 'IN'} ({placeholders})"
    return tests


def _word_values(name: str, words: WordFilter) -> dict[str, str]:
    return {f"{name}_{number}": word for number, word in enumerate(words.words)}


def _values(filters: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in filters.items():
        if name in ("status", "type"):
            values |= _word_values(name, WordFilter.parse(value))
        elif name == "extra":
            values |= _extra_values(value)
        else:
            values[name] = extract_number(value) if name in _NUMBER_FILTERS else value
    return values


def _pbx_scope(scope: AccessScope | None) -> list[str]:
    return [] if scope is None or scope.sns is None else ["list_contains($scope_sns, sn)"]


def _number_scope(scope: AccessScope | None) -> list[str]:
    """Return the test for rows of `legs`. Members may be thousands, so that they are looked up and not compared."""
    if scope is None or not scope.limits_numbers:
        return []
    tests = [f"list_contains($scope_numbers, {number})" for number in ("from_number", "to_number")]
    if scope.list_members():
        tests += [
            f"({trunk} = '' AND {number} || chr(31) || sn IN (SELECT unnest($scope_members::VARCHAR[])))"
            for trunk, number in (("src_trunk_name", "from_number"), ("dst_trunk_name", "to_number"))
        ]
    return [f"({' OR '.join(tests)})"]


def _party_tests(record_filter: RecordFilter, *, of_legs: bool) -> list[str]:
    """Return the tests of `parties`: for rows of `legs`, or for rows of `calls`."""
    return [
        _party_test(f"party_{number}", condition)
        for number, condition in enumerate(record_filter.parties or ())
        if condition.is_of_leg == of_legs
    ]


def _party_test(name: str, condition: PartyCondition) -> str:
    caller, callee = (
        f"list_contains(CASE WHEN {trunk} = '' THEN ${name}_inside::VARCHAR[] ELSE ${name}_outside::VARCHAR[] END,"
        f" legs.sn || chr(31) || legs.{number})"
        for trunk, number in (("legs.src_trunk_name", "from_number"), ("legs.dst_trunk_name", "to_number"))
    )
    tests = {
        "number": f"({caller} OR {callee})",
        "call_from": caller,
        "call_to": callee,
        "caller": f"legs.leg_index = 0 AND {caller}",
        "dialled": f"legs.leg_index = 0 AND {callee}",
        "answered_by": f"legs.to_number = calls.answered_by AND {callee}",
    }
    test = tests[condition.field]
    return test if condition.is_of_leg else f"EXISTS (SELECT 1 FROM legs WHERE {LEG_OF_CALL} AND {test})"


def _party_values(record_filter: RecordFilter) -> dict[str, Any]:
    return {
        f"party_{number}_{side}": ["\x1f".join(pair) for pair in getattr(condition, side)]
        for number, condition in enumerate(record_filter.parties or ())
        for side in ("inside", "outside")
    }


def _call_filter_tests(record_filter: RecordFilter) -> list[str]:
    """Return the tests for rows of `calls`."""
    if record_filter.call_filter is None:
        return []
    call_filter = record_filter.call_filter
    local_start = (
        f"(started_at + ({_zone_offset_sql(record_filter, call_filter)}))"
        if call_filter.weekday or call_filter.hour_of_day is not None
        else ""
    )
    legs_source = _legs_with_suffix(call_filter.numbers or ())
    return [
        test.format(
            local_start=local_start,
            legs_source=legs_source,
            name_parties=_NAME_PARTIES if call_filter.name_parties else "",
        )
        for name, test in _CALL_FILTERS.items()
        if getattr(call_filter, name) is not None
    ]


def _legs_source(name: str, value: str) -> str:
    return f"{_legs_with_suffix([extract_number(value)])} AS legs" if name in _NUMBER_FILTERS else "legs"


def _legs_with_suffix(numbers: Sequence[str]) -> str:
    """Return a source of legs with one of these suffixes on a side, some of them twice. Each side is a query of its
    own, so that DuckDB scans integers only, and not the texts.
    """
    suffixes = ", ".join(str(suffix) for suffix in sorted({number_suffix(number) for number in numbers})) or "NULL"
    return (
        f"(SELECT * FROM legs WHERE from_suffix IN ({suffixes})"
        f" UNION ALL SELECT * FROM legs WHERE to_suffix IN ({suffixes}))"
    )


def _zone_offset_sql(record_filter: RecordFilter, call_filter: CallFilter) -> str:
    first_second = TRANSITIONS_FROM if record_filter.since is None else epoch_seconds(record_filter.since)
    last_second = TRANSITIONS_UNTIL if record_filter.until is None else epoch_seconds(record_filter.until)
    return offset_sql("started_at", list_offsets(get_zone(call_filter.zone), first_second, last_second))


def _scope_values(record_filter: RecordFilter) -> dict[str, Any]:
    values: dict[str, Any] = _party_values(record_filter)
    if record_filter.scope is not None and record_filter.scope.sns is not None:
        values["scope_sns"] = list(record_filter.scope.sns)
    if record_filter.scope is not None and record_filter.scope.limits_numbers:
        values["scope_numbers"] = list(record_filter.scope.numbers or ())
        if members := record_filter.scope.list_members():
            values["scope_members"] = sorted(f"{number}\x1f{sn}" for sn, number in members)
    if record_filter.call_filter is None:
        return values
    for name in _CALL_FILTERS:
        if (value := getattr(record_filter.call_filter, name)) is not None:
            values[name] = value
            if isinstance(value, datetime):
                values[name] = ceil_seconds(value) if name == "ended_since" else epoch_seconds(value.astimezone(UTC))
    values |= {name: extract_number(values[name]) for name in ("answered_by", "caller", "dialled") if name in values}
    values |= {name: list(values[name]) for name in ("numbers",) if name in values}
    if record_filter.call_filter.call_keys is not None:
        values |= _key_values("call_keys", "call_key_numbers", record_filter.call_filter.call_keys)
    if record_filter.call_filter.name is not None and record_filter.call_filter.name_parties:
        values["name_parties"] = ["\x1f".join(party) for party in record_filter.call_filter.name_parties]
    if record_filter.call_filter.note is not None:
        values |= _key_values("note_call_keys", "note_call_key_numbers", record_filter.call_filter.note_call_keys)
    return values | {name: values[name].lower() for name in ("name", "note") if name in values}


def _key_values(keys_name: str, numbers_name: str, keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters of a condition on (`sn`, `call_id`) of calls."""
    return {
        keys_name: ["\x1f".join(key) for key in keys],
        numbers_name: sorted({call_key(call_id) for _, call_id in keys}),
    }


def _call_key_test(record_filter: RecordFilter) -> list[str]:
    """Return the test for `call_keys`: a call's id gives the position of its rows in the file."""
    return [] if record_filter.call_id is None else [f"call_key = {call_key(record_filter.call_id)}"]


def _time_range(column: str, since: int | None, until: int | None) -> list[str]:
    bounds = [] if since is None else [f"{column} >= {since}"]
    return bounds if until is None else [*bounds, f"{column} < {until}"]


def _latest_bound(left: int | None, right: int | None) -> int | None:
    return max((bound for bound in (left, right) if bound is not None), default=None)


def _earliest_bound(left: int | None, right: int | None) -> int | None:
    return min((bound for bound in (left, right) if bound is not None), default=None)


def ceil_seconds(time: datetime) -> int:
    """Round up to a whole second, in which calls begin: from 3.2 s on means from 4 s on, and before 3.2 s means before
    4 s.
    """
    return epoch_seconds(time.astimezone(UTC)) + (time.microsecond > 0)
