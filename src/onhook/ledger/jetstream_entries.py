"""Entries as messages (MessagePack), and contents that replace those of an entry under its number.

A message of a stream cannot be changed. So what replaces the content of an entry is stored in the second stream, and
then the entry's own message is deleted; readers find a gap, and what stands for it.
"""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Collection
from secrets import token_hex
from typing import NamedTuple

import msgspec

from onhook.ledger.contract import CONTROL_DIALECT, LedgerEntry, RawEvent
from onhook.ledger.jetstream_client import JetStreamClient, MessageMissing, StoredMessage
from onhook.ledger.jetstream_streams import StreamNames
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

INT64_MAX = 2**63 - 1
"""Of times, in every ledger."""

PAGE_SIZE = 1_000
PAGE_BYTES = 16 * 1024 * 1024

GET_SUBJECTS = 32
"""In one request: their bodies fit in what a server sends at a time."""


class StoredEntry(msgspec.Struct, frozen=True, array_like=True):
    """The content of a message. A later version may append fields."""

    sn: str
    dialect: str
    via: str
    received_at: int
    key: bytes
    body: bytes
    signature: str
    peer: str


_DECODER = msgspec.msgpack.Decoder(StoredEntry)


def encode_entry(entry: LedgerEntry) -> bytes:
    """Return an entry as a message. Raises `UnicodeEncodeError`, `OverflowError` for a value that cannot be stored."""
    if not -INT64_MAX <= entry.received_at <= INT64_MAX:
        raise OverflowError
    return msgspec.msgpack.encode(StoredEntry(**{name: getattr(entry, name) for name in StoredEntry.__struct_fields__}))


def decode_entry(seq: int, body: bytes) -> RawEvent:
    """Return the entry of a message. Raises `Unavailable` where it is not one."""
    try:
        return RawEvent(seq=seq, **msgspec.structs.asdict(_DECODER.decode(body)))
    except msgspec.DecodeError as error:
        raise Unavailable(
            _("entry {seq} of the ledger cannot be read: {error}", seq=seq, error=error),
            hint=_("upgrade Onhook: a newer version wrote it"),
        ) from error


class _Replacement(NamedTuple):
    """The message with the content of an entry."""

    message_seq: int
    subject: str


class ReplacedContents:
    """The contents that replace those of entries; where they are is in memory, a hundred bytes for each."""

    def __init__(self, client: JetStreamClient, names: StreamNames) -> None:
        self._client = client
        self._names = names
        self._position = 0
        self._replacements: dict[int, _Replacement] = {}
        self._seqs: list[int] = []
        self._control_seqs: list[int] = []
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Note what any process has replaced. Raises `Unavailable`."""
        async with self._lock:
            subject = self._names.state_subject("contents", ">")
            # The leader first: mostly there is nothing new.
            while await self._client.find_message(self._names.state, seq=self._position + 1, next_by_subj=subject):
                for message in await self._client.read_messages(
                    self._names.state, subject, self._position, PAGE_SIZE, PAGE_BYTES
                ):
                    self._note(message)

    def last_seq(self, *, is_control: bool) -> int:
        """Return the highest number of an entry whose content was replaced, or of a control entry; 0 where there is
        none.
        """
        seqs = self._control_seqs if is_control else self._seqs
        return seqs[-1] if seqs else 0

    async def has_events(self) -> bool:
        """Return whether the content of an event was replaced."""
        await self.refresh()
        return len(self._seqs) > len(self._control_seqs)

    def list_seqs(self, after_seq: int, last_seq: int, limit: int, *, is_control: bool) -> list[int]:
        """Return the numbers of such entries after a number, and not after `last_seq`, at most `limit`."""
        seqs = self._control_seqs if is_control else self._seqs
        first = bisect_right(seqs, after_seq)
        return seqs[first : min(bisect_right(seqs, last_seq), first + limit)]

    async def get(self, seqs: Collection[int]) -> dict[int, RawEvent]:
        """Return those of these entries whose contents were replaced. Raises `Unavailable`."""
        known_subjects = {seq: self._replacements[seq].subject for seq in seqs if seq in self._replacements}
        ordered_subjects = list(known_subjects.values())
        entries: dict[int, RawEvent] = {}
        for start in range(0, len(ordered_subjects), GET_SUBJECTS):
            subjects = ordered_subjects[start : start + GET_SUBJECTS]
            for message in await self._client.get_many(self._names.state, multi_last=subjects):
                seq = _entry_seq(message.subject)
                entries[seq] = decode_entry(seq, message.body)
        for seq in known_subjects.keys() - entries.keys():
            if (entry := await self._get_from_leader(seq)) is not None:
                entries[seq] = entry
        return entries

    async def store(self, entry: RawEvent) -> None:
        """Replace the content of an entry; what replaced it before is overwritten. Raises `Unavailable`."""
        kind = "control" if entry.dialect == CONTROL_DIALECT else "event"
        subject = self._names.state_subject("contents", kind, entry.seq, token_hex(8))
        previous = self._replacements.get(entry.seq)
        acknowledgement = await self._client.publish(subject, encode_entry(entry), {})
        self._note(StoredMessage(acknowledgement.seq, subject, b""), moves_position=False)
        if previous is not None:
            await self._delete(previous)

    async def delete(self, seq: int) -> None:
        """Delete what replaces the content of an entry, if anything does. Raises `Unavailable`."""
        if (replacement := self._replacements.get(seq)) is not None:
            await self._delete(replacement)
            self._forget(replacement, seq)

    async def _get_from_leader(self, seq: int) -> RawEvent | None:
        """Return an entry that the replica has not: it is behind, or another process has replaced or deleted it."""
        await self.refresh()
        while (replacement := self._replacements.get(seq)) is not None:
            message = await self._client.find_message(self._names.state, last_by_subj=replacement.subject)
            if message is not None:
                return decode_entry(seq, message.body)
            # What replaces it in its turn was stored before it was deleted.
            await self.refresh()
            self._forget(replacement, seq)
        return None

    async def _delete(self, replacement: _Replacement) -> None:
        try:
            await self._client.call(f"STREAM.MSG.DELETE.{self._names.state}", seq=replacement.message_seq)
        except MessageMissing:
            return

    def _note(self, message: StoredMessage, *, moves_position: bool = True) -> None:
        seq = _entry_seq(message.subject)
        known_replacement = self._replacements.get(seq)
        if known_replacement is None:
            insort(self._seqs, seq)
            if message.subject.startswith(self._names.state_subject("contents", "control")):
                insort(self._control_seqs, seq)
        if known_replacement is None or message.seq > known_replacement.message_seq:
            self._replacements[seq] = _Replacement(message.seq, message.subject)
        if moves_position:
            self._position = message.seq

    def _forget(self, replacement: _Replacement, seq: int) -> None:
        """Forget what replaced the content of an entry, unless another task has, or it was replaced again."""
        if self._replacements.get(seq) != replacement:
            return
        del self._replacements[seq]
        self._seqs.remove(seq)
        if seq in self._control_seqs:
            self._control_seqs.remove(seq)


def _entry_seq(subject: str) -> int:
    return int(subject.split(".")[-2])
