"""Filters and operators of templates (`template_sandbox`). Pure.

Invariants: each has a price in units of work, which grows with the texts it reads and makes; no text is longer than
`TEXT_CHARACTERS_MAX`, no number larger than `NUMBER_MAX`. What would exceed a limit is not computed.
"""

import operator
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Undefined, pass_context
from jinja2.runtime import Context

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_name, extract_number
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

WORK_UNITS_MAX = 20_000
"""Of one text: some milliseconds at worst (tests/delivery/test_template_sandbox.py), and a hundred times what the
largest recipe needs.
"""

CHARACTERS_PER_UNIT = 50
"""Reading or making so many characters costs about as much as calling a filter."""

TEXT_CHARACTERS_MAX = 32_768
"""Of one value: a call as JSON has some thousand."""

NUMBER_MAX = 2**63
"""More than microseconds since 1970 or any id."""

JSON_DEPTH_MAX = 20
"""Levels of a value: the members of a call have three."""

DECIMALS_MAX = 6

WORK = "work units"
"""Key of the work in the context of a template; no name in a template has a blank."""

_TIME_FORMAT = re.compile(r"(?:[^%]|%[YmdHMSyBbjAapI%])*")
"""Directives without widths: a width would make a text of any length."""


class TemplateFailed(OnhookError):
    """A template has no text for these values."""


class JsonText(str):
    """A text that is JSON already."""

    __slots__ = ()


class SecretText(str):
    """A secret, which an operator set: in a URL it may have several segments."""

    __slots__ = ()


class Work:
    """Units of work that are left."""

    def __init__(self, units: int = WORK_UNITS_MAX) -> None:
        self._units = units

    def charge(self, units: int = 1, characters: int = 0) -> None:
        """Take some units. Raises `TemplateFailed` where there are fewer."""
        self._units -= units + characters // CHARACTERS_PER_UNIT
        if self._units < 0:
            raise TemplateFailed(_("the template needs too much work"), hint=_("use fewer loops and shorter texts"))


def read_work(context: Context) -> Work:
    """Return the work of the text that is being made."""
    work: Work = context.parent[WORK]
    return work


def to_text(value: object) -> str:
    """Return a value as a text: nothing for None. Raises `TemplateFailed` for a list or a mapping."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case None:
            return ""
        case Undefined():
            return str(value)  # raises UndefinedError, with the name
    raise TemplateFailed(_("a list or a mapping is no text"), hint=_("write tojson, join, or one of its members"))


def charge_text(context: Context, value: object) -> str:
    """Return a value as a text whose length is paid for. Raises `TemplateFailed`."""
    text = to_text(value)
    read_work(context).charge(characters=len(text))
    return text


def _limit_text(context: Context, text: str) -> str:
    """Pay for a text that was made; its length is checked before where it could be large."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _too_long_error()
    read_work(context).charge(characters=len(text))
    return text


def _too_long_error() -> TemplateFailed:
    return TemplateFailed(
        _("a text of the template has more than {maximum} characters", maximum=TEXT_CHARACTERS_MAX),
        hint=_("shorten it"),
    )


# Operators

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": operator.truediv,
        "//": operator.floordiv,
        "%": operator.mod,
    }
)
OPERATORS = frozenset(_OPERATORS)

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        "eq": operator.eq,
        "ne": operator.ne,
        "lt": operator.lt,
        "lteq": operator.le,
        "gt": operator.gt,
        "gteq": operator.ge,
        "in": lambda left, right: left in right,
        "notin": lambda left, right: left not in right,
    }
)


def apply_operator(context: Context, sign: str, left: object, right: object) -> object:
    """Return the result of an operator for two numbers, or of `+` for two texts. Raises `TemplateFailed`: of a text
    `*` and `%` would make one of any length.
    """
    if isinstance(left, str) and isinstance(right, str) and sign == "+":
        return concatenated(context, (left, right))
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise TemplateFailed(_("{sign} is for two numbers", sign=sign), hint=_("join texts with ~"))
    read_work(context).charge()
    result = _OPERATORS[sign](left, right)
    if not abs(result) <= NUMBER_MAX:
        raise TemplateFailed(_("a number of the template is too large"), hint=_("compute less"))
    return result


@pass_context
def compared(context: Context, left: object, comparison: str, right: object) -> bool:
    """Return the result of a comparison of a text or a number; `in` also finds it in a list, or in the names of a
    mapping.
    """
    left = None if isinstance(left, Undefined) else left
    is_search = comparison in ("in", "notin")
    if isinstance(left, list | dict | tuple) or (isinstance(right, list | dict | tuple) and not is_search):
        raise TemplateFailed(_("lists and mappings cannot be compared"), hint=_("compare their members"))
    if isinstance(right, Undefined):
        right = () if is_search else None
    sizes = [len(value) for value in (left, right) if isinstance(value, str | list | dict | tuple)]
    if isinstance(left, str) and isinstance(right, list | tuple):
        # Each item that is as long is read too.
        sizes.append(len(left) * sum(isinstance(item, str) and len(item) == len(left) for item in right))
    read_work(context).charge(characters=sum(sizes))
    return _COMPARISONS[comparison](left, right)


@pass_context
def concatenated(context: Context, values: Iterable[object]) -> str:
    """Return the texts of some values as one (`~`)."""
    texts = [charge_text(context, value) for value in values]
    if sum(map(len, texts)) > TEXT_CHARACTERS_MAX:
        raise _too_long_error()
    return "".join(texts)


@pass_context
def bounded_items(context: Context, items: object, cost: int) -> list[object]:
    """Return the items of a loop whose steps cost so much each, paid for in advance."""
    if isinstance(items, Undefined):
        items = to_text(items)  # raises UndefinedError
    if not isinstance(items, list | tuple | dict):
        raise TemplateFailed(_("a loop needs a list"), hint=_("loop over a list or a mapping"))
    read_work(context).charge(1 + len(items) * cost)
    return list(items)


@pass_context
def slice_of(context: Context, value: object, start: int | None, stop: int | None, step: int | None) -> object:
    """Return a part of a text or of a list."""
    if isinstance(value, str | list | tuple):
        read_work(context).charge(characters=len(value))
        return value[start:stop:step]
    raise TemplateFailed(_("only a text or a list has parts"), hint=_("write tojson before"))


INTERNAL_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"=compared": compared, "=concatenated": concatenated, "=items": bounded_items, "=slice": slice_of}
)
"""Filters that stand for operators; no template can name them."""


# Filters


@pass_context
def _default(context: Context, value: object, fallback: object = "") -> object:
    """Return the value, or another one where it is missing or empty."""
    read_work(context).charge()
    return fallback if isinstance(value, Undefined) or value is None or value == "" else value


@pass_context
def _lower(context: Context, value: object) -> str:
    return _limit_text(context, charge_text(context, value).lower())


@pass_context
def _upper(context: Context, value: object) -> str:
    return _limit_text(context, charge_text(context, value).upper())


@pass_context
def _word(context: Context, value: object) -> str:
    """Return a status or type for comparison, whatever the spelling of its PBX."""
    return fold_word(charge_text(context, value))


@pass_context
def _trim(context: Context, value: object) -> str:
    return charge_text(context, value).strip()


@pass_context
def _replace(context: Context, value: object, old: object, new: object) -> str:
    text, old_text, new_text = (charge_text(context, item) for item in (value, old, new))
    if not old_text:
        return text
    growth = text.count(old_text) * (len(new_text) - len(old_text))
    if len(text) + growth > TEXT_CHARACTERS_MAX:
        raise _too_long_error()
    return _limit_text(context, text.replace(old_text, new_text))


@pass_context
def _truncate(context: Context, value: object, length: int) -> str:
    """Return the first characters."""
    return charge_text(context, value)[: max(0, length)]


@pass_context
def _join(context: Context, values: object, separator: object = ", ") -> str:
    if not isinstance(values, list | tuple):
        raise TemplateFailed(_("only a list can be joined"), hint=_("leave out join"))
    texts = [charge_text(context, value) for value in values]
    separator_text = to_text(separator)
    if sum(map(len, texts)) + len(texts) * len(separator_text) > TEXT_CHARACTERS_MAX:
        raise _too_long_error()
    return _limit_text(context, separator_text.join(texts))


@pass_context
def _length(context: Context, value: object) -> int:
    read_work(context).charge()
    if isinstance(value, str | list | tuple | dict):
        return len(value)
    return len(to_text(value))


@pass_context
def _first(context: Context, value: object) -> object:
    read_work(context).charge()
    return value[0] if isinstance(value, str | list | tuple) and value else ""


@pass_context
def _last(context: Context, value: object) -> object:
    read_work(context).charge()
    return value[-1] if isinstance(value, str | list | tuple) and value else ""


@pass_context
def _int(context: Context, value: object) -> int:
    """Return a whole number; 0 for a text that is none."""
    text = charge_text(context, value).strip()[:30]
    try:
        number = float(text)
        return int(number) if abs(number) <= NUMBER_MAX else 0
    except ValueError:
        return 0


@pass_context
def _round(context: Context, value: object, decimals: int = 0) -> float | int:
    read_work(context).charge()
    if not isinstance(value, int | float):
        raise TemplateFailed(_("only a number can be rounded"), hint=_("write int before round"))
    rounded = round(value, min(max(decimals, 0), DECIMALS_MAX))
    return rounded if decimals else int(rounded)


@pass_context
def _tojson(context: Context, value: object) -> JsonText:
    """Return a value as JSON."""
    work = read_work(context)
    _charge_value(work, value, 0)
    text = msgspec.json.encode(value).decode()
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _too_long_error()
    return JsonText(text)


def _charge_value(work: Work, value: object, depth: int) -> None:
    """Pay for a value with all its parts before it is written: one list can contain another one many times."""
    if depth > JSON_DEPTH_MAX:
        raise TemplateFailed(_("a value has too many levels for JSON"), hint=_("write one of its members"))
    match value:
        case str():
            work.charge(characters=len(value))
        case dict():
            work.charge()
            for name, member in value.items():
                _charge_value(work, name, depth + 1)
                _charge_value(work, member, depth + 1)
        case list() | tuple():
            work.charge()
            for item in value:
                _charge_value(work, item, depth + 1)
        case _:
            work.charge(characters=len(to_text(value)))


@pass_context
def _base64(context: Context, value: object) -> str:
    return _limit_text(context, b64encode(charge_text(context, value).encode("utf-8", "replace")).decode())


@pass_context
def _urlencode(context: Context, value: object) -> str:
    return _limit_text(context, quote(charge_text(context, value), safe=""))


@pass_context
def _number(context: Context, value: object) -> str:
    """Return the number of a party, such as `1002` of `Bob<1002>`."""
    return extract_number(charge_text(context, value))


@pass_context
def _name(context: Context, value: object) -> str:
    """Return the name of a party, such as `Bob` of `Bob<1002>`; empty where there is none."""
    return extract_name(charge_text(context, value))


@pass_context
def _epoch(context: Context, value: object) -> int | str:
    """Return the seconds since 1970 of a time in ISO 8601; empty for none."""
    time = _parse_time(context, value)
    return "" if time is None else int(time.timestamp())


@pass_context
def _time(context: Context, value: object, time_format: str) -> str:
    """Return a time in ISO 8601 in another format, in UTC; empty for none."""
    time = _parse_time(context, value)
    if not _TIME_FORMAT.fullmatch(charge_text(context, time_format)):
        raise TemplateFailed(
            _("invalid format of a time: {format}", format=repr(time_format[:80])),
            hint=_("use {directives}", directives="%Y %m %d %H %M %S %y %B %b %j %A %a %p %I %%"),
        )
    return "" if time is None else _limit_text(context, time.strftime(time_format))


def _parse_time(context: Context, value: object) -> datetime | None:
    text = charge_text(context, value)
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


@pass_context
def _duration(context: Context, value: object) -> str:
    """Return seconds as `M:SS` or `H:MM:SS`; empty for none."""
    read_work(context).charge()
    if not isinstance(value, int | float):
        return ""
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "base64": _base64,
        "default": _default,
        "duration": _duration,
        "epoch": _epoch,
        "first": _first,
        "int": _int,
        "join": _join,
        "last": _last,
        "length": _length,
        "lower": _lower,
        "word": _word,
        "name": _name,
        "number": _number,
        "replace": _replace,
        "round": _round,
        "time": _time,
        "tojson": _tojson,
        "trim": _trim,
        "truncate": _truncate,
        "upper": _upper,
        "urlencode": _urlencode,
    }
)
"""Filters that templates have, by their names."""


TESTS: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "defined": lambda value: not isinstance(value, Undefined),
        "undefined": lambda value: isinstance(value, Undefined),
        "none": lambda value: value is None,
        "string": lambda value: isinstance(value, str),
        "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "mapping": lambda value: isinstance(value, dict),
    }
)
"""Tests that templates have. Jinja's `odd` and others would format a text of any length with `%`."""
