"""One push channel of the P-Series: its WebSocket, from subscription to silence (PROTOCOL.md 5).

Laws: the list of topics is never empty, for that would silently unsubscribe everything. The heartbeat is the bare text
`heartbeat`. The channel is proven to deliver from the answer to its subscription until the last answer to a heartbeat,
not a moment longer; a channel that does not answer in time is given up.
"""

from collections.abc import Sequence

import msgspec

from onhook.pbx.yeastar.answers import read_answer

TOPICS = (30012,)
"""Call End Details Notification."""

HEARTBEAT = "heartbeat"
HEARTBEAT_ANSWER = "heartbeat response"

HEARTBEAT_SECONDS = 30.0
"""The PBX closes a socket after 60 seconds without one."""

ANSWER_SECONDS_MAX = 15.0
"""A heartbeat or a subscription that is not answered by then never will be: the socket has fallen silent."""

FRAME_CHARACTERS_MAX = 256 * 1024
"""As much as the intake takes by webhook; an event has some 600."""


class YeastarPush:
    """See the contract, `pbx.link.Push`."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.trouble = ""
        self.alive_since: float | None = None
        self.alive_until: float | None = None
        self._asked_at = 0.0
        self._beat_at = float("inf")
        self._is_waiting = False

    def opened(self, now: float) -> Sequence[str]:
        """Subscribe."""
        self._wait(now)
        return [msgspec.json.encode({"topic_list": list(TOPICS)}).decode()]

    def hear(self, text: str, now: float) -> bytes | None:
        """An event is handed on as it came; answers prove that the channel is alive."""
        if text.strip() == HEARTBEAT_ANSWER:
            self._is_alive(now)
            return None
        if len(text) > FRAME_CHARACTERS_MAX:
            self.trouble = "the PBX sends more at once than an event can be"
            return None
        body = text.encode("utf-8", "replace")
        answer = read_answer(200, body)
        if answer.trouble == "garbage" or "type" in answer.members:
            return body  # an event; what it says is for its dialect to tell, and nothing is thrown away
        if answer.trouble is None:
            self._is_alive(now)
        else:
            self.trouble = f"the PBX ends the channel: {answer.text}"
        return None

    def tick(self, now: float) -> Sequence[str]:
        """A heartbeat when it is due; trouble when an answer is overdue."""
        if self._is_waiting and now - self._asked_at >= ANSWER_SECONDS_MAX:
            self.trouble = f"the channel has been silent for {ANSWER_SECONDS_MAX:.0f} seconds"
        elif not self._is_waiting and now >= self._beat_at:
            self._wait(now)
            return [HEARTBEAT]
        return []

    def _wait(self, now: float) -> None:
        self._is_waiting = True
        self._asked_at = now
        self.deadline = now + ANSWER_SECONDS_MAX

    def _is_alive(self, now: float) -> None:
        """What was answered was asked before: until then all events have come, for the socket keeps their order."""
        if not self._is_waiting:
            return
        self.alive_since = now if self.alive_since is None else self.alive_since
        self.alive_until = max(self._asked_at, self.alive_since)
        self._is_waiting = False
        self._beat_at = self._asked_at + HEARTBEAT_SECONDS
        self.deadline = self._beat_at
