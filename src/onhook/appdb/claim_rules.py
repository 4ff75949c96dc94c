"""Rules that give a role and a scope to the values of a claim of an identity provider: one a line, the first that
matches counts.

    "Phone admins" administrator
    sales reader pbxs=Office numbers=1001,1002 departments="Sales, Export" sites=Berlin mask=last3
    * reader
"""

import shlex
from collections.abc import Collection, Sequence
from typing import cast

import msgspec

from onhook.appdb.tokens import Role, validate_role
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

RULES_CHARACTERS_MAX = 10_000
RULES_MAX = 100
ANY_VALUE = "*"
"""A rule for everybody whom the provider signs in."""

_LIMITS = frozenset({"pbxs", "numbers", "departments", "sites", "mask"})


class ClaimRule(msgspec.Struct, frozen=True):
    """One line: the value of the claim, the role, and the limits of the scope by name, as they were written."""

    value: str
    role: Role
    limits: dict[str, str]


def parse_rules(text: str) -> list[ClaimRule]:
    """Return the rules of a text. Raises `UsageError`.

    >>> [(rule.value, rule.role, rule.limits) for rule in parse_rules('"Phone admins" administrator')]
    [('Phone admins', 'administrator', {})]
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) > RULES_CHARACTERS_MAX or len(lines) > RULES_MAX:
        raise _invalid(_("there are too many rules"))
    return [_parse_rule(line) for line in lines]


def find_rule(rules: Sequence[ClaimRule], values: Collection[str]) -> ClaimRule | None:
    """Return the first rule for one of the values, or None."""
    return next((rule for rule in rules if rule.value == ANY_VALUE or rule.value in values), None)


def _parse_rule(line: str) -> ClaimRule:
    try:
        words = shlex.split(line)
    except ValueError:
        raise _invalid(_("a quotation mark is missing in {line}", line=repr(line[:80]))) from None
    if len(words) < len(("value", "role")):
        raise _invalid(_("{line} has no role", line=repr(line[:80])))
    limits = dict(cast("tuple[str, str]", tuple(word.split("=", 1))) for word in words[2:] if "=" in word)
    unknown = [word for word in words[2:] if word.partition("=")[0] not in _LIMITS or "=" not in word]
    if unknown or len(limits) != len(words) - 2:
        raise _invalid(_("{word} is no limit of a scope, or is repeated", word=repr((unknown or words)[0][:80])))
    return ClaimRule(words[0], validate_role(words[1]), limits)


def _invalid(message: str) -> UsageError:
    return UsageError(
        message, location="rules", hint=_("write {example}", example="sales reader pbxs=Office numbers=1001,1002")
    )
