"""What a ledger on JetStream has beside its entries, in a stream with one message of each subject.

- `fingerprints.PREFIX`: fingerprints with a prefix, of entries that were deleted (number 0) or whose contents were
  replaced; the servers recognise a repeat only by messages that they still have.
- `contents.control.SEQ`, `contents.event.SEQ`: contents that replace those of an entry.
- `erasure.SEQ.rewritten`, `erasure.SEQ.finished`, `erasure_position`; `counters.KIND`; `key`, the key of fingerprints.

Invariant: what depends on a message that was read is stored only if no other process has replaced it meanwhile.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from secrets import token_bytes

import msgspec

from onhook.ledger.contract import Counter, CounterKey, ErasureState
from onhook.ledger.counter_lists import add_counts, list_latest, subtract_counts
from onhook.ledger.deleted_events import FINGERPRINT_BYTES
from onhook.ledger.jetstream_client import JetStreamClient, OutdatedSequence, StoredMessage
from onhook.ledger.jetstream_streams import StreamNames
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

KEY_BYTES = 32
SEQ_BYTES = 8
PREFIX_CHARACTERS = 4
"""65,536 subjects: with ten million fingerprints each has 150, 4 kB."""

LOOKUP_SUBJECTS = 500
"""Subjects in one request: the servers return up to 1,024 messages."""

TRIES_MAX = 50
TRY_SECONDS = 0.02
"""Tries to replace a message that other processes replace too, and the pause between them: what another process stores
is refused to the next one before a quorum has it, and before it can be read.
"""

STORES_AT_ONCE = 32
MESSAGES_MAX = 1_000_000_000
BYTES_MAX = 1 << 40

EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"

_COUNTERS: msgspec.msgpack.Decoder[list[Counter]] = msgspec.msgpack.Decoder(list[Counter])


class JetStreamState:
    """Created once per ledger."""

    def __init__(self, client: JetStreamClient, names: StreamNames) -> None:
        self._client = client
        self._names = names
        self._key = b""

    # Fingerprints

    async def fingerprint(self, sn: str, key: bytes) -> bytes:
        """Return the fingerprint of an entry: a keyed hash, which says nothing about it. Raises `UnicodeEncodeError`,
        `Unavailable`.
        """
        return blake2b(key + sn.encode(), key=await self.load_key(), digest_size=FINGERPRINT_BYTES).digest()

    async def find_fingerprints(self, fingerprints: Collection[bytes]) -> dict[bytes, int]:
        """Return the numbers of entries that were deleted (0) or replaced, by those of these fingerprints that are of
        one. Raises `Unavailable`.
        """
        subjects = sorted({self._fingerprint_subject(fingerprint) for fingerprint in fingerprints})
        chunks = [subjects[start : start + LOOKUP_SUBJECTS] for start in range(0, len(subjects), LOOKUP_SUBJECTS)]
        results = await asyncio.gather(
            *(self._client.get_many(self._names.state, multi_last=chunk) for chunk in chunks)
        )
        seqs = {
            fingerprint: seq
            for messages in results
            for message in messages
            for fingerprint, seq in unpack_fingerprints(message.body).items()
        }
        return {fingerprint: seqs[fingerprint] for fingerprint in fingerprints if fingerprint in seqs}

    async def add_fingerprints(self, seqs: Mapping[bytes, int]) -> None:
        """Add fingerprints of entries that are about to be deleted or replaced. Raises `Unavailable`."""
        by_subject: dict[str, dict[bytes, int]] = {}
        for fingerprint, seq in seqs.items():
            by_subject.setdefault(self._fingerprint_subject(fingerprint), {})[fingerprint] = seq

        await gather_limited(
            self._update(subject, partial(_merge_fingerprints, added=added)) for subject, added in by_subject.items()
        )

    async def load_key(self) -> bytes:
        """Return the key of fingerprints; the first process makes it. Raises `Unavailable`."""
        if not self._key:
            await self.store_key(token_bytes(KEY_BYTES))
        return self._key

    async def store_key(self, key: bytes) -> bytes:
        """Store the key of fingerprints, unless there is one; return the one that there is. Raises `Unavailable`."""
        subject = self._names.state_subject("key")
        for _try in range(TRIES_MAX):
            message = await self._find(subject)
            if message is not None:
                self._key = message.body
                return self._key
            try:
                await self._client.publish(subject, key, {EXPECTED_LAST: "0"})
            except OutdatedSequence:
                # Another process is about to store one, and a quorum does not have it yet.
                await asyncio.sleep(TRY_SECONDS)
        raise self._busy_error(subject)

    def _fingerprint_subject(self, fingerprint: bytes) -> str:
        return self._names.state_subject("fingerprints", fingerprint.hex()[:PREFIX_CHARACTERS])

    # Erasures

    async def erasure_states(self) -> dict[int, ErasureState]:
        """Return the states of control entries by their numbers. Raises `Unavailable`."""
        states: dict[int, ErasureState] = {}
        for message in await self._read_all(self._names.state_subject("erasure", ">")):
            seq, state = message.subject.split(".")[-2:]
            if state == "finished":
                states[int(seq)] = "finished"
            else:
                states.setdefault(int(seq), "rewritten")
        return dict(sorted(states.items()))

    async def set_erasure_state(self, seqs: Iterable[int], state: ErasureState) -> None:
        """Note the state of control entries; a finished one stays so. Raises `Unavailable`."""
        for seq in seqs:
            await self._client.publish(self._names.state_subject("erasure", seq, state), b"", {})

    async def erasure_position(self) -> int:
        """Return the number up to which later events were rewritten. Raises `Unavailable`."""
        message = await self._find(self._names.state_subject("erasure_position"))
        return 0 if message is None else int(message.body)

    async def set_erasure_position(self, seq: int) -> None:
        """Replace that number. Raises `Unavailable`."""
        await self._client.publish(self._names.state_subject("erasure_position"), b"%d" % seq, {})

    # Counters

    async def add_counts(self, counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str]) -> None:
        """Add to the counters. Raises `Unavailable`."""
        for kind, own_counts in _group_by_kind(counts).items():
            await self._update_counters(kind, partial(add_counts, counts=own_counts, now_us=now_us, peers=peers))

    async def subtract_counts(self, counts: Mapping[CounterKey, int]) -> None:
        """Subtract from the counters. Raises `Unavailable`."""
        for kind, own_counts in _group_by_kind(counts).items():
            await self._update_counters(kind, partial(subtract_counts, counts=own_counts))

    async def counters(self) -> list[Counter]:
        """Return the latest counters, as many of each kind. Raises `Unavailable`."""
        messages = await self._read_all(self._names.state_subject("counters", ">"))
        return list_latest(_COUNTERS.decode(message.body) for message in messages)

    async def store_counters(self, counters: Iterable[Counter]) -> None:
        """Replace the counters of the kinds of these. Raises `Unavailable`."""
        by_kind: dict[str, list[Counter]] = {}
        for counter in counters:
            by_kind.setdefault(counter.kind, []).append(counter)
        for kind, own_counters in by_kind.items():
            await self._client.publish(self._counters_subject(kind), msgspec.msgpack.encode(own_counters), {})

    async def _update_counters(self, kind: str, change: Callable[[list[Counter]], list[Counter]]) -> None:
        await self._update(
            self._counters_subject(kind),
            lambda body: msgspec.msgpack.encode(change(_COUNTERS.decode(body) if body else [])),
        )

    def _counters_subject(self, kind: str) -> str:
        return self._names.state_subject("counters", kind.encode().hex())

    # Messages

    async def _update(self, subject: str, change: Callable[[bytes], bytes]) -> None:
        """Replace a message by what is made of its body; it begins empty."""
        for _try in range(TRIES_MAX):
            message = await self._find(subject)
            body, seq = (b"", 0) if message is None else (message.body, message.seq)
            try:
                await self._client.publish(subject, change(body), {EXPECTED_LAST: str(seq)})
            except OutdatedSequence:
                await asyncio.sleep(TRY_SECONDS)
                continue
            return
        raise self._busy_error(subject)

    def _busy_error(self, subject: str) -> Unavailable:
        return Unavailable(
            _("{subject} is being changed all the time", subject=subject),
            location=self._client.address.location,
            hint=_("try again"),
        )

    async def _find(self, subject: str) -> StoredMessage | None:
        return await self._client.find_message(self._names.state, last_by_subj=subject)

    async def _read_all(self, subject: str) -> list[StoredMessage]:
        return await self._client.read_messages(self._names.state, subject, 0, MESSAGES_MAX, BYTES_MAX)


def pack_fingerprints(seqs: Mapping[bytes, int]) -> bytes:
    """Return fingerprints with numbers as one text of bytes."""
    return b"".join(fingerprint + seq.to_bytes(SEQ_BYTES, "big") for fingerprint, seq in seqs.items())


def unpack_fingerprints(body: bytes) -> dict[bytes, int]:
    """Return fingerprints with their numbers."""
    size = FINGERPRINT_BYTES + SEQ_BYTES
    items = [body[start : start + size] for start in range(0, len(body), size)]
    return {item[:FINGERPRINT_BYTES]: int.from_bytes(item[FINGERPRINT_BYTES:], "big") for item in items}


async def gather_limited(coroutines: Iterable[Coroutine[object, object, None]]) -> None:
    """Await coroutines, some at a time. The first error is raised when all have ended."""
    slots = asyncio.Semaphore(STORES_AT_ONCE)

    async def run(coroutine: Coroutine[object, object, None]) -> None:
        async with slots:
            await coroutine

    errors = await asyncio.gather(*map(run, coroutines), return_exceptions=True)
    for error in errors:
        if error is not None:
            raise error


def _merge_fingerprints(body: bytes, added: Mapping[bytes, int]) -> bytes:
    return pack_fingerprints({**unpack_fingerprints(body), **added})


def _group_by_kind(counts: Mapping[CounterKey, int]) -> dict[str, dict[CounterKey, int]]:
    by_kind: dict[str, dict[CounterKey, int]] = {}
    for key, count in counts.items():
        by_kind.setdefault(key.kind, {})[key] = count
    return by_kind
