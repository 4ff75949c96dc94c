"""Ingest: every event, from whichever channel, is checked and stored here.

Invariants: only events of a registered PBX are stored; they are stored whatever they contain, and answered 200 only
after the ledger has committed. Nothing here waits: the verdict is passed to a callback, at once or after the commit.
"""

import asyncio
import hashlib
from collections.abc import Callable

from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.pbx.dialect import Dialect, Dialects, Envelope
from onhook.receiver.counters import EventCounters
from onhook.receiver.group_commit import GroupCommitter
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.signature_check import SIGNATURE_CHARACTERS, verify_sender
from onhook.receiver.verdict import Verdict

WEBHOOK = "webhook"
"""The ledger's name of the webhook channel."""

VerdictCallback = Callable[[Verdict], None]
"""Receives the verdict, exactly once. Must not raise."""


class Ingestor:
    """Checks and stores events. Created once per process, inside its event loop.

    `has_events` says whether the ledger has events: where no PBX is registered nevertheless, the settings were lost,
    and every request is answered 503, so that PBXs try again. `on_ledger_error` receives the error when the ledger
    begins to fail, and None when it works again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: PbxRegistry,
        dialects: Dialects,
        clock: Clock,
        has_events: bool = False,
        on_ledger_error: Callable[[OnhookError | None], None] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._dialects = dialects
        self._clock = clock
        self._has_events = has_events
        self._committer = GroupCommitter(ledger=ledger, on_ledger_error=on_ledger_error)
        self._counters = EventCounters(ledger=ledger, clock=clock, on_ledger_result=self._committer.report_result)

    @property
    def is_working(self) -> bool:
        """Return whether the last write to the ledger succeeded, and the settings are there."""
        return self._committer.is_working and not self._has_lost_settings()

    def submit_request(
        self, body: bytes, signature: str, peer: str, on_verdict: VerdictCallback, *, path: str = "/"
    ) -> None:
        """Check a webhook request: `signature` is the header or empty, `peer` the address of the sender, `path` the
        requested path.
        """
        if self._has_lost_settings():
            self.count_verdict("settings_lost")
            on_verdict("settings_lost")
            return
        dialect, envelope = self._peek(body)
        sender = verify_sender(self._registry, envelope, body, signature, path=path, peer=peer)
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

    def _has_lost_settings(self) -> bool:
        return self._has_events and self._registry.is_empty()

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
            self._has_events = self._has_events or append_result is not None
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
    if append_result.outcome != "new":
        return append_result.outcome
    return "stored" if envelope.kind == "details" else "unparsable"
