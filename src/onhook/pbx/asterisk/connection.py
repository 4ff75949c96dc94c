"""The protocol of one connection to an Asterisk: log in, collect calls, keep the connection alive, detect trunks,
follow queues.

See the contract `pbx/connection.py`. The rule that makes an endpoint a trunk is in `trunks.py`.
"""

from collections.abc import Sequence

import msgspec

from onhook.cdr.queue_states import QueueState
from onhook.cdr.utc_offset import offset_between, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.asterisk.call_collector import AsteriskParserConfig, CallCollector, CollectedCall
from onhook.pbx.asterisk.messages import AmiMessage, OversizedMessage
from onhook.pbx.asterisk.names import NameSearch
from onhook.pbx.asterisk.queue_tracker import QUEUE_EVENTS, QueueTracker
from onhook.pbx.asterisk.session import (
    AmiCredentials,
    AmiEvent,
    AmiReady,
    AmiRefused,
    AmiResponse,
    AmiSession,
    AmiSessionEvent,
)
from onhook.pbx.asterisk.trunks import TrunkSearch
from onhook.pbx.connection import ClockReading, ConnectionUpdate

PING_AFTER_SECONDS = 10.0
"""Silence after which a ping is sent."""

SILENCE_SECONDS_MAX = 30.0
"""Silence after which the connection counts as dead: three pings without a response."""

LOGIN_SECONDS_MAX = 20.0
"""Limit from the connection to the end of the login."""

TRUNK_SEARCH_SECONDS = 600.0
"""Interval of trunk detection: a trunk may have been added."""

NAME_SEARCH_DELAY_SECONDS = 60.0
"""From the login to the first reading of names: calls and trunks come first."""

NAME_SEARCH_SECONDS = 3_600.0
"""Interval at which the names of telephones are read: a query for each of them."""


class AsteriskProtocol:
    """One connection. `detect_trunks` reads the trunks from the PBX; otherwise `parser_config` contains them."""

    via = "ami"

    def __init__(
        self, credentials: AmiCredentials, parser_config: AsteriskParserConfig, *, detect_trunks: bool
    ) -> None:
        self._session = AmiSession(credentials)
        self._call_collector = CallCollector(parser_config)
        self._queue_tracker = QueueTracker(self._session)
        self._detect_trunks = detect_trunks
        self._trunk_search: TrunkSearch | None = None
        self._search_started_at = 0.0
        self._name_search: NameSearch | None = None
        self._names_due_at = 0.0
        self._started_at: float | None = None
        self._last_received_at = 0.0
        self._last_ping_at = 0.0
        self._reported_dropped = 0

    def receive_data(self, data: bytes, now: ClockReading) -> ConnectionUpdate:
        self._start_clock(now)
        self._last_received_at = now.monotonic_seconds
        updates = [self._handle_session_event(session_event, now) for session_event in self._session.receive_data(data)]
        return _merge_updates(updates)

    def on_tick(self, now: ClockReading) -> ConnectionUpdate:
        started_at = self._start_clock(now)
        is_ready = self._session.state == "ready"
        silent_seconds = now.monotonic_seconds - self._last_received_at
        if silent_seconds > (SILENCE_SECONDS_MAX if is_ready else LOGIN_SECONDS_MAX):
            return ConnectionUpdate(end_reason=_("no data received for {seconds:.0f} seconds", seconds=silent_seconds))
        if not is_ready and now.monotonic_seconds - started_at > LOGIN_SECONDS_MAX:
            return ConnectionUpdate(
                end_reason=_("the login did not finish within {seconds:.0f} seconds", seconds=LOGIN_SECONDS_MAX)
            )
        try:
            if is_ready:
                self._send_due_actions(now, silent_seconds)
        except OverflowError as error:
            return ConnectionUpdate(end_reason=str(error))
        return ConnectionUpdate(
            raw_events=_bodies(self._call_collector.pop_completed(now.monotonic_seconds)),
            log_messages=self._dropped_call_messages(),
        )

    def data_to_send(self) -> bytes:
        return self._session.data_to_send()

    def connection_lost(self) -> tuple[bytes, ...]:
        return _bodies(self._call_collector.flush())

    def pending_since(self) -> float | None:
        return self._call_collector.oldest_cdr_at()

    def queue_states(self, now: ClockReading) -> Sequence[QueueState] | None:
        return self._queue_tracker.list_states(now.monotonic_seconds)

    def _start_clock(self, now: ClockReading) -> float:
        """Return when the connection began, which is the first reading of the clock."""
        if self._started_at is None:
            self._started_at = self._last_received_at = now.monotonic_seconds
        return self._started_at

    def _send_due_actions(self, now: ClockReading, silent_seconds: float) -> None:
        """Send a ping after a silence; list queues, and search for trunks and names at intervals. Raises
        `OverflowError`.
        """
        if silent_seconds > PING_AFTER_SECONDS and now.monotonic_seconds - self._last_ping_at > PING_AFTER_SECONDS:
            self._last_ping_at = now.monotonic_seconds
            self._session.send_action("Ping")
        if self._queue_tracker.is_due(now.monotonic_seconds):
            self._queue_tracker.request_lists(now.monotonic_seconds)
        if self._detect_trunks and now.monotonic_seconds - self._search_started_at > TRUNK_SEARCH_SECONDS:
            self._start_trunk_search(now)
        # Names can wait until the PBX has answered everything else.
        if not self._session.has_pending_actions and now.monotonic_seconds >= self._names_due_at:
            self._names_due_at = now.monotonic_seconds + NAME_SEARCH_SECONDS
            self._name_search = NameSearch(self._session)

    def _handle_session_event(self, session_event: AmiSessionEvent, now: ClockReading) -> ConnectionUpdate:
        if isinstance(session_event, AmiEvent):
            if session_event.name in QUEUE_EVENTS:
                self._queue_tracker.handle_event(session_event, now.monotonic_seconds)
            offset = _offset_seconds(session_event.message, now)
            return ConnectionUpdate(
                raw_events=_bodies(self._call_collector.add_event(session_event.message, now.monotonic_seconds, offset))
            )
        if isinstance(session_event, AmiResponse):
            return self._handle_response(session_event, now)
        if isinstance(session_event, AmiReady):
            return self._handle_ready(session_event, now)
        if isinstance(session_event, AmiRefused):
            return ConnectionUpdate(end_reason=session_event.reason, is_refused=True)
        return ConnectionUpdate(log_messages=(_describe_oversized(session_event),))

    def _handle_ready(self, ready: AmiReady, now: ClockReading) -> ConnectionUpdate:
        self._queue_tracker.request_lists(now.monotonic_seconds)
        self._names_due_at = now.monotonic_seconds + NAME_SEARCH_DELAY_SECONDS
        if self._detect_trunks:
            self._start_trunk_search(now)
        log_messages = () if ready.is_filtered else ("the manager user cannot filter events: give it `write = system`",)
        return ConnectionUpdate(is_ready=True, log_messages=log_messages)

    def _start_trunk_search(self, now: ClockReading) -> None:
        self._search_started_at = now.monotonic_seconds
        self._trunk_search = TrunkSearch(self._session)

    def _handle_response(self, response: AmiResponse, now: ClockReading) -> ConnectionUpdate:
        if self._queue_tracker.owns_response(response):
            log_message = self._queue_tracker.handle_response(response, now.monotonic_seconds)
            return ConnectionUpdate(log_messages=(log_message,) if log_message else ())
        if self._name_search is not None and self._name_search.owns_response(response):
            return self._handle_names(self._name_search, response)
        if self._trunk_search is None or not self._trunk_search.owns_response(response):
            return ConnectionUpdate()
        try:
            search_result = self._trunk_search.handle_response(response)
        except OverflowError as error:
            return ConnectionUpdate(end_reason=str(error))
        if search_result is None:
            return ConnectionUpdate()
        self._trunk_search = None
        if search_result.error:
            return ConnectionUpdate(log_messages=(search_result.error,))
        previous_config = self._call_collector.parser_config
        parser_config = msgspec.structs.replace(
            previous_config, trunks=search_result.trunks, inbound_contexts=search_result.inbound_contexts
        )
        self._call_collector.parser_config = parser_config
        return ConnectionUpdate(
            detected_config=encode_parser_config(parser_config) if parser_config != previous_config else ""
        )

    def _handle_names(self, search: NameSearch, response: AmiResponse) -> ConnectionUpdate:
        try:
            names = search.handle_response(response)
        except OverflowError as error:
            return ConnectionUpdate(end_reason=str(error))
        if names is None:
            return ConnectionUpdate()
        self._name_search = None
        return ConnectionUpdate(log_messages=(search.error,)) if search.error else ConnectionUpdate(names=names)

    def _dropped_call_messages(self) -> tuple[str, ...]:
        new_dropped, self._reported_dropped = (
            self._call_collector.dropped_count - self._reported_dropped,
            self._call_collector.dropped_count,
        )
        return (f"calls ended without a CDR: {new_dropped}",) if new_dropped else ()


def encode_parser_config(parser_config: AsteriskParserConfig) -> str:
    """Encode the detected configuration for the next connection."""
    return msgspec.json.encode(parser_config).decode()


def decode_parser_config(text: str) -> AsteriskParserConfig:
    """Decode the configuration of an earlier connection; return an empty one if the text is empty or invalid."""
    try:
        return msgspec.json.decode(text, type=AsteriskParserConfig) if text else AsteriskParserConfig()
    except msgspec.DecodeError:
        return AsteriskParserConfig()


def find_trunks(configured_trunks: Sequence[str] | None, detected_config: str) -> tuple[str, ...] | None:
    """Return the trunks, configured or detected by an earlier connection; None where neither is known."""
    if configured_trunks is not None:
        return tuple(configured_trunks)
    return decode_parser_config(detected_config).trunks or None


def _offset_seconds(message: AmiMessage, now: ClockReading) -> int | None:
    """Return the PBX's clock minus UTC, from the end time of a CDR that was received immediately."""
    if message.get("Event") != "Cdr":
        return None
    try:
        offset = offset_between(parse_wall_clock(message.get("EndTime")), int(now.unix_seconds))
    except ParseError:
        return None
    return None if offset is None else int(offset.total_seconds())


def _bodies(collected_calls: list[CollectedCall]) -> tuple[bytes, ...]:
    return tuple(call.body for call in collected_calls)


def _describe_oversized(message: OversizedMessage) -> str:
    return f"event {message.event_name!r} dropped: {message.size_bytes} bytes exceed the limit"


def _merge_updates(updates: list[ConnectionUpdate]) -> ConnectionUpdate:
    """Merge several updates into one."""
    return ConnectionUpdate(
        raw_events=tuple(body for update in updates for body in update.raw_events),
        is_ready=any(update.is_ready for update in updates),
        end_reason=next((update.end_reason for update in updates if update.end_reason), ""),
        is_refused=any(update.is_refused for update in updates),
        log_messages=tuple(log_message for update in updates for log_message in update.log_messages),
        detected_config=next((update.detected_config for update in reversed(updates) if update.detected_config), ""),
        names=next((update.names for update in reversed(updates) if update.names is not None), None),
    )
