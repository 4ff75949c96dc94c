"""Ingest: every event, from whichever channel, is checked and stored here.

Invariants: only events that a registered PBX sent, or a secret of it signs, are stored; they are stored whatever they
contain, and answered 200 only after the ledger has committed. Nothing here waits: the verdict is passed to a callback,
at once or later. A request is rejected only after the registry was read again, so that a secret that was just added is
valid at once.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from onhook.cdr.identity import fold_sn
from onhook.cdr.merge import UNREGISTERED, WEBHOOK
from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.pbx.dialect import Dialect, Dialects, Envelope, LegDialect
from onhook.pbx.envelopes import UNPACKED_BYTES_MAX, is_compressed
from onhook.receiver.counters import EventCounters
from onhook.receiver.group_commit import EntryAppender, GroupCommitter, PrepareAppend
from onhook.receiver.hash_budget import USUAL_BODY_BYTES_MAX, HashBudget
from onhook.receiver.pbx_registry import PbxRegistry, RegisteredPbx
from onhook.receiver.rejection_limits import RejectionLimits
from onhook.receiver.signature_check import SIGNATURE_CHARACTERS, read_password, verify_sender
from onhook.receiver.unregistered import UnregisteredSenders, count_unregistered
from onhook.receiver.verdict import Verdict, label_by_channel

RECHECKS_MAX = 100
"""Requests that wait for the registry before they are rejected: with the largest bodies 25 MB. Further ones are
rejected by the registry as it is, a tenth of a second old.
"""

COUNTS_SECONDS = 60.0
"""How often at most the counters of the ledger are read again."""

COUNTS_SECONDS_MAX = 0.5
"""Time for reading them, which takes milliseconds."""

VerdictCallback = Callable[[Verdict], None]
"""Receives the verdict, exactly once. Must not raise."""


class _Request(NamedTuple):
    """A webhook request: its body, its signature or an empty text, the address of its sender, its path, its password or
    an empty text; the first dialect that recognises the body, else the last one, and its envelope.
    """

    body: bytes
    signature: str
    peer: str
    path: str
    password: str
    dialect: Dialect
    envelope: Envelope


class Ingestor:
    """Checks and stores events. Created once per process, inside its event loop.

    `has_events` says whether the ledger has events, None where that is not known yet: where no PBX is registered
    nevertheless, the settings were lost, and every request is answered 503, so that PBXs try again; so it is until the
    registry could be read.
    `unregistered_counts` are the events that are kept of serial numbers that are not registered, and `monotonic`
    returns seconds. `on_ledger_error` receives the error when the ledger begins to fail, and None when it works again;
    see `PrepareAppend`. A `spool` takes entries in place of the ledger, and prepares them.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        registry: PbxRegistry,
        dialects: Dialects,
        clock: Clock,
        has_events: bool | None = False,
        unregistered_counts: Mapping[str, int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        on_ledger_error: Callable[[OnhookError | None], None] = lambda _: None,
        prepare_append: PrepareAppend = lambda _: None,
        spool: EntryAppender | None = None,
    ) -> None:
        self._registry = registry
        self._dialects = dialects
        self._clock = clock
        self._has_events = has_events
        self._hash_budget, self._decoding_budget = HashBudget(monotonic), HashBudget(monotonic)
        self._unregistered = UnregisteredSenders(registry, unregistered_counts or {}, self._hash_budget)
        self._ledger = ledger
        self._monotonic = monotonic
        self._counts_read_at = monotonic()
        self._committer = GroupCommitter(
            ledger=spool or ledger, on_ledger_error=on_ledger_error, prepare_append=prepare_append
        )
        self._has_spool = spool is not None
        self._rechecks: set[asyncio.Task[None]] = set()
        self._rejection_limits = RejectionLimits(monotonic)
        self._leg_dialects = {name: dialect for name, dialect in dialects.items() if isinstance(dialect, LegDialect)}
        self._naming_dialects = tuple(dialect for name, dialect in dialects.items() if name not in self._leg_dialects)
        self._counters = EventCounters(ledger=ledger, clock=clock, on_ledger_result=self.report_ledger_result)

    @property
    def is_working(self) -> bool:
        """Return whether the last write to the ledger succeeded, and the settings are there."""
        return self._committer.is_working and self._missing_settings() is None

    def report_ledger_result(self, error: OnhookError | None) -> None:
        """Note whether the ledger can be read and written: with a spool, which does without, nothing."""
        if not self._has_spool:
            self._committer.report_result(error)

    def learn_ledger(self, *, has_events: bool, unregistered_counts: Mapping[str, int]) -> None:
        """Note what the ledger has, which was not known when this was created."""
        if self._has_events is None:
            self._has_events = has_events
        self._unregistered.replace_counts(unregistered_counts)
        self.report_ledger_result(None)

    def submit_request(
        self,
        body: bytes,
        signature: str,
        peer: str,
        on_verdict: VerdictCallback,
        *,
        path: str = "/",
        authorization: bytes = b"",
    ) -> None:
        """Check a webhook request: `signature` and `authorization` are headers or empty, `peer` is the address of the
        sender, `path` the requested path.
        """
        password = read_password(authorization) if authorization else ""
        if self._leg_dialects and not signature and self._accept_leg(body, peer, path, password, on_verdict):
            return
        decoded_bytes = UNPACKED_BYTES_MAX if is_compressed(body) else len(body)
        is_unusual = decoded_bytes > USUAL_BODY_BYTES_MAX
        if is_unusual and self._decoding_budget.is_spent:
            self.count_verdict("too_many")
            on_verdict("too_many")
            return
        request = _Request(body, signature, peer, path, password, *self._peek(body))
        rejection = self._accept(request, on_verdict)
        if rejection is None:
            return
        if is_unusual:
            self._decoding_budget.charge_decoding(decoded_bytes)
        is_of_leg_sender = bool(authorization) or request.dialect.name in self._leg_dialects
        if is_of_leg_sender and not self._rejection_limits.admits(peer):
            self._reject(request, "too_many", on_verdict)
            return
        if len(self._rechecks) >= RECHECKS_MAX:
            self._reject(request, rejection, on_verdict)
            return
        task = asyncio.create_task(self._recheck(request, rejection, self._registry.list_all(), on_verdict))
        self._rechecks.add(task)
        task.add_done_callback(self._rechecks.discard)

    def submit(self, sender: RegisteredPbx, body: bytes, via: str, peer: str, on_verdict: VerdictCallback) -> None:
        """Store an event of a connection that Onhook opened, so that the sender is known."""
        request = _Request(body, "", peer, "", "", *self._peek(body))
        sender, envelope = self._peek_as_sender(sender, request)
        self._append(sender, envelope, request, on_verdict, via=via)

    async def ingest(self, sender: RegisteredPbx, body: bytes, via: str, peer: str = "") -> Verdict:
        """Store an event like `submit`, and wait for the verdict."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.submit(sender, body, via, peer, lambda verdict: None if future.done() else future.set_result(verdict))
        return await future

    def count_verdict(self, verdict: Verdict, sn: str = "", label: str = "", peer: str = "") -> None:
        """Count a request that was rejected before its body could be checked, such as a body too large; `peer` is the
        address of its sender.
        """
        self._counters.add(verdict, sn, label, peer)

    async def drain(self) -> None:
        """Return when everything accepted so far is committed and answered."""
        await self._finish_rechecks()
        await self._committer.drain()

    async def close(self) -> None:
        """Commit and answer what was accepted, and flush the counters. The ledger stays open."""
        await self._finish_rechecks()
        await self._committer.drain()
        await self._counters.close()

    async def _recheck(
        self, request: _Request, rejection: Verdict, checked_pbxs: Sequence[RegisteredPbx], on_verdict: VerdictCallback
    ) -> None:
        """Check a request again if the registry no longer has the PBXs by which it was checked; then reject it."""
        remaining_rejection: Verdict | None = rejection
        try:
            await self._registry.refresh()
            await self._refresh_counts()
        finally:
            # Also when the process stops: each request has one verdict.
            if self._registry.list_all() is not checked_pbxs:
                is_accepted = self._accept_leg(request.body, request.peer, request.path, request.password, on_verdict)
                remaining_rejection = None if is_accepted else self._accept(request, on_verdict)
            if remaining_rejection is not None:
                self._reject(request, remaining_rejection, on_verdict)

    async def _refresh_counts(self) -> None:
        """Read how many events of unregistered serial numbers are kept, where as many as allowed were: the hub
        subtracts those that were read or deleted since. Without the ledger nothing changes.
        """
        now = self._monotonic()
        if not self._unregistered.has_reached_limit or now - self._counts_read_at < COUNTS_SECONDS:
            return
        self._counts_read_at = now
        with suppress(OnhookError, TimeoutError):
            async with asyncio.timeout(COUNTS_SECONDS_MAX):
                self._unregistered.replace_counts(await count_unregistered(self._ledger))

    def _accept_leg(self, body: bytes, peer: str, path: str, password: str, on_verdict: VerdictCallback) -> bool:
        """Store what a PBX sent that reports legs, and return True; other senders, and all while there are no settings,
        are checked by what their body contains.
        """
        if self._missing_settings() is not None:
            return False
        sender = self._registry.find_by_source(path, peer, password)
        dialect = None if sender is None else self._leg_dialects.get(sender.dialect)
        if sender is None or dialect is None:
            return False
        self._rejection_limits.forgive(peer)
        request = _Request(body, "", peer, path, password, dialect, _peek(dialect, body))
        self._append(sender, request.envelope, request, on_verdict, via=WEBHOOK)
        return True

    def _accept(self, request: _Request, on_verdict: VerdictCallback) -> Verdict | None:
        """Store the event of a registered PBX; return the verdict that rejects another request."""
        sender = self._find_sender(request)
        if not isinstance(sender, RegisteredPbx):
            return sender
        sender, envelope = self._peek_as_sender(sender, request)
        self._append(sender, envelope, request, on_verdict, via=WEBHOOK)
        return None

    def _reject(self, request: _Request, rejection: Verdict, on_verdict: VerdictCallback) -> None:
        """Reject a request, unless it is an event to keep of a serial number that is not registered."""
        if rejection in ("settings_lost", "settings_unreadable", "too_many"):
            self.count_verdict(rejection, peer=request.peer)
            on_verdict(rejection)
            return
        envelope = request.envelope
        # For a registered serial number too: it takes as long.
        signer = self._unregistered.find_signer(request.body, request.signature) if envelope.sn else None
        is_kept = rejection == "unknown_pbx" and signer is not None and signer.keeps_unregistered
        if is_kept and signer is not None and self._unregistered.admits(envelope.sn):
            signer, envelope = self._peek_as_sender(signer, request)
            self._append(signer, envelope, request, on_verdict, via=UNREGISTERED)
            return
        verdict: Verdict = "not_an_event" if envelope.kind == "not_json" else rejection
        self.count_verdict(verdict, sn=envelope.sn, peer=request.peer)
        on_verdict(verdict)

    def _find_sender(self, request: _Request) -> RegisteredPbx | Verdict:
        if missing_settings := self._missing_settings():
            return missing_settings
        verdict = verify_sender(
            self._registry,
            request.envelope,
            request.body,
            request.signature,
            path=request.path,
            peer=request.peer,
            password=request.password,
            budget=self._hash_budget,
        )
        is_leg = request.dialect.name in self._leg_dialects
        return "unexpected_source" if is_leg and verdict == "missing_signature" else verdict

    async def _finish_rechecks(self) -> None:
        if self._rechecks:
            await asyncio.wait(self._rechecks)

    def _missing_settings(self) -> Verdict | None:
        """Return the verdict on every request while there are no settings; else None."""
        if not self._registry.is_loaded():
            return "settings_unreadable"
        return "settings_lost" if self._has_events is not False and self._registry.is_empty() else None

    def _peek(self, body: bytes) -> tuple[Dialect, Envelope]:
        """Return the envelope of the first dialect that recognises the body, else of the last dialect. A leg is not
        read before its sender is known.
        """
        dialects = iter(self._naming_dialects)
        dialect = next(dialects)
        envelope = _peek(dialect, body)
        # The usual event first: it costs no look at what else it might be.
        if envelope.kind in ("unparsable", "not_json"):
            for leg_dialect in self._leg_dialects.values():
                if leg_dialect.recognizes(body):
                    return leg_dialect, _unparsable_envelope(body)
        for next_dialect in dialects:
            if envelope.kind != "not_json":
                break
            dialect, envelope = next_dialect, _peek(next_dialect, body)
        return dialect, envelope

    def _peek_as_sender(self, sender: RegisteredPbx, request: _Request) -> tuple[RegisteredPbx, Envelope]:
        """Return the envelope by the sender's own dialect, once the sender is known.

        An unknown dialect, of damaged settings or a newer Onhook, loses no event: what another dialect recognises is
        an event of that one, and anything else goes to the quarantine.
        """
        if request.dialect.name == sender.dialect and sender.dialect not in self._leg_dialects:
            return sender, request.envelope
        if own_dialect := self._dialects.get(sender.dialect):
            return sender, _peek(own_dialect, request.body)
        if request.envelope.kind == "details":
            return msgspec.structs.replace(sender, dialect=request.dialect.name), request.envelope
        return sender, _unparsable_envelope(request.body)

    def _append(
        self,
        sender: RegisteredPbx,
        envelope: Envelope,
        request: _Request,
        on_verdict: VerdictCallback,
        *,
        via: str,
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
            body=request.body,
            signature=request.signature[:SIGNATURE_CHARACTERS],  # a PBX that need not sign could send anything
            peer=request.peer,
            further_sns=self._further_sns(sender, envelope),
        )

        def on_committed(append_result: AppendResult | None) -> None:
            verdict = _verdict_for(append_result, envelope, via)
            self._has_events = self._has_events or (append_result is not None and append_result.seq > 0)
            if verdict == "unregistered":
                self._unregistered.add(envelope.sn)
                self._counters.add(verdict, envelope.sn, sender.sn)
            else:
                self._counters.add(verdict, sender.sn, label_by_channel(via, envelope.label))
            on_verdict(verdict)

        if not self._committer.put(entry, on_committed):
            self.count_verdict("too_many", sender.sn)
            on_verdict("too_many")

    def _further_sns(self, sender: RegisteredPbx, envelope: Envelope) -> tuple[str, ...]:
        """Return the other serial numbers under which an earlier event of the sender may be stored: those that it has
        now, and that of the body, which may have been another PBX.
        """
        registered = self._registry.find_by_sn(sender.sn) or sender
        if not envelope.sn or fold_sn(envelope.sn) in map(fold_sn, (sender.sn, *registered.further_sns)):
            return registered.further_sns
        return (*registered.further_sns, envelope.sn)


def _peek(dialect: Dialect, body: bytes) -> Envelope:
    """Return the dialect's envelope of a body; unparsable where the dialect raises: signed bodies are stored."""
    try:
        return dialect.peek(body)
    except Exception:  # noqa: BLE001 - the projector parses the same body and reports the error in the quarantine
        return _unparsable_envelope(body)


def _unparsable_envelope(body: bytes) -> Envelope:
    return Envelope("unparsable", "", "unknown", bytes(4) + hashlib.sha256(body).digest()[:12])


def _verdict_for(append_result: AppendResult | None, envelope: Envelope, via: str) -> Verdict:
    if append_result is None:
        return "unavailable"
    if append_result.outcome != "new":
        return append_result.outcome
    if via == UNREGISTERED:
        return "unregistered"
    return "stored" if envelope.kind == "details" else "unparsable"
