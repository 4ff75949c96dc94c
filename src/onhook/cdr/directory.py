"""Directory: names of numbers, which records do not have or a person knows better. Pure.

Invariants: a name that was set beats one that the PBX lists, and that one beats a name that was learnt from events. A
number of a PBX is looked for in that PBX alone. A number outside is looked for among the contacts alone, so that `1001`
outside is not the extension 1001.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from onhook.cdr.identity import differ_in_prefix, extract_name, extract_number
from onhook.cdr.number_masking import canonical_digits, is_masked
from onhook.cdr.record import Call, Record
from onhook.lib.errors import UsageError, _

EntryKind = Literal["extension", "queue", "ring_group", "ivr", "conference", "did", "contact"]

ENTRY_KINDS: tuple[EntryKind, ...] = get_args(EntryKind)

NUMBER_CHARACTERS_MAX = 40
"""No telephone number is longer, separators included."""

TEXT_CHARACTERS_MAX = 100
"""Of a name, department, site or company."""

CONTACT_DIGITS_MIN = 3
"""A shorter number is no telephone number outside."""

SUFFIX_DIGITS = 8
"""Notations of a number outside are equal in these last digits: prefixes for line, country and area vary. A shorter
number must be equal.
"""


class DirectoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its name, as a person or an import has set it. `sn` is the serial number of its PBX, empty for a
    contact outside; `department` and `site` are those of a number of a PBX, `company` that of a contact.
    """

    sn: str = ""
    number: str
    kind: EntryKind = "extension"
    name: str
    department: str = ""
    site: str = ""
    company: str = ""

    @property
    def shown_name(self) -> str:
        """Return the name, of a contact with its company."""
        return f"{self.name}, {self.company}" if self.company and self.company != self.name else self.name


class PbxName(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a number of a PBX in the PBX's own lists."""

    sn: str
    number: str
    kind: EntryKind
    name: str


class LearntName(msgspec.Struct, frozen=True, kw_only=True):
    """The latest name of a number of a PBX in events."""

    sn: str
    number: str
    name: str


def check_entry(entry: DirectoryEntry) -> DirectoryEntry:
    """Return an entry with its texts trimmed. Raises `UsageError`, with the invalid field."""
    texts = {name: getattr(entry, name).strip() for name in ("sn", "number", "name", "department", "site", "company")}
    trimmed = msgspec.structs.replace(entry, **texts)
    for field, text in texts.items():
        limit = NUMBER_CHARACTERS_MAX if field == "number" else TEXT_CHARACTERS_MAX
        if len(text) > limit or not text.isprintable():
            raise UsageError(
                _("invalid {field}: {value}", field=field, value=repr(text[:20])),
                parameter=field,
                hint=_("write at most {limit} printable characters", limit=limit),
            )
    for field in ("number", "name"):
        if not texts[field]:
            raise UsageError(_("the {field} is missing", field=field), parameter=field)
    _check_kind(trimmed)
    return trimmed


def _check_kind(entry: DirectoryEntry) -> None:
    if entry.kind == "contact":
        if entry.sn or entry.department or entry.site:
            raise UsageError(
                _("a contact belongs to no PBX, department or site"),
                parameter="kind",
                hint=_("leave these out, or choose another kind"),
            )
        if sum(character.isdigit() for character in entry.number) < CONTACT_DIGITS_MIN:
            raise UsageError(
                _("{number} is not a telephone number", number=repr(entry.number)),
                parameter="number",
                hint=_("write it with its country, such as +49 30 901820"),
            )
    elif not entry.sn:
        raise UsageError(_("the PBX is missing"), parameter="pbx", hint=_("only a contact has none"))
    elif entry.company:
        raise UsageError(_("only a contact has a company"), parameter="company", hint=_("use department"))


class NameDirectory:
    """Names by number, for showing them."""

    def __init__(
        self,
        entries: Iterable[DirectoryEntry] = (),
        learnt_names: Iterable[LearntName] = (),
        pbx_names: Iterable[PbxName] = (),
    ) -> None:
        self._names: dict[tuple[str, str], str] = {(learnt.sn, learnt.number): learnt.name for learnt in learnt_names}
        self._names |= {(pbx_name.sn, pbx_name.number): pbx_name.name for pbx_name in pbx_names}
        self._contacts: dict[str, list[tuple[str, str]]] = {}
        self._sns_by_number: dict[str, list[str]] = {}
        for entry in entries:
            if entry.kind == "contact":
                digits = _significant_digits(entry.number)
                self._contacts.setdefault(digits[-SUFFIX_DIGITS:], []).append((digits, entry.shown_name))
            else:
                self._names[entry.sn, entry.number] = entry.name
        for sn, number in self._names:
            self._sns_by_number.setdefault(number, []).append(sn)

    def find_name(self, sn: str, number: str) -> str:
        """Return the name of a number of a PBX; empty where it has none."""
        return self._names.get((sn, number), "")

    def find_contact(self, number: str) -> str:
        """Return the name of a number outside, in whatever notation; the one with the most digits in common. Empty
        where it has none.
        """
        if is_masked(number):
            return ""
        digits = _significant_digits(number)
        matches = [
            (contact_digits == digits, len(contact_digits), name)
            for contact_digits, name in self._contacts.get(digits[-SUFFIX_DIGITS:], ())
            if contact_digits == digits or differ_in_prefix(contact_digits, digits, common_digits_min=SUFFIX_DIGITS)
        ]
        return max(matches)[2] if matches else ""

    def find_name_in(self, sns: Sequence[str] | None, number: str) -> str:
        """Return the name of a number of one of these PBXs, or of any; else that of a contact. Empty where PBXs have
        different ones.
        """
        candidates = self._sns_by_number.get(number, ())
        names = {self._names[sn, number] for sn in candidates if sns is None or sn in sns}
        if len(names) > 1:
            return ""
        return names.pop() if names else self.find_contact(number)

    def find_party_name(self, sn: str, party: str, *, is_outside: bool) -> str:
        """Return the name of a party that has none; empty where it has one, or none is known."""
        number = extract_number(party)
        if not number or extract_name(party) not in ("", number):
            return ""
        return (not is_outside and self.find_name(sn, number)) or self.find_contact(number)

    def find_shown_name(self, sn: str, party: str, *, is_outside: bool) -> str:
        """Return the name that is shown for a party: its own, else that of the directory; empty where neither has
        one.
        """
        own_name = extract_name(party)
        if own_name not in ("", extract_number(party)):
            return own_name
        return self.find_party_name(sn, party, is_outside=is_outside)

    def name_party(self, sn: str, party: str, *, is_outside: bool) -> str:
        """Return a party with its name: `Alice<1001>`. One that has a name, or of which none is known, is unchanged."""
        name = self.find_party_name(sn, party, is_outside=is_outside)
        return f"{name}<{extract_number(party)}>" if name else party

    def name_did(self, sn: str, did: str) -> str:
        """Return a DID number with its name, as a party; one without a name is unchanged. A contact of the same number
        is another one.
        """
        name = self.find_name(sn, did)
        return f"{name}<{did}>" if name else did

    def name_call(self, call: Call) -> Call:
        """Return a call whose parties and DID have names. Its legs are as the PBX has sent them."""
        first = call.legs[0]
        answered_leg = _find_leg(call.legs, call.answered_by)
        called_leg = _find_leg(call.legs, extract_number(call.call_to)) or first
        return msgspec.structs.replace(
            call,
            did_number=self.name_did(call.sn, call.did_number),
            call_from=self.name_party(call.sn, call.call_from, is_outside=bool(first.src_trunk_name)),
            call_to=self.name_party(call.sn, call.call_to, is_outside=bool(called_leg.dst_trunk_name)),
            answered_by=self.name_party(
                call.sn,
                call.answered_by if answered_leg is None else answered_leg.call_to,
                is_outside=answered_leg is not None and bool(answered_leg.dst_trunk_name),
            ),
        )


NO_NAMES = NameDirectory()
"""Where names are not looked up."""


def _find_leg(legs: Sequence[Record], number: str) -> Record | None:
    return next((leg for leg in legs if number and extract_number(leg.call_to) == number), None)


def _significant_digits(number: str) -> str:
    """Return the digits of a number without the zeros for country, area or line; those of a short one as they are."""
    digits = canonical_digits(number)
    significant = digits.lstrip("0")
    return significant if len(significant) >= SUFFIX_DIGITS else digits
