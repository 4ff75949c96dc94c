"""One push channel of the P-Series: its WebSocket, from subscription to silence (yeastar-p-series.md 5).

Laws: the list of topics is never empty, for that would silently unsubscribe everything. The heartbeat is the bare text
`heartbeat`. The channel is proven to deliver from the answer to its subscription until the last answer to a heartbeat,
not a moment longer; a channel that does not answer in time is given up.
"""

from collections.abc import Sequence

import msgspec

from onhook.pbx.yeastar.answers import parse_response

TOPICS = (30012,)
"""Call End Details Notification."""

HEARTBEAT = "heartbeat"
HEARTBEAT_RESPONSE = "heartbeat response"

HEARTBEAT_SECONDS = 30.0
"""The PBX closes a socket after 60 seconds without one."""

RESPONSE_SECONDS_MAX = 15.0
"""A heartbeat or a subscription that is not answered by then never will be: the socket has fallen silent."""

FRAME_CHARACTERS_MAX = 256 * 1024
"""As much as the intake takes by webhook; an event has some 600."""


class YeastarPushChannel:
    """See the contract, `pbx.client.PushChannel`."""

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
        """An event is handed on as it came; answers prove that the channel is alive."""
        if text.strip() == HEARTBEAT_RESPONSE:
            self._confirm_alive(now)
            return None
        if len(text) > FRAME_CHARACTERS_MAX:
            self.error = "the PBX sends more at once than an event can be"
            return None
        body = text.encode("utf-8", "replace")
        response = parse_response(200, body)
        if response.error_kind == "invalid_response" or "type" in response.members:
            return body  # an event; what it says is for its dialect to tell, and nothing is thrown away
        if response.error_kind is None:
            self._confirm_alive(now)
        else:
            self.error = f"the PBX ends the channel: {response.error_text}"
        return None

    def on_tick(self, now: float) -> Sequence[str]:
        """A heartbeat when it is due; trouble when an answer is overdue."""
        if self._is_response_pending and now - self._sent_at >= RESPONSE_SECONDS_MAX:
            self.error = f"the channel has been silent for {RESPONSE_SECONDS_MAX:.0f} seconds"
        elif not self._is_response_pending and now >= self._next_heartbeat_at:
            self._expect_response(now)
            return [HEARTBEAT]
        return []

    def _expect_response(self, now: float) -> None:
        self._is_response_pending = True
        self._sent_at = now
        self.deadline = now + RESPONSE_SECONDS_MAX

    def _confirm_alive(self, now: float) -> None:
        """What was answered was asked before: until then all events have come, for the socket keeps their order."""
        if not self._is_response_pending:
            return
        self.alive_since = now if self.alive_since is None else self.alive_since
        self.alive_until = max(self._sent_at, self.alive_since)
        self._is_response_pending = False
        self._next_heartbeat_at = self._sent_at + HEARTBEAT_SECONDS
        self.deadline = self._next_heartbeat_at
