"""One push channel of the P-Series: its WebSocket from subscription to timeout (yeastar-p-series.md 5).

Invariants: the topic list is never empty, because an empty list silently unsubscribes everything. The heartbeat is the
bare text `heartbeat`. The channel is proven to deliver from the response to its subscription to the last response to a
heartbeat, no longer. A channel that does not respond in time is closed.
"""

from collections.abc import Sequence

import msgspec

from onhook.lib.messages import _
from onhook.pbx.yeastar.answers import parse_response

TOPICS = (30012,)
"""Call End Details Notification."""

HEARTBEAT = "heartbeat"
HEARTBEAT_RESPONSE = "heartbeat response"

HEARTBEAT_SECONDS = 30.0
"""The PBX closes a socket after 60 seconds without a heartbeat."""

RESPONSE_SECONDS_MAX = 15.0
"""Response timeout of a heartbeat or a subscription; after it, the socket counts as dead."""

FRAME_CHARACTERS_MAX = 256 * 1024
"""Same limit as for a webhook body; an event has about 600 characters."""


class YeastarPushChannel:
    """See the contract `pbx.client.PushChannel`."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.error = ""
        self.alive_since: float | None = None
        self.alive_until: float | None = None
        self._sent_at = 0.0
        self._next_heartbeat_at = float("inf")
        self._is_response_pending = False

    def on_open(self, now: float) -> Sequence[str]:
        """Subscribe."""
        self._expect_response(now)
        return [msgspec.json.encode({"topic_list": list(TOPICS)}).decode()]

    def receive_text(self, text: str, now: float) -> bytes | None:
        """Return an event unchanged; a response proves that the channel is connected."""
        if text.strip() == HEARTBEAT_RESPONSE:
            self._confirm_alive(now)
            return None
        if len(text) > FRAME_CHARACTERS_MAX:
            self.error = _("the PBX sent a message larger than any event")
            return None
        body = text.encode("utf-8", "replace")
        response = parse_response(200, body)
        if response.error_kind == "invalid_response" or "type" in response.members:
            return body  # An event. Its dialect parses it; nothing is discarded here.
        if response.error_kind is None:
            self._confirm_alive(now)
        else:
            self.error = _("the PBX closed the channel: {error}", error=response.error_text)
        return None

    def on_tick(self, now: float) -> Sequence[str]:
        """Send a heartbeat when it is due; set `error` when a response is overdue."""
        if self._is_response_pending and now - self._sent_at >= RESPONSE_SECONDS_MAX:
            self.error = _("no response on the channel for {seconds:.0f} seconds", seconds=RESPONSE_SECONDS_MAX)
        elif not self._is_response_pending and now >= self._next_heartbeat_at:
            self._expect_response(now)
            return [HEARTBEAT]
        return []

    def _expect_response(self, now: float) -> None:
        self._is_response_pending = True
        self._sent_at = now
        self.deadline = now + RESPONSE_SECONDS_MAX

    def _confirm_alive(self, now: float) -> None:
        """Extend the proven time to the last send time: all earlier events have arrived, because the socket preserves
        their order.
        """
        if not self._is_response_pending:
            return
        self.alive_since = now if self.alive_since is None else self.alive_since
        self.alive_until = max(self._sent_at, self.alive_since)
        self._is_response_pending = False
        self._next_heartbeat_at = self._sent_at + HEARTBEAT_SECONDS
        self.deadline = self._next_heartbeat_at
