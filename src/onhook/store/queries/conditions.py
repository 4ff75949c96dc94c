"""Filters as SQL: a row passes exactly when `Filter.matches` or `Filter.matches_call` says so."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from onhook.cdr.access_scope import Limits
from onhook.cdr.call_filter import Aspects
from onhook.cdr.identity import number_of
from onhook.cdr.record_filter import FILTER_NAMES, Filter, Words
from onhook.cdr.utc_offset import zone_named
from onhook.store.queries.zones import CHANGES_FROM, CHANGES_UNTIL, as_sql, offsets
from onhook.store.rows import seconds
from onhook.store.schema import call_key, line_of

_LEG_FILTERS = {
    "number": "(from_number = $number OR to_number = $number)",
    "call_from": "from_number = $call_from",
    "call_to": "to_number = $call_to",
    "trunk": "(src_trunk_name = $trunk OR dst_trunk_name = $trunk)",
    "did_number": "did_number = $did_number",
}
"""What a call answers by any of its legs."""

ITS_LEG = "legs.call_key = calls.call_key AND legs.sn = calls.sn AND legs.call_id = calls.call_id"
"""For a question about the legs of a call."""

_NUMBERS = ("number", "call_from", "call_to")

_ROW_FILTERS = {
    "since": "started_at >= $since",
    "until": "started_at < $until",
    "pbx": "pbx = $pbx",
    "sn": "sn = $sn",
    "call_id": "call_id = $call_id",
    "min_talk_duration": "talk_duration >= $min_talk_duration",
    "max_talk_duration": "talk_duration BETWEEN 0 AND $max_talk_duration",
}
"""What a record and a call answer alike."""

_ASPECTS = {
    "answered_by": "answered_by = $answered_by",
    "min_wait_duration": "wait_duration >= $min_wait_duration",
    "max_wait_duration": "wait_duration BETWEEN 0 AND $max_wait_duration",
    "min_ring_duration": "ring_duration >= $min_ring_duration",
    "max_ring_duration": "ring_duration BETWEEN 0 AND $max_ring_duration",
    "weekday": "({local} // 86400 + 3) % 7 + 1 = $weekday",
    "hour_of_day": "{local} // 3600 % 24 = $hour_of_day",
    "caller": "from_number = $caller",
    "dialled": "to_number = $dialled",
    "by_trunk": "CASE WHEN src_trunk_name <> '' THEN src_trunk_name ELSE dst_trunk_name END = $by_trunk",
    "by_did": "did_number = $by_did",
    "numbers": f"EXISTS (SELECT 1 FROM {{of_lines}} AS legs WHERE {ITS_LEG} AND (list_contains($numbers, from_number)"
    " OR list_contains($numbers, to_number)))",
    "name": f"EXISTS (SELECT 1 FROM legs WHERE {ITS_LEG} AND (contains(lower(coalesce(call_from, from_number)), $name)"
    " OR contains(lower(coalesce(call_to, to_number)), $name)))",
    "among": "call_key IN (SELECT unnest($among_keys::BIGINT[]))"
    " AND sn || chr(31) || call_id IN (SELECT unnest($among::VARCHAR[]))",
    "under_way_at": "started_at <= $under_way_at AND ended_at > $under_way_at",
}
"""What only a call answers. `{local}` is its start by the clocks of the zone asked for; `{of_lines}`: see there."""


class Condition(msgspec.Struct, frozen=True):
    """Text for behind WHERE, and the values that it names."""

    sql: str
    values: dict[str, Any]

    def also(self, sql: str) -> "Condition":
        """This and that; `sql` holds nothing but our own words and numbers."""
        return Condition(f"{self.sql} AND {sql}", self.values)


def for_legs(where: Filter) -> Condition:
    """For rows of `legs`."""
    asked = _asked(where)
    tests = {**_ROW_FILTERS, **_LEG_FILTERS, **_word_filters(asked)}
    seen = _pbx_limit(where.within) + _number_limit(where.within)
    whole = [f"EXISTS (SELECT 1 FROM calls WHERE {ITS_LEG} AND {test})" for test in _aspect_tests(where)]
    return Condition(
        " AND ".join(["true", *(tests[name] for name in asked), *seen, *whole, *_corner(where)]),
        _values(asked) | _more_values(where),
    )


def for_calls(where: Filter, since: int | None = None, until: int | None = None) -> Condition:
    """For rows of `calls`, and only those that began in a stretch of time: `since` and `until`, in seconds."""
    asked = _asked(where)
    stretch = _stretch("call_started_at", _later(asked.get("since"), since), _earlier(asked.get("until"), until))
    narrow = "".join(f" AND {test}" for test in (*stretch, *_corner(where)))
    rows = {**_ROW_FILTERS, **_word_filters(asked)}
    tests = [
        f"EXISTS (SELECT 1 FROM {_legs_for(name, asked[name])} WHERE {ITS_LEG} AND {_LEG_FILTERS[name]}{narrow})"
        if name in _LEG_FILTERS
        else rows[name]
        for name in asked
    ]
    tests += [f"EXISTS (SELECT 1 FROM legs WHERE {ITS_LEG} AND {test}{narrow})" for test in _number_limit(where.within)]
    tests += [*_pbx_limit(where.within), *_aspect_tests(where)]
    tests += [*_stretch("started_at", since, until), *_corner(where)]
    return Condition(" AND ".join(["true", *tests]), _values(asked) | _more_values(where))


def for_pbxs(where: Filter) -> Condition:
    """For rows that have a PBX and a type and stand for many calls: no other filter is looked at."""
    asked = {name: value for name, value in _asked(where).items() if name in ("pbx", "sn", "type")}
    tests = {**_ROW_FILTERS, **_word_filters(asked)}
    sql = " AND ".join(["true", *(tests[name] for name in asked), *_pbx_limit(where.within)])
    return Condition(sql, named_in(sql, _values(asked) | _more_values(where)))


def named_in(sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a question names: the engine refuses others."""
    named = set(re.findall(r"\$(\w+)", sql))
    return {name: value for name, value in values.items() if name in named}


def _asked(where: Filter) -> dict[str, Any]:
    return {name: value for name in FILTER_NAMES if (value := getattr(where, name)) is not None} | {
        name: whole_seconds(value) for name in ("since", "until") if isinstance(value := getattr(where, name), datetime)
    }


def _word_filters(asked: dict[str, Any]) -> dict[str, str]:
    """`status` and `type` may be one of several words, or none of them; each is a value of its own, `$status_0`."""
    filters: dict[str, str] = {}
    for name in ("status", "type"):
        if name in asked:
            words = Words.read(asked[name])
            places = ", ".join(f"${place}" for place in _places(name, words))
            filters[name] = f"{name}_folded {'NOT IN' if words.is_not else 'IN'} ({places})"
    return filters


def _places(name: str, words: Words) -> dict[str, str]:
    return {f"{name}_{number}": word for number, word in enumerate(words.words)}


def _values(asked: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in asked.items():
        if name in ("status", "type"):
            values |= _places(name, Words.read(value))
        else:
            values[name] = number_of(value) if name in _NUMBERS else value
    return values


def _pbx_limit(within: Limits | None) -> list[str]:
    return [] if within is None or within.sns is None else ["list_contains($within_sns, sn)"]


def _number_limit(within: Limits | None) -> list[str]:
    if within is None or within.numbers is None:
        return []
    return ["(list_contains($within_numbers, from_number) OR list_contains($within_numbers, to_number))"]


def _aspect_tests(where: Filter) -> list[str]:
    """For rows of `calls`."""
    if where.aspects is None:
        return []
    asked = where.aspects
    local = f"(started_at + ({_offset(where, asked)}))" if asked.weekday or asked.hour_of_day is not None else ""
    of_lines = _of_lines(asked.numbers or ())
    return [
        test.format(local=local, of_lines=of_lines)
        for name, test in _ASPECTS.items()
        if getattr(asked, name) is not None
    ]


def _legs_for(name: str, value: str) -> str:
    return f"{_of_lines([number_of(value)])} AS legs" if name in _NUMBERS else "legs"


def _of_lines(numbers: Sequence[str]) -> str:
    """The legs with one of these lines on a side, some of them twice. Each side by itself, so that the engine looks
    through whole numbers only, and not through the texts."""
    lines = ", ".join(str(line) for line in sorted({line_of(number) for number in numbers})) or "NULL"
    return f"(SELECT * FROM legs WHERE from_line IN ({lines}) UNION ALL SELECT * FROM legs WHERE to_line IN ({lines}))"


def _offset(where: Filter, asked: Aspects) -> str:
    first = CHANGES_FROM if where.since is None else seconds(where.since)
    last = CHANGES_UNTIL if where.until is None else seconds(where.until)
    return as_sql("started_at", offsets(zone_named(asked.zone), first, last))


def _more_values(where: Filter) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if where.within is not None and where.within.sns is not None:
        values["within_sns"] = list(where.within.sns)
    if where.within is not None and where.within.numbers is not None:
        values["within_numbers"] = list(where.within.numbers)
    if where.aspects is None:
        return values
    for name in _ASPECTS:
        if (value := getattr(where.aspects, name)) is not None:
            values[name] = seconds(value.astimezone(UTC)) if isinstance(value, datetime) else value
    values |= {name: number_of(values[name]) for name in ("answered_by", "caller", "dialled") if name in values}
    values |= {name: list(values[name]) for name in ("numbers",) if name in values}
    if where.aspects.among is not None:
        values["among"] = ["\x1f".join(one) for one in where.aspects.among]
        values["among_keys"] = sorted({call_key(call_id) for _, call_id in where.aspects.among})
    return values | {name: values[name].lower() for name in ("name",) if name in values}


def _corner(where: Filter) -> list[str]:
    """A call's id says in which corner of the file its rows are."""
    return [] if where.call_id is None else [f"call_key = {call_key(where.call_id)}"]


def _stretch(column: str, since: int | None, until: int | None) -> list[str]:
    bounds = [] if since is None else [f"{column} >= {since}"]
    return bounds if until is None else [*bounds, f"{column} < {until}"]


def _later(one: int | None, other: int | None) -> int | None:
    return max((bound for bound in (one, other) if bound is not None), default=None)


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


def whole_seconds(at: datetime) -> int:
    """Calls begin at whole seconds: from 3.2 s on means from 4 s on, and before 3.2 s means before 4 s."""
    return seconds(at.astimezone(UTC)) + (at.microsecond > 0)
