"""One AMI connection as a state machine without input or output: received bytes to events and bytes to send.

    banner ──► challenge ──► login ──► filter ──► ready
                   └───────────┴─────► refused

Invariants: no input from the server raises; memory is bounded; the secret is never sent and never shown: the login
proves it by MD5 over the server's challenge. Reason for an own implementation: docs/decisions.md.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from onhook.lib.messages import _
from onhook.pbx.asterisk.messages import AmiMessage, AmiMessageReader, OversizedMessage

BANNER = b"Asterisk Call Manager/"
BANNER_BYTES_MAX = 256
"""It has about 30; a server with a longer first line is not Asterisk."""

PENDING_ACTIONS_MAX = 100
"""Actions waiting for a response: with more, the server no longer responds and the connection is dead."""

LIST_EVENTS_MAX = 10_000
"""Events per response: no PBX has more endpoints."""

EVENT_FILTER = "^Event: (Cdr|CEL|QueueCaller|Agent|Newchannel|Hangup[^A-Z])"
"""Events to receive, without `HangupRequest` and the like: a busy Asterisk sends a hundred times as many (AMI action
`Filter`, a regular expression).
"""

EVENT_CLASSES = "cdr,call,agent"
"""CDRs, CEL and channels (which Asterisk counts as `call`), and queue events."""

AmiSessionState = Literal["banner", "challenge", "login", "filter", "ready", "refused"]


class AmiCredentials(msgspec.Struct, frozen=True):
    """Manager user and secret. The secret is not in the `repr`."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return f"AmiCredentials(user={self.user!r})"


class AmiReady(msgspec.Struct, frozen=True):
    """Login finished. `is_filtered` is false if Asterisk does not allow a filter and sends all events."""

    version: str
    is_filtered: bool


class AmiRefused(msgspec.Struct, frozen=True):
    """The connection is unusable; `reason` is Asterisk's text or Onhook's."""

    reason: str


class AmiEvent(msgspec.Struct, frozen=True):
    """An event of the PBX."""

    name: str
    message: AmiMessage


class AmiResponse(msgspec.Struct, frozen=True):
    """The response to an action, with the events of a list if the action requested one."""

    action_id: str
    message: AmiMessage
    list_events: tuple[AmiMessage, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether Asterisk executed the action."""
        return self.message.get("Response").lower() in ("success", "follows", "goodbye")


AmiSessionEvent = AmiReady | AmiRefused | AmiEvent | AmiResponse | OversizedMessage


class AmiSession:
    """The state machine of one connection; see the module."""

    def __init__(self, credentials: AmiCredentials) -> None:
        self.state: AmiSessionState = "banner"
        self._credentials = credentials
        self._reader = AmiMessageReader()
        self._banner = bytearray()
        self._version = ""
        self._send_buffer = bytearray()
        self._action_count = 0
        self._pending_responses: dict[str, list[AmiMessage]] = {}

    def receive_data(self, data: bytes) -> list[AmiSessionEvent]:
        """Handle received bytes; return the events in them."""
        return list(self._process_data(data))

    def data_to_send(self) -> bytes:
        """Return the bytes to send now; empty if there are none."""
        data, self._send_buffer = bytes(self._send_buffer), bytearray()
        return data

    @property
    def has_pending_actions(self) -> bool:
        """Return whether an action has no response yet."""
        return bool(self._pending_responses)

    def send_action(self, action: str, /, **fields: str) -> str:
        """Send an action; return the id that its `AmiResponse` will have.

        A line break in a value is sent as a blank, because it would begin another line. Raises `OverflowError` if too
        many actions wait for a response.
        """
        if len(self._pending_responses) >= PENDING_ACTIONS_MAX:
            raise OverflowError(_("{maximum} actions have no response yet", maximum=PENDING_ACTIONS_MAX))
        self._action_count += 1
        action_id = f"onhook-{self._action_count}"
        self._pending_responses[action_id] = []
        self._send({"Action": action, "ActionID": action_id, **fields})
        return action_id

    def _process_data(self, data: bytes) -> Iterator[AmiSessionEvent]:
        if self.state == "refused":
            return
        if self.state == "banner":
            data_after_banner = self._read_banner(data)
            if data_after_banner is None:
                self.state = "refused"
                yield AmiRefused(_("the server is not Asterisk: it sent no AMI greeting"))
            data = data_after_banner or b""
        for message in self._reader.receive_data(data):
            if isinstance(message, OversizedMessage):
                yield message
                continue
            session_event = self._handle_message(message)
            if session_event is not None:
                yield session_event
            if self.state == "refused":
                return

    def _read_banner(self, data: bytes) -> bytes | None:
        """Read the greeting; return the bytes after it, or None if it is invalid."""
        self._banner += data
        line, end, rest = bytes(self._banner).partition(b"\r\n")
        if not BANNER.startswith(line[: len(BANNER)]) or len(line) > BANNER_BYTES_MAX:
            return None
        if end:
            self._version = line[len(BANNER) :].decode("utf-8", "replace").strip()
            self.state = "challenge"
            self._send({"Action": "Challenge", "ActionID": "onhook-challenge", "AuthType": "MD5"})
        return rest if end else b""

    def _handle_message(self, message: AmiMessage) -> AmiSessionEvent | None:
        event, action_id = message.get("Event"), message.get("ActionID")
        if action_id in self._pending_responses:
            return self._collect_response(action_id, message, is_event=bool(event))
        if event:
            # Also before the session is ready: events begin with the login.
            return None if self.state == "challenge" else AmiEvent(event, message)
        return self._advance_login(action_id, message)

    def _collect_response(self, action_id: str, message: AmiMessage, *, is_event: bool) -> AmiResponse | None:
        """Collect a response or one more event of a list; return the response when it is complete."""
        messages = self._pending_responses[action_id]
        is_list_start = not is_event and message.get("EventList").lower() == "start"
        is_list_end = is_event and message.get("EventList").lower() in ("complete", "cancelled")
        if not messages or (len(messages) <= LIST_EVENTS_MAX and not is_list_end):
            messages.append(message)
        if is_list_start or (is_event and not is_list_end):
            return None
        del self._pending_responses[action_id]
        return AmiResponse(action_id, messages[0], tuple(messages[1:]))

    def _advance_login(self, action_id: str, message: AmiMessage) -> AmiSessionEvent | None:
        """Handle the responses to the three actions of the login."""
        is_success = message.get("Response").lower() == "success"
        if action_id == "onhook-challenge" and self.state == "challenge":
            if not is_success:
                return self._refuse(message)
            self._log_in(message)
        elif action_id == "onhook-login" and self.state == "login":
            if not is_success:
                return self._refuse(message)
            self._set_filter()
        elif action_id == "onhook-filter" and self.state == "filter":
            self.state = "ready"
            return AmiReady(self._version, is_success)
        return None

    def _log_in(self, message: AmiMessage) -> None:
        challenge_response = hashlib.md5(
            (message.get("Challenge") + self._credentials.secret).encode(), usedforsecurity=False
        ).hexdigest()
        self.state = "login"
        login_fields = {
            "Username": self._credentials.user,
            "AuthType": "MD5",
            "Key": challenge_response,
            "Events": EVENT_CLASSES,
        }
        self._send({"Action": "Login", "ActionID": "onhook-login", **login_fields})

    def _set_filter(self) -> None:
        self.state = "filter"
        self._send({"Action": "Filter", "ActionID": "onhook-filter", "Operation": "Add", "Filter": EVENT_FILTER})

    def _refuse(self, message: AmiMessage) -> AmiRefused:
        self.state = "refused"
        return AmiRefused(message.get("Message")[:200] or _("no reason given"))

    def _send(self, fields: Mapping[str, str]) -> None:
        for name, value in fields.items():
            self._send_buffer += f"{name}: {' '.join(value.splitlines())}\r\n".encode()
        self._send_buffer += b"\r\n"
