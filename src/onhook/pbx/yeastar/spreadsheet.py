"""How spreadsheets change the values of a file that they save again: ids are rounded to 15 digits, lose zeros at their
end, or are written with an exponent; times lose their seconds. Pure.

Invariant: one value is changed for certain only in a form that no id has. For all others the whole file decides: a
spreadsheet changes all numbers of a column.
"""

import re
from collections.abc import Mapping
from typing import Any

_CHANGED_FORM = re.compile(
    r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}"  # 2.02611E+18
    r"|[0-9]{1,3}(?:[.,'\u2019\s][0-9]{3}){3,}(?:[.,][0-9]+)?"  # 2.026.112.803.514.010.000
    r"|[0-9]{15,}[.,]0+"  # 2026112803514010000.00
)
_ROUNDED = re.compile(r"[0-9]{15}0{4}")
_DIGITS = re.compile(r"[0-9]{19}")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)?")
_WITHOUT_SECONDS = re.compile(r"([0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4} +[0-9]{1,2}:[0-9]{2})( ?[AaPp][Mm])?")

ID_NAMES = ("id", "uid")

EVIDENCE_ZEROS = 4
"""Zeros at the end of the ids of a file, together, which come by chance once in 10,000 files."""


def has_changed_form(value: object) -> bool:
    """Return whether a value has a form that a spreadsheet gives to ids, and no id has.

    >>> [has_changed_form(text) for text in ("2.02611E+18", "2.026.112.803.514.010.000", "20260630213717123E5")]
    [True, True, False]
    """
    return _CHANGED_FORM.fullmatch(str(value).strip()) is not None


def is_perhaps_rounded(value: object) -> bool:
    """Return whether a spreadsheet may have rounded a value, or brought it into another form."""
    return has_changed_form(value) or _ROUNDED.fullmatch(str(value).strip()) is not None


def is_number(value: object) -> bool:
    """Return whether a spreadsheet takes a value for a number, and so changes it."""
    return has_changed_form(value) or _NUMBER.fullmatch(str(value).strip()) is not None


def lacks_seconds(time_text: str) -> bool:
    """Return whether a time ends with its minutes."""
    return _WITHOUT_SECONDS.fullmatch(time_text) is not None


def add_seconds(time_text: str) -> str:
    """Return a time that ends with its minutes as that of their first second.

    >>> add_seconds("11/28/2026 3:51 AM")
    '11/28/2026 3:51:00 AM'
    """
    return _WITHOUT_SECONDS.sub(lambda match: f"{match[1]}:00{match[2] or ''}", time_text)


class RoundingEvidence:
    """Whether a spreadsheet has rounded the ids of a file, by all its lines."""

    def __init__(self) -> None:
        self._has_changed_id = False
        self._zeros = EVIDENCE_ZEROS
        self._ids: set[str] = set()

    def add(self, members: Mapping[str, Any], time_text: str) -> None:
        """Add a line, by the names of the PBX's list."""
        ids = [str(members[name]).strip() for name in (*ID_NAMES, "call_id") if name in members]
        self._has_changed_id |= any(map(has_changed_form, ids))
        self._has_changed_id |= lacks_seconds(time_text) and is_number(members.get("call_id", ""))
        for text in ids:
            if _DIGITS.fullmatch(text):
                self._zeros = min(self._zeros, len(text) - len(text.rstrip("0")))
                if len(self._ids) < EVIDENCE_ZEROS:
                    self._ids.add(text)

    @property
    def is_rounded(self) -> bool:
        """Return whether an id has another form, or all ids of digits alone end in zeros."""
        return self._has_changed_id or self._zeros * len(self._ids) >= EVIDENCE_ZEROS
