"""The one door: whoever brings a report, by whichever way, it is judged and kept here.

Laws: only what a declared PBX said is kept; what it said is kept whatever it says, and answered 200 only after the
ledger has committed. Nothing here waits: the caller is called back with the verdict, at once or after the commit.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable

from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.signing import is_signed_by
from onhook.pbx.dialect import Dialect, Dialects, Glance
from onhook.receiver.counters import EventCounters
from onhook.receiver.group_commit import GroupCommitter
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.verdict import Verdict

SENDER_SEARCH_BYTES_MAX = 8 * 1024 * 1024
"""Bytes to hash in search of the sender of a body that names none: some 10 ms, so that a stranger cannot make everybody
wait. A common event of 600 bytes is tried with 12,000 secrets, the largest body with 32."""

SIGNATURE_CHARACTERS = 44
"""Of Base64 for the 32 bytes of a SHA-256 (PROTOCOL.md 4); any other length was made by no PBX and costs no hashing."""

WEBHOOK = "webhook"
"""What the ledger calls this way in."""

VerdictCallback = Callable[[Verdict], None]
"""Is told the verdict, exactly once. Must not raise."""


class Ingestor:
    """Judges and keeps. Made once per process, inside its event loop.

    `tell_trouble` is told the error when the ledger begins to fail, and None when it works again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        door: PbxRegistry,
        dialects: Dialects,
        clock: Clock,
        tell_trouble: Callable[[OnhookError | None], None] = lambda _: None,
    ) -> None:
        self._door = door
        self._dialects = dialects
        self._clock = clock
        self._committer = GroupCommitter(ledger=ledger, tell_trouble=tell_trouble)
        self._marks = EventCounters(ledger=ledger, clock=clock, note=self._committer.note)

    @property
    def is_working(self) -> bool:
        """Whether the last attempt to write to the ledger went well."""
        return self._committer.is_working

    def accept(self, body: bytes, signature: str, peer: str, answer: VerdictCallback, *, path: str = "/") -> None:
        """Judge what came by webhook: `signature` is the header as it came or empty, `peer` the address that spoke,
        `path` what it asked for."""
        dialect, envelope = self._glance(body)
        sender = self._sender(envelope, body, signature, path, peer)
        if isinstance(sender, RegisteredPbx):
            envelope = self._reread(sender, dialect, envelope, body)
            self._keep(sender, envelope, body, answer, via=WEBHOOK, signature=signature, peer=peer)
            return
        rejection: Verdict = "not_a_report" if envelope.kind == "rubbish" else sender
        self.mark(rejection, sn=envelope.sn)
        answer(rejection)

    def accept_from(self, sender: RegisteredPbx, body: bytes, via: str, peer: str, answer: VerdictCallback) -> None:
        """Keep what came over a connection that we opened ourselves, so that the sender is known."""
        dialect = self._dialects[sender.dialect]
        self._keep(sender, _peek(dialect, body), body, answer, via=via, signature="", peer=peer)

    async def keep(self, sender: RegisteredPbx, body: bytes, via: str, peer: str = "") -> Verdict:
        """The same for callers that can wait."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.accept_from(sender, body, via, peer, lambda verdict: None if future.done() else future.set_result(verdict))
        return await future

    def mark(self, what: Verdict, sn: str = "", label: str = "") -> None:
        """Count what happened before a body could be judged, such as a body too large."""
        self._marks.add(what, sn, label)

    async def drained(self) -> None:
        """Return when everything taken so far has been committed and answered."""
        await self._committer.drained()

    async def close(self) -> None:
        """Commit and answer what was taken, and write down the counts. The ledger stays open: it is the caller's."""
        await self._committer.drained()
        await self._marks.close()

    def _glance(self, body: bytes) -> tuple[Dialect, Glance]:
        """By the first dialect to which the body means anything, else by the last."""
        dialects = iter(self._dialects.values())
        dialect = next(dialects)
        envelope = _peek(dialect, body)
        for next_dialect in dialects:
            if envelope.kind != "rubbish":
                break
            dialect, envelope = next_dialect, _peek(next_dialect, body)
        return dialect, envelope

    def _reread(self, sender: RegisteredPbx, dialect: Dialect, glance: Glance, body: bytes) -> Glance:
        """By the sender's own dialect, once it is known who that is."""
        return glance if dialect.name == sender.dialect else _peek(self._dialects[sender.dialect], body)

    def _sender(self, glance: Glance, body: bytes, signature: str, path: str, peer: str) -> RegisteredPbx | Verdict:
        """Who surely sent this, or why nobody did."""
        if not glance.sn:
            source_pbx = None if signature else self._door.placed(path, peer)
            return source_pbx or self._guessed_sender(glance, body, signature)
        sender = self._door.declared(glance.sn)
        if sender is None:
            return "unknown_sn"
        if sender.is_unsigned or is_signed_by(sender.secrets, body, signature):
            return sender
        if sender.is_placed:
            return sender if sender.is_at(path, peer) else "wrong_place"
        return "wrong_signature" if signature else "no_signature"

    def _guessed_sender(self, glance: Glance, body: bytes, signature: str) -> RegisteredPbx | Verdict:
        """A test and some events name no sender (PROTOCOL.md 1): it is the one whose secret signs the body."""
        if len(signature.strip()) == SIGNATURE_CHARACTERS:
            for sender in _limit_hashed_bytes(self._door.everybody(), len(body)):
                if is_signed_by(sender.secrets, body, signature):
                    return sender
        return "wrong_signature" if signature else "no_signature"

    def _keep(
        self,
        sender: RegisteredPbx,
        glance: Glance,
        body: bytes,
        answer: VerdictCallback,
        *,
        via: str,
        signature: str,
        peer: str,
    ) -> None:
        if glance.kind in ("other", "test"):
            verdict: Verdict = "test" if glance.kind == "test" else "other_event"
            self.mark(verdict, sender.sn, glance.label)
            answer(verdict)
            return
        entry = LedgerEntry(
            sn=sender.sn,
            dialect=sender.dialect,
            via=via,
            received_at=self._clock.microseconds(),
            key=glance.key,
            body=body,
            signature=signature[:SIGNATURE_CHARACTERS],  # one who need not sign could send anything
            peer=peer,
        )

        def on_committed(appended: AppendResult | None) -> None:
            verdict = _verdict_for(appended, glance)
            self._marks.add(verdict, sender.sn, glance.label)
            answer(verdict)

        if not self._committer.put(entry, on_committed):
            self.mark("too_many", sender.sn)
            answer("too_many")


def _peek(dialect: Dialect, body: bytes) -> Glance:
    """What a dialect takes a body for; unreadable where it fails against its contract, for what was signed is kept."""
    try:
        return dialect.glance(body)
    except Exception:  # noqa: BLE001 - the projector reads the same body, and says in the quarantine what went wrong
        return Glance("unreadable", "", "unknown", bytes(4) + hashlib.sha256(body).digest()[:12])


def _verdict_for(appended: AppendResult | None, glance: Glance) -> Verdict:
    if appended is None:
        return "unavailable"
    if not appended.is_new:
        return "repeat"
    return "kept" if glance.kind == "details" else "unreadable"


def _limit_hashed_bytes(everybody: Iterable[RegisteredPbx], body_bytes: int) -> Iterable[RegisteredPbx]:
    """As many PBXs as their secrets may be tried on a body of this size."""
    bytes_left = SENDER_SEARCH_BYTES_MAX
    for sender in everybody:
        bytes_left -= len(sender.secrets) * body_bytes
        if bytes_left < 0:
            return
        yield sender
