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

from onhook.pbx.asterisk.messages import Message, MessageReader, TooLarge

BANNER = b"Asterisk Call Manager/"
BANNER_BYTES_MAX = 256
"""It has some 30; whoever says more before the end of a line is no Asterisk."""

QUESTIONS_MAX = 100
"""Waiting for an answer at once: more means that nobody answers, and the connection is dead."""

LISTED_MAX = 10_000
"""Events in one answer: no PBX has more endpoints."""

FILTER = "^Event: (Cdr|CEL|QueueCaller|Agent)"
"""What we want to hear: a busy Asterisk says a hundred times as much (AMI action `Filter`, a regular expression)."""

EVENT_CLASSES = "cdr,call,agent"
"""CDRs, CEL (which Asterisk counts as `call`), and what queues do."""

State = Literal["banner", "challenge", "login", "filter", "ready", "refused"]


class Login(msgspec.Struct, frozen=True):
    """Who we are to Asterisk. The secret is not shown."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Ready(msgspec.Struct, frozen=True):
    """Logged in. `is_filtered` is false where Asterisk does not let us filter: then it says more than we need."""

    version: str
    is_filtered: bool


class Refused(msgspec.Struct, frozen=True):
    """The connection is of no use: why, in Asterisk's words or ours."""

    why: str


class Event(msgspec.Struct, frozen=True):
    """Something happened at the PBX."""

    name: str
    message: Message


class Answer(msgspec.Struct, frozen=True):
    """What became of a question of ours, with the events of a list where it asked for one."""

    question: str
    message: Message
    listed: tuple[Message, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether Asterisk did what was asked for."""
        return self.message.get("Response").lower() in ("success", "follows", "goodbye")


Happening = Ready | Refused | Event | Answer | TooLarge


class Session:
    """See the module. Made once for each connection."""

    def __init__(self, login: Login) -> None:
        self.state: State = "banner"
        self._login = login
        self._reader = MessageReader()
        self._banner = bytearray()
        self._version = ""
        self._sending = bytearray()
        self._asked = 0
        self._waiting: dict[str, list[Message]] = {}

    def received(self, data: bytes) -> list[Happening]:
        """What these bytes say."""
        return list(self._received(data))

    def to_send(self) -> bytes:
        """What is to be sent now; empty where nothing is."""
        sending, self._sending = bytes(self._sending), bytearray()
        return sending

    def ask(self, action: str, /, **fields: str) -> str:
        """Ask something; the question's name, which its `Answer` will bear.

        A line break in a value would begin another line: it is sent as a blank. Raises `OverflowError` where too many
        wait for their answers.
        """
        if len(self._waiting) >= QUESTIONS_MAX:
            raise OverflowError(f"{QUESTIONS_MAX} questions have no answer yet")
        self._asked += 1
        question = f"onhook-{self._asked}"
        self._waiting[question] = []
        self._send({"Action": action, "ActionID": question, **fields})
        return question

    def _received(self, data: bytes) -> Iterator[Happening]:
        if self.state == "banner":
            greeting = self._after_banner(data)
            if greeting is None:
                self.state = "refused"
                yield Refused("it is no Asterisk: it does not greet as one")
            data = greeting or b""
        for message in self._reader.read(data):
            if isinstance(message, TooLarge):
                yield message
                continue
            happening = self._happened(message)
            if happening is not None:
                yield happening
            if self.state == "refused":
                return

    def _after_banner(self, data: bytes) -> bytes | None:
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

    def _happened(self, message: Message) -> Happening | None:
        event, question = message.get("Event"), message.get("ActionID")
        if question in self._waiting:
            return self._answered(question, message, is_event=bool(event))
        if event:
            # Heard before we are ready, too: events begin with the login.
            return None if self.state == "challenge" else Event(event, message)
        return self._next_step(question, message)

    def _answered(self, question: str, message: Message, *, is_event: bool) -> Answer | None:
        """An answer in one message, or one more of a list; the whole when it is complete."""
        held = self._waiting[question]
        is_begin = not is_event and message.get("EventList").lower() == "start"
        is_end = is_event and message.get("EventList").lower() in ("complete", "cancelled")
        if len(held) <= LISTED_MAX:
            held.append(message)
        if is_begin or (is_event and not is_end):
            return None
        del self._waiting[question]
        return Answer(question, held[0], tuple(held[1:-1] if is_end else held[1:]))

    def _next_step(self, question: str, message: Message) -> Happening | None:
        """The answers to our own first three questions."""
        is_success = message.get("Response").lower() == "success"
        if question == "onhook-challenge" and self.state == "challenge":
            if not is_success:
                return self._refuse(message)
            self._log_in(message)
        elif question == "onhook-login" and self.state == "login":
            if not is_success:
                return self._refuse(message)
            self._filter()
        elif question == "onhook-filter" and self.state == "filter":
            self.state = "ready"
            return Ready(self._version, is_success)
        return None

    def _log_in(self, message: Message) -> None:
        proof = hashlib.md5((message.get("Challenge") + self._login.secret).encode(), usedforsecurity=False).hexdigest()
        self.state = "login"
        named = {"Username": self._login.user, "AuthType": "MD5", "Key": proof, "Events": EVENT_CLASSES}
        self._send({"Action": "Login", "ActionID": "onhook-login", **named})

    def _filter(self) -> None:
        self.state = "filter"
        self._send({"Action": "Filter", "ActionID": "onhook-filter", "Operation": "Add", "Filter": FILTER})

    def _refuse(self, message: Message) -> Refused:
        self.state = "refused"
        return Refused(message.get("Message")[:200] or "it does not say why")

    def _send(self, fields: Mapping[str, str]) -> None:
        for name, value in fields.items():
            self._sending += f"{name}: {' '.join(value.splitlines())}\r\n".encode()
        self._sending += b"\r\n"
