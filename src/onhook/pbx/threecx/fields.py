"""The fields of a line of 3CX, and the values of a line by their names (lines.md 2). Pure.

Invariants: no value is shifted into another field. Names of people may have commas, and there is no quoting: where they
cannot be separated they are left empty, and their text is returned as a whole.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.lines import line_error, split_values

DEFAULT_FIELDS = (
    *("historyid", "callid", "duration", "time-start", "time-answered", "time-end", "reason-terminated"),
    *("from-no", "to-no", "from-dn", "to-dn", "dial-no", "reason-changed", "final-number", "final-dn"),
    *("bill-code", "bill-rate", "bill-cost", "bill-name", "chain"),
    *("from-type", "to-type", "final-type", "from-dispname", "to-dispname", "final-dispname", "missed-queue-calls"),
)
"""The order of a 3CX whose fields were not changed; version 18 writes the first 20 of them."""

FIELDS_MIN = 20
"""Of the default order: a shorter line was cut."""

NAME_FIELDS = ("from-dispname", "to-dispname", "final-dispname")
"""The fields whose values may have commas."""

REQUIRED_FIELDS = ("time-start", "time-end")
"""Without them a line says nothing about when a call was."""

NAMES_TAIL = "names"
"""The key of the text of names that cannot be separated."""

NAME_PIECES_MAX = 24
"""Names with more commas than that are not separated: it would take long."""

PREFIX = "Call "
"""Before the first value of each line."""

_HISTORY_ID = re.compile(r"[0-9A-Za-z_{}-]{1,64}")

Values = Mapping[str, str]
"""Values of a line by the names of their fields; a field that the line does not have is not in it."""


def parse_order(text: str) -> tuple[str, ...]:
    """Return the names of fields in a text with commas between them, in the order of the lines; none for an empty text.
    Raises `UsageError`.
    """
    names = tuple(name for part in text.split(",") if (name := part.strip().lower().replace("_", "-")))
    for name in names:
        if name not in DEFAULT_FIELDS:
            raise UsageError(
                _("a 3CX has no field {name}", name=repr(name[:40])),
                location="fields",
                hint=_("use the names of its console: {names}", names=", ".join(DEFAULT_FIELDS)),
            )
    repeated = next((name for name in names if names.count(name) > 1), "")
    missing = next((name for name in REQUIRED_FIELDS if names and name not in names), "")
    if repeated or missing:
        raise UsageError(
            _("the field {name} is named twice", name=repeated)
            if repeated
            else _("the field {name} is missing", name=missing),
            location="fields",
            hint=_("write the fields as they are in the console of the 3CX, in the same order"),
        )
    return () if names == DEFAULT_FIELDS else names


def read_values(body: bytes, order: Sequence[str] = ()) -> Values:
    """Return the values of a line; without an `order` it has that of a 3CX whose fields were not changed. Raises
    `ParseError`.
    """
    pieces = split_values(body)
    pieces[0] = pieces[0].removeprefix(PREFIX)
    if not order and not _HISTORY_ID.fullmatch(pieces[0].strip()):
        raise line_error(
            _(
                "its first field is no history id: declare the field order of this PBX with"
                " `onhook pbx change NAME --fields FIELDS`"
            )
        )
    fields, values_min = (tuple(order), len(order)) if order else (DEFAULT_FIELDS, FIELDS_MIN)
    if len(pieces) < values_min:
        raise line_error(
            _(
                "it has {count} values, and {minimum} at least are expected: it was cut, or the field order is another",
                count=len(pieces),
                minimum=values_min,
            )
        )
    return {name: value.strip() for name, value in _assign(fields, pieces)}


def _assign(fields: Sequence[str], pieces: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of fields with their values. Those before and after the names of people stand where they are."""
    if len(pieces) <= len(fields):
        yield from zip(fields, pieces, strict=False)
        return
    positions = [index for index, name in enumerate(fields) if name in NAME_FIELDS]
    if not positions:
        # A comma at the end ends the last value.
        if len(pieces) > len(fields) + 1 or pieces[-1].strip():
            raise line_error(
                _("it has {count} values, and {fields} fields are declared", count=len(pieces), fields=len(fields))
            )
        yield from zip(fields, pieces, strict=False)
        return
    first, last = positions[0], positions[-1] + 1
    after_count = len(fields) - last
    names_end = len(pieces) - after_count
    yield from zip(fields[:first], pieces, strict=False)
    yield from zip(fields[last:], pieces[names_end:], strict=True)
    values = dict(zip(fields[:first], map(str.strip, pieces), strict=False))
    yield from _assign_names(fields[first:last], pieces[first:names_end], values)


def _assign_names(fields: Sequence[str], pieces: Sequence[str], values: Values) -> Iterator[tuple[str, str]]:
    """Yield the names of people, where there is one way alone to separate them: called and final party are the same,
    and so are their names.
    """
    splits: list[tuple[str, str, str]] = []
    is_same_party = bool(values.get("to-dn")) and values.get("to-dn") == values.get("final-dn")
    if tuple(fields) == NAME_FIELDS and is_same_party and len(pieces) <= NAME_PIECES_MAX:
        for second in range(1, len(pieces) - 1):
            for third in range(second + 1, len(pieces)):
                names = (pieces[:second], pieces[second:third], pieces[third:])
                from_name, to_name, final_name = (",".join(name).strip() for name in names)
                if to_name == final_name:
                    splits.append((from_name, to_name, final_name))
    if len(splits) == 1:
        yield from zip(fields, splits[0], strict=True)
    else:
        yield NAMES_TAIL, ",".join(pieces)
