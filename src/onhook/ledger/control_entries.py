"""Control entries: what changes the calls that are made of the raw events before it or after it, in the ledger itself.

Each store applies them in order, so that two stores made from one ledger are equal record by record:

- `FactsChanged`: the facts by which events of a PBX are read and its calls assembled, from this number on.
- `ReRead`: raw events that could not be read are read again. Without numbers: a store that begins anew reads all events
  before this number by the facts of this number, and a store that was made otherwise is to be rebuilt.
- `Forgotten`: calls whose retention period is over are deleted, each as a whole: one that has a newer event stays.
- `Erased`: a telephone number is erased from calls, which stay. Their events are read again without it, and so is what
  arrives for them later. The entry does not have the number.

Invariant: an entry that this version cannot read stops the projector: its store would differ from those of others.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from hashlib import blake2b
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.identity import fold_sn
from onhook.cdr.number_plan import NumberPlan
from onhook.ledger.contract import CONTROL_DIALECT, Ledger, LedgerEntry, RawEvent
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

KEY_BYTES = 16

ENTRIES_AT_ONCE = 1_000
"""Read in one go."""


class StoredFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`PbxFacts` as they are stored: `zone` is an IANA name or empty."""

    name: str = ""
    dialect: str = "yeastar"
    zone: str = ""
    number_plan: NumberPlan = NumberPlan()
    encoding: str = ""
    fields: tuple[str, ...] = ()
    ignores_lines: bool = False
    signers: tuple[tuple[str, ...], ...] = ()
    removed_sns: Mapping[str, int] = {}


class FactsChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="facts_changed"):
    """Facts of the PBX with the registered serial number `sn`; `sns` are all its serial numbers, folded, and none where
    nothing is known of it any more.
    """

    sn: str
    sns: tuple[str, ...]
    facts: StoredFacts = StoredFacts()


class ReRead(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="re_read"):
    """Raw events to read again, by their numbers; empty: all events before."""

    seqs: tuple[int, ...] = ()


class ForgottenCall(msgspec.Struct, frozen=True, array_like=True):
    """A call to delete; `seqs` are the raw events that it is made of."""

    sn: str
    call_id: str
    seqs: tuple[int, ...]


class Forgotten(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="forgotten"):
    """Calls to delete, each if no event of its id came after `last_seq` and before this entry; and the numbers of all
    raw events to delete, also of those that belong to no call, such as the ones in the quarantine.
    """

    last_seq: int = 0
    calls: tuple[ForgottenCall, ...] = ()
    seqs: tuple[int, ...] = ()


class ErasedCall(msgspec.Struct, frozen=True, array_like=True):
    """A call from which a number is erased; `seqs` are the raw events that it is made of. See `cdr.erasure.CallErasure`
    for the others.
    """

    sn: str
    call_id: str
    seqs: tuple[int, ...]
    label: str
    digits_min: int
    kept_texts: tuple[str, ...]


class ErasedRows(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of the application database that have the number, by their keys; see `appdb.erasures.NumberRows`."""

    notes: tuple[int, ...] = ()
    saved_searches: tuple[int, ...] = ()
    saved_questions: tuple[int, ...] = ()
    sql_history: tuple[int, ...] = ()
    share_tokens: tuple[str, ...] = ()
    audit: tuple[int, ...] = ()
    directory_entries: tuple[int, ...] = ()
    learnt_names: tuple[int, ...] = ()
    mails: tuple[int, ...] = ()
    report_schedules: tuple[int, ...] = ()
    issues: tuple[int, ...] = ()
    alarms: tuple[int, ...] = ()
    destination_reasons: tuple[int, ...] = ()
    learnt_after: int | None = None


class Erased(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="erased"):
    """Calls from which a number is erased, as they were after the entry `last_seq`, and `seqs`, raw events of which
    nothing stays, such as those in the quarantine. By its `erasure_id` a restored ledger gets each entry once.
    """

    erasure_id: str
    last_seq: int
    calls: tuple[ErasedCall, ...] = ()
    seqs: tuple[int, ...] = ()
    rows: ErasedRows = ErasedRows()


ControlEntry = FactsChanged | ReRead | Forgotten | Erased

_DECODER: msgspec.json.Decoder[ControlEntry] = msgspec.json.Decoder(ControlEntry)


def encode_control(entry: ControlEntry) -> bytes:
    """Return the body of a control entry: JSON, its members in order."""
    return msgspec.json.encode(entry, order="sorted")


def decode_control(raw_event: RawEvent) -> ControlEntry:
    """Return a control entry. Raises `Unavailable` for one of a newer Onhook."""
    return decode_body(raw_event.body, raw_event.seq)


def decode_body(body: bytes, seq: int = 0) -> ControlEntry:
    """Return the control entry of a body. Raises `Unavailable` for one of a newer Onhook."""
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(
            _("entry {seq} of the ledger cannot be read: {error}", seq=seq, error=error),
            hint=_("upgrade Onhook: a newer version wrote it"),
        ) from error


def copy_entry(entry: Erased, last_seq: int) -> Erased:
    """Return an entry for a ledger that ends with a number, such as a restored one: without what that does not have."""
    calls = tuple(
        msgspec.structs.replace(call, seqs=tuple(seq for seq in call.seqs if seq <= last_seq)) for call in entry.calls
    )
    seqs = tuple(seq for seq in entry.seqs if seq <= last_seq)
    return msgspec.structs.replace(entry, last_seq=min(last_seq, entry.last_seq), calls=calls, seqs=seqs)


def to_ledger_entries(bodies: Sequence[bytes], last_control_seq: int, now_us: int) -> list[LedgerEntry]:
    """Return the ledger's entries for bodies that follow the control entry with that number; their keys are unique."""
    return [
        LedgerEntry(
            sn="",
            dialect=CONTROL_DIALECT,
            via=CONTROL_DIALECT,
            received_at=now_us,
            key=blake2b(b"%d.%d" % (last_control_seq, index) + body, digest_size=KEY_BYTES).digest(),
            body=body,
        )
        for index, body in enumerate(bodies)
    ]


def list_facts(facts: Mapping[str, PbxFacts]) -> dict[str, FactsChanged]:
    """Return the facts of all PBXs as control entries, by registered serial number, folded."""
    sns: dict[str, list[str]] = {}
    by_sn: dict[str, PbxFacts] = {}
    for sn, pbx in facts.items():
        owner = fold_sn(pbx.sn)
        sns.setdefault(owner, []).append(sn)
        by_sn[owner] = pbx
    return {
        owner: FactsChanged(sn=pbx.sn, sns=tuple(sorted(sns[owner])), facts=_to_stored(pbx))
        for owner, pbx in by_sn.items()
    }


def find_changes(entries: Mapping[str, FactsChanged], facts: Mapping[str, PbxFacts]) -> list[FactsChanged]:
    """Return what the ledger lacks: the facts that differ from the last entry of their PBX."""
    current = list_facts(facts)
    changes = [entry for owner, entry in current.items() if entries.get(owner) != entry]
    gone = [entry for owner, entry in entries.items() if entry.sns and owner not in current]
    return changes + [FactsChanged(sn=entry.sn, sns=()) for entry in gone]


def apply_facts(facts: dict[str, PbxFacts], entry: FactsChanged) -> None:
    """Replace what is known of the PBX of an entry, in place."""
    owner = fold_sn(entry.sn)
    for sn in [sn for sn, pbx in facts.items() if fold_sn(pbx.sn) == owner]:
        del facts[sn]
    pbx = _from_stored(entry)
    facts.update(dict.fromkeys(entry.sns, pbx))


def _to_stored(pbx: PbxFacts) -> StoredFacts:
    return StoredFacts(
        name=pbx.name,
        dialect=pbx.dialect,
        zone="" if pbx.zone is None else pbx.zone.key,
        number_plan=pbx.number_plan,
        encoding=pbx.encoding,
        fields=pbx.fields,
        ignores_lines=pbx.ignores_lines,
        signers=tuple(sorted(tuple(sorted(group)) for group in pbx.signers)),
        removed_sns=dict(sorted(pbx.removed_sns.items())),
    )


def _from_stored(entry: FactsChanged) -> PbxFacts:
    stored = entry.facts
    return PbxFacts(
        sn=entry.sn,
        name=stored.name,
        dialect=stored.dialect,
        zone=_find_zone(stored.zone),
        number_plan=stored.number_plan,
        encoding=stored.encoding,
        fields=stored.fields,
        ignores_lines=stored.ignores_lines,
        signers=tuple(frozenset(group) for group in stored.signers),
        removed_sns=stored.removed_sns,
    )


def _find_zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Unavailable(
            _("unknown time zone {zone}", zone=repr(name)), hint=_("upgrade Onhook, or the package `tzdata`")
        ) from error


async def read_control_entries(ledger: Ledger, after_seq: int = 0) -> AsyncIterator[tuple[RawEvent, ControlEntry]]:
    """Yield the control entries of a ledger after a number, in order, each with its raw event. Raises `Unavailable`."""
    while raw_events := await ledger.control_entries(after_seq, ENTRIES_AT_ONCE):
        for raw_event in raw_events:
            yield raw_event, decode_control(raw_event)
        after_seq = raw_events[-1].seq


class FactsHistory:
    """The facts as of a position in the ledger, from its control entries. `re_read_seq` is the number of the entry by
    whose facts all events before it are read; 0: there is none.
    """

    def __init__(self, re_read_seq: int) -> None:
        self.re_read_seq = re_read_seq
        self.facts: Mapping[str, PbxFacts] = {}

    def load(self, entries: Iterable[tuple[int, FactsChanged]], position: int) -> None:
        """Apply all entries up to a position, or up to the one by which all events before it are read."""
        facts: dict[str, PbxFacts] = {}
        for seq, entry in entries:
            if seq <= max(position, self.re_read_seq):
                apply_facts(facts, entry)
        self.facts = facts

    def advance(self, seq: int, entry: FactsChanged) -> None:
        """Apply the entry with this number, unless the facts are later ones already. Other tasks may read the facts."""
        if seq > self.re_read_seq:
            facts = dict(self.facts)
            apply_facts(facts, entry)
            self.facts = facts
