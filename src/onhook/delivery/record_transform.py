"""Changes of the members of records, as a destination sets them: one rule in a line. Pure.

    drop NAME                  a member of its own is removed, one of the event is empty
    rename NAME NEW_NAME       the value becomes a member of its own
    mask NAME last3|hash       a number without its last three digits, or as a keyed hash
    set NAME = TEMPLATE        a constant or computed value

Invariants: what identifies a record, and its times, are never changed. The same record gives the same result. A value
that cannot be computed is empty, and the member `transform_error` says why: the notification shows it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.cdr.call_details import NUMBER_FIELDS, CallDetails
from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import MASKS, Mask, mask_number
from onhook.cdr.record import Record
from onhook.delivery.template_functions import TemplateFailed, Work
from onhook.delivery.template_sandbox import SandboxedTemplate
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

RULES_MAX = 50
"""Lines; a record has some thirty members."""

NAME_CHARACTERS_MAX = 64

TRANSFORM_ERROR = "transform_error"
"""Member with the reason why another one could not be computed."""

_CHANGEABLE = frozenset(CallDetails.__struct_fields__) - {"call_id", "time_start", "uid", "extra"}
_FIXED = frozenset(Record.__struct_fields__) - _CHANGEABLE
_NUMBERS = NUMBER_FIELDS & _CHANGEABLE
_SYNTAX = "drop NAME, rename NAME NEW_NAME, mask NAME last3, mask NAME hash, set NAME = TEMPLATE"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One line: its verb, the member, and what the verb needs."""

    verb: str
    name: str
    new_name: str = ""
    mask: Mask = "none"
    template: SandboxedTemplate | None = None


class RecordTransform:
    """The rules of one destination. Raises `UsageError` for an invalid line."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self._rules = [_parse_rule(line, f"transform, line {number}") for number, line in enumerate(lines, 1) if line]
        if len(self._rules) > RULES_MAX:
            raise UsageError(
                _("there are {count} rules", count=len(self._rules)),
                location="transform",
                hint=_("write at most {maximum}", maximum=RULES_MAX),
            )

    @property
    def needs_key(self) -> bool:
        """Return whether a rule hashes."""
        return any(rule.mask == "hash" for rule in self._rules)

    def apply(self, record: Record, key: bytes) -> Record:
        """Return the record with all rules applied in order; `key` is that of hashes. Templates see the record as it
        was.
        """
        members = _Members(record)
        values = {"call": msgspec.to_builtins(record)}
        work = Work()
        for rule in self._rules:
            if rule.template is not None:
                members.compute(rule.name, rule.template, values, work)
            elif rule.verb == "mask":
                members.put(rule.name, _mask_value(members.get(rule.name), rule.mask, key))
            else:
                value = members.remove(rule.name)
                if rule.verb == "rename":
                    members.put(rule.new_name, value)
        return members.record()


class _Members:
    """Members of a record that is being changed: those of the event, and those of its own."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._changes: dict[str, Any] = {}
        self._extra = dict(record.extra)

    def get(self, name: str) -> Any:
        if name in _CHANGEABLE:
            return self._changes.get(name, getattr(self._record, name))
        return self._extra.get(name)

    def put(self, name: str, value: Any) -> None:
        if name in _CHANGEABLE:
            self._changes[name] = value
        elif value is not None:
            self._extra[name] = value

    def remove(self, name: str) -> Any:
        value = self.get(name)
        if name in _CHANGEABLE:
            self._changes[name] = None if name in _NUMBERS else ""
        else:
            self._extra.pop(name, None)
        return value

    def compute(self, name: str, template: SandboxedTemplate, values: dict[str, Any], work: Work) -> None:
        try:
            text = template.render(values, work).strip()
            self.put(name, _to_number(text) if name in _NUMBERS else text)
        except TemplateFailed as error:
            self.remove(name)
            self._extra[TRANSFORM_ERROR] = str(error)

    def record(self) -> Record:
        return msgspec.structs.replace(self._record, **self._changes, extra=self._extra)


def _to_number(text: str) -> int | None:
    """Return a whole number, None for an empty text. Raises `TemplateFailed`."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**31)):
        return int(text)
    raise TemplateFailed(_("{text} is not a whole number", text=repr(text[:20])), hint=_("write a number"))


def _mask_value(value: Any, mask: Mask, key: bytes) -> Any:
    """Return a number, or the number of a party without its name, masked. What is no text is removed."""
    return mask_number(extract_number(value), mask, key) if isinstance(value, str) and value else ""


def _parse_rule(line: str, location: str) -> Rule:
    verb, _blank, rest = line.partition(" ")
    words: Sequence[str] = rest.split()
    match verb, words:
        case "drop", [name]:
            return Rule(verb=verb, name=_checked_name(name, location))
        case "rename", [name, new_name]:
            if new_name in _CHANGEABLE:
                raise _rule_error(_("{name} is a member of the event", name=new_name), location)
            return Rule(verb=verb, name=_checked_name(name, location), new_name=_checked_name(new_name, location))
        case "mask", [name, ("last3" | "hash") as mask]:
            if name in _NUMBERS:
                raise _rule_error(_("{name} is not a number of a party", name=name), location)
            return Rule(verb=verb, name=_checked_name(name, location), mask=MASKS[MASKS.index(mask)])
        case "set", [name, "=", *_template]:
            source = rest.partition("=")[2].strip()
            template = SandboxedTemplate(source, "plain", variables=frozenset({"call"}), location=location)
            return Rule(verb=verb, name=_checked_name(name, location), template=template)
    raise _rule_error(_("this is not a rule: {line}", line=repr(line[:80])), location)


def _checked_name(name: str, location: str) -> str:
    if name in _FIXED or name == TRANSFORM_ERROR:
        raise _rule_error(_("{name} cannot be changed", name=name), location)
    if not name.isidentifier() or len(name) > NAME_CHARACTERS_MAX:
        raise _rule_error(_("{name} is not the name of a member", name=repr(name[:80])), location)
    return name


def _rule_error(message: str, location: str) -> UsageError:
    return UsageError(message, location=location, hint=_("write {syntax}", syntax=_SYNTAX))
