"""Ingest: every event, from whichever channel, is checked and stored here.

Invariants: only events of a registered PBX are stored; they are stored whatever they contain, and answered 200 only
after the ledger has committed. Nothing here waits: the verdict is passed to a callback, at once or after the commit.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable

from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.signing import is_signed_by
from onhook.pbx.dialect import Dialect, Dialects, Envelope
from onhook.receiver.counters import EventCounters
from onhook.receiver.group_commit import GroupCommitter
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.verdict import Verdict

SENDER_SEARCH_BYTES_MAX = 8 * 1024 * 1024
"""Bytes to hash in search of the sender of a body that names none: some 10 ms, so that an unknown PBX cannot delay the
others. A common event of 600 bytes is tried with 12,000 secrets, the largest body with 32.
"""

SIGNATURE_CHARACTERS = 44
"""Length in Base64 of the 32 bytes of a SHA-256 (yeastar-p-series.md 4); a signature of another length is invalid and
costs no hashing.
"""

WEBHOOK = "webhook"
"""The ledger's name of the webhook channel."""

VerdictCallback = Callable[[Verdict], None]
"""Receives the verdict, exactly once. Must not raise."""


class Ingestor:
    """Checks and stores events. Created once per process, inside its event loop.

    `on_ledger_error` receives the error when the ledger begins to fail, and None when it works again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: PbxRegistry,
        dialects: Dialects,
        clock: Clock,
        on_ledger_error: Callable[[OnhookError | None], None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._dialects = dialects
        self._clock = clock
        self._committer = GroupCommitter(ledger=ledger, on_ledger_error=on_ledger_error)
        self._counters = EventCounters(ledger=ledger, clock=clock, on_ledger_result=self._committer.report_result)

    @property
    def is_working(self) -> bool:
        """Return whether the last write to the ledger succeeded."""
        return self._committer.is_working

    def submit_request(
        self, body: bytes, signature: str, peer: str, on_verdict: VerdictCallback, *, path: str = "/"
    ) -> None:
        """Check a webhook request: `signature` is the header or empty, `peer` the address of the sender, `path` the
        requested path.
        """
        dialect, envelope = self._peek(body)
        sender = self._identify_sender(envelope, body, signature, path, peer)
        if isinstance(sender, RegisteredPbx):
            envelope = self._peek_as_sender(sender, dialect, envelope, body)
            self._append(sender, envelope, body, on_verdict, via=WEBHOOK, signature=signature, peer=peer)
            return
        rejection: Verdict = "not_an_event" if envelope.kind == "not_json" else sender
        self.count_verdict(rejection, sn=envelope.sn)
        on_verdict(rejection)

    def submit(self, sender: RegisteredPbx, body: bytes, via: str, peer: str, on_verdict: VerdictCallback) -> None:
        """Store an event of a connection that Onhook opened, so that the sender is known."""
        dialect = self._dialects[sender.dialect]
        self._append(sender, _peek(dialect, body), body, on_verdict, via=via, signature="", peer=peer)

    async def ingest(self, sender: RegisteredPbx, body: bytes, via: str, peer: str = "") -> Verdict:
        """Store an event like `submit`, and wait for the verdict."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.submit(sender, body, via, peer, lambda verdict: None if future.done() else future.set_result(verdict))
        return await future

    def count_verdict(self, verdict: Verdict, sn: str = "", label: str = "") -> None:
        """Count a request that was rejected before its body could be checked, such as a body too large."""
        self._counters.add(verdict, sn, label)

    async def drain(self) -> None:
        """Return when everything accepted so far is committed and answered."""
        await self._committer.drain()

    async def close(self) -> None:
        """Commit and answer what was accepted, and flush the counters. The ledger stays open."""
        await self._committer.drain()
        await self._counters.close()

    def _peek(self, body: bytes) -> tuple[Dialect, Envelope]:
        """Return the envelope of the first dialect that recognises the body, else of the last dialect."""
        dialects = iter(self._dialects.values())
        dialect = next(dialects)
        envelope = _peek(dialect, body)
        for next_dialect in dialects:
            if envelope.kind != "not_json":
                break
            dialect, envelope = next_dialect, _peek(next_dialect, body)
        return dialect, envelope

    def _peek_as_sender(self, sender: RegisteredPbx, dialect: Dialect, envelope: Envelope, body: bytes) -> Envelope:
        """Return the envelope by the sender's own dialect, once the sender is known."""
        return envelope if dialect.name == sender.dialect else _peek(self._dialects[sender.dialect], body)

    def _identify_sender(
        self, envelope: Envelope, body: bytes, signature: str, path: str, peer: str
    ) -> RegisteredPbx | Verdict:
        """Return the verified sender, or the verdict that rejects the request."""
        if not envelope.sn:
            source_pbx = None if signature else self._registry.find_by_source(path, peer)
            return source_pbx or self._find_signing_sender(envelope, body, signature)
        sender = self._registry.find_by_sn(envelope.sn)
        if sender is None:
            return "unknown_pbx"
        if sender.is_unsigned or is_signed_by(sender.secrets, body, signature):
            return sender
        if sender.is_identified_by_source:
            return sender if sender.matches_source(path, peer) else "unexpected_source"
        return "invalid_signature" if signature else "missing_signature"

    def _find_signing_sender(self, envelope: Envelope, body: bytes, signature: str) -> RegisteredPbx | Verdict:
        """Find the sender of a body that names none, by the secret that signs it (test messages and some events:
        yeastar-p-series.md 1).
        """
        if len(signature.strip()) == SIGNATURE_CHARACTERS:
            for sender in _limit_hashed_bytes(self._registry.list_all(), len(body)):
                if is_signed_by(sender.secrets, body, signature):
                    return sender
        return "invalid_signature" if signature else "missing_signature"

    def _append(
        self,
        sender: RegisteredPbx,
        envelope: Envelope,
        body: bytes,
        on_verdict: VerdictCallback,
        *,
        via: str,
        signature: str,
        peer: str,
    ) -> None:
        if envelope.kind in ("other_event", "test_message"):
            verdict: Verdict = "test_message" if envelope.kind == "test_message" else "other_event"
            self.count_verdict(verdict, sender.sn, envelope.label)
            on_verdict(verdict)
            return
        entry = LedgerEntry(
            sn=sender.sn,
            dialect=sender.dialect,
            via=via,
            received_at=self._clock.microseconds(),
            key=envelope.key,
            body=body,
            signature=signature[:SIGNATURE_CHARACTERS],  # a PBX that need not sign could send anything
            peer=peer,
        )

        def on_committed(append_result: AppendResult | None) -> None:
            verdict = _verdict_for(append_result, envelope)
            self._counters.add(verdict, sender.sn, envelope.label)
            on_verdict(verdict)

        if not self._committer.put(entry, on_committed):
            self.count_verdict("too_many", sender.sn)
            on_verdict("too_many")


def _peek(dialect: Dialect, body: bytes) -> Envelope:
    """Return the dialect's envelope of a body; unparsable where the dialect raises: signed bodies are stored."""
    try:
        return dialect.peek(body)
    except Exception:  # noqa: BLE001 - the projector parses the same body and reports the error in the quarantine
        return Envelope("unparsable", "", "unknown", bytes(4) + hashlib.sha256(body).digest()[:12])


def _verdict_for(append_result: AppendResult | None, envelope: Envelope) -> Verdict:
    if append_result is None:
        return "unavailable"
    if not append_result.is_new:
        return "duplicate"
    return "stored" if envelope.kind == "details" else "unparsable"


def _limit_hashed_bytes(senders: Iterable[RegisteredPbx], body_bytes: int) -> Iterable[RegisteredPbx]:
    """Return as many PBXs as their secrets may be tried on a body of this size."""
    bytes_left = SENDER_SEARCH_BYTES_MAX
    for sender in senders:
        bytes_left -= len(sender.secrets) * body_bytes
        if bytes_left < 0:
            return
        yield sender
