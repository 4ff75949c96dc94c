"""The filter on members of `extra`: `account_code=4711`, or several that must all match, `account_code=4711,team=red`.

Members of `extra` are what a PBX sends beyond the 18 fields: account codes, user fields, columns of one's own.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.lib.errors import UsageError, _

CONDITIONS_MAX = 10
"""Each costs a look into the JSON of a record."""

NAME_CHARACTERS_MAX = 64
"""As long as the name of a column in MySQL and PostgreSQL."""

_SEPARATOR = re.compile(r",(?=[^,=]+=)")
_WHOLE_NUMBERS = range(-(2**63), 2**64)


class ExtraFilter(msgspec.Struct, frozen=True):
    """Pairs of name and value; a record matches if each member has that value.

    Texts, whole numbers (of 64 bits) and booleans (`true`, `false`) are compared as texts, exactly; other values never
    match. A comma in a value counts as one unless `NAME=` follows.
    """

    conditions: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> "ExtraFilter":
        """Parse the text of a filter. Raises `UsageError`.

        >>> ExtraFilter.parse("account_code=4711, note=a, b").conditions
        (('account_code', '4711'), ('note', 'a, b'))
        """
        conditions = []
        for part in _SEPARATOR.split(text):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not (name and equals and value) or len(name) > NAME_CHARACTERS_MAX:
                raise UsageError(
                    _("invalid extra: {value!r}", value=part[:80]),
                    hint=_("write NAME=VALUE, such as account_code=4711; several are separated by commas"),
                    parameter="extra",
                )
            conditions.append((name, value))
        if len(conditions) > CONDITIONS_MAX:
            raise UsageError(
                _("extra has more than {limit} conditions", limit=CONDITIONS_MAX),
                hint=_("leave some out"),
                parameter="extra",
            )
        return cls(tuple(conditions))

    def matches(self, extra: Mapping[str, Any]) -> bool:
        """Return whether the members of a record match."""
        return all(_format_value(extra.get(name)) == value for name, value in self.conditions)


def _format_value(value: Any) -> str | None:
    """Return the text with which a value is compared; None if it never matches."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value in _WHOLE_NUMBERS else None
    return value if isinstance(value, str) else None
