"""One AMI connection as a state machine: bytes in, happenings out, bytes to send. It does no input or output.

    banner ──► challenge ──► login ──► filter ──► ready
                   └───────────┴─────► refused

Laws: nothing the other side sends raises; what is held is bounded; the secret is never sent and never shown: the login
proves it by MD5 over the other side's challenge. Why by hand: docs/decisions.md.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from onhook.pbx.asterisk.messages import AmiMessage, AmiMessageReader, OversizedMessage

BANNER = b"Asterisk Call Manager/"
BANNER_BYTES_MAX = 256
"""It has some 30; whoever says more before the end of a line is no Asterisk."""

PENDING_ACTIONS_MAX = 100
"""Waiting for an answer at once: more means that nobody answers, and the connection is dead."""

LIST_EVENTS_MAX = 10_000
"""Events in one answer: no PBX has more endpoints."""

EVENT_FILTER = "^Event: (Cdr|CEL|QueueCaller|Agent)"
"""What we want to hear: a busy Asterisk says a hundred times as much (AMI action `Filter`, a regular expression)."""

EVENT_CLASSES = "cdr,call,agent"
"""CDRs, CEL (which Asterisk counts as `call`), and what queues do."""

AmiSessionState = Literal["banner", "challenge", "login", "filter", "ready", "refused"]


class AmiCredentials(msgspec.Struct, frozen=True):
    """Who we are to Asterisk. The secret is not shown."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return f"AmiCredentials(user={self.user!r})"


class AmiReady(msgspec.Struct, frozen=True):
    """Logged in. `is_filtered` is false where Asterisk does not let us filter: then it says more than we need."""

    version: str
    is_filtered: bool


class AmiRefused(msgspec.Struct, frozen=True):
    """The connection is of no use: why, in Asterisk's words or ours."""

    reason: str


class AmiEvent(msgspec.Struct, frozen=True):
    """Something happened at the PBX."""

    name: str
    message: AmiMessage


class AmiResponse(msgspec.Struct, frozen=True):
    """What became of a question of ours, with the events of a list where it asked for one."""

    action_id: str
    message: AmiMessage
    list_events: tuple[AmiMessage, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether Asterisk did what was asked for."""
        return self.message.get("Response").lower() in ("success", "follows", "goodbye")


AmiSessionEvent = AmiReady | AmiRefused | AmiEvent | AmiResponse | OversizedMessage


class AmiSession:
    """See the module. Made once for each connection."""

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
        """What these bytes say."""
        return list(self._process_data(data))

    def data_to_send(self) -> bytes:
        """What is to be sent now; empty where nothing is."""
        data, self._send_buffer = bytes(self._send_buffer), bytearray()
        return data

    def send_action(self, action: str, /, **fields: str) -> str:
        """Ask something; the question's name, which its `AmiResponse` will bear.

        A line break in a value would begin another line: it is sent as a blank. Raises `OverflowError` where too many
        wait for their answers.
        """
        if len(self._pending_responses) >= PENDING_ACTIONS_MAX:
            raise OverflowError(f"{PENDING_ACTIONS_MAX} questions have no answer yet")
        self._action_count += 1
        action_id = f"onhook-{self._action_count}"
        self._pending_responses[action_id] = []
        self._send({"Action": action, "ActionID": action_id, **fields})
        return action_id

    def _process_data(self, data: bytes) -> Iterator[AmiSessionEvent]:
        if self.state == "banner":
            data_after_banner = self._read_banner(data)
            if data_after_banner is None:
                self.state = "refused"
                yield AmiRefused("it is no Asterisk: it does not greet as one")
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
        """Read the greeting; what comes after it, or None where it is none."""
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
            # Heard before we are ready, too: events begin with the login.
            return None if self.state == "challenge" else AmiEvent(event, message)
        return self._advance_login(action_id, message)

    def _collect_response(self, action_id: str, message: AmiMessage, *, is_event: bool) -> AmiResponse | None:
        """An answer in one message, or one more of a list; the whole when it is complete."""
        messages = self._pending_responses[action_id]
        is_list_start = not is_event and message.get("EventList").lower() == "start"
        is_list_end = is_event and message.get("EventList").lower() in ("complete", "cancelled")
        if len(messages) <= LIST_EVENTS_MAX:
            messages.append(message)
        if is_list_start or (is_event and not is_list_end):
            return None
        del self._pending_responses[action_id]
        return AmiResponse(action_id, messages[0], tuple(messages[1:-1] if is_list_end else messages[1:]))

    def _advance_login(self, action_id: str, message: AmiMessage) -> AmiSessionEvent | None:
        """The answers to our own first three questions."""
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
        return AmiRefused(message.get("Message")[:200] or "it does not say why")

    def _send(self, fields: Mapping[str, str]) -> None:
        for name, value in fields.items():
            self._send_buffer += f"{name}: {' '.join(value.splitlines())}\r\n".encode()
        self._send_buffer += b"\r\n"
