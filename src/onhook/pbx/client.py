"""The contract of talking to a PBX: what to ask and when, as pure values and machines; shells do the asking.

Laws: nothing here waits, reads a clock or opens a socket. Moments are Unix seconds that the caller hands in. What is
secret (tokens, client secrets) is in no `repr`.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

Trouble = Literal["token", "later", "full", "person", "refused", "missing", "wrong", "parameter", "garbage"]
"""What an answer that is no success means: the token ended; try again later; too many tokens; a person must act; the
credentials are refused; this firmware has no such interface; the request was wrong; a parameter was; it makes no sense.
"""

Members = Mapping[str, Any]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the PBX's web API. `body` is JSON for a POST. The token is added by whoever sends it."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the PBX answered: its code, where that is no success what it means, and the members of the object."""

    errcode: int
    trouble: Trouble | None = None
    text: str = ""
    members: Members = {}
    body: bytes = b""


Act = Literal["use", "login", "refresh", "revoke", "wait", "halt"]


class Login(msgspec.Struct, frozen=True):
    """Client id and client secret."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return "Login()"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next about the tokens of a PBX.

    Use this one, and ask again at `until`; send this request and report its answer; wait until then; or stop, and say
    why.
    """

    act: Act
    token: str = ""
    request: Request | None = None
    until: float = 0.0
    why: str = ""

    def __repr__(self) -> str:
        return f"Step({self.act})"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the PBX's list, as wrapped rows that its dialect reads; `done_until` is how far this reading has come."""

    rows: Sequence[bytes]
    done_until: int


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """A question to whoever keeps calls: under which `call_id` the calls with these `uid`s are known."""

    uids: Sequence[str]
    window: "Window"


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """How reading the list ended: how many rows there were, how many the PBX counts, and what was wrong, or empty."""

    rows: int
    counted: int
    trouble: str = ""


Said = Answer | Mapping[str, str] | None
"""To a request its answer, to `Whose` ids by `uid`, to a page nothing."""

Listing = Generator[Request | Whose | Page, Said, Listed]
"""Reading the list. Raises `OnhookError` where it cannot go on."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the PBX tells of itself. `clock` is its time in Unix seconds, `offset_seconds` its wall clock against UTC;
    either is None where it does not tell."""

    firmware: str = ""
    sn: str = ""
    date_format: str = ""
    time_format: str = ""
    clock: int | None = None
    offset_seconds: int | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are asked for, by when they began: Unix seconds by the PBX's clock; `until` is not included."""

    since: int
    until: int


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook that is set in the PBX. `tells_ends` is whether ended calls are among its events."""

    url: str
    secret: str
    method: str
    tells_ends: bool

    def __repr__(self) -> str:
        return f"Webhook({self.method})"


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """How the PBX is set to report."""

    is_on: bool
    entries: Sequence[Webhook]


class Push(Protocol):
    """One push channel, from its opening on. Fed with texts and the time; says what to send, and whether it lives."""

    deadline: float
    """When `tick` must be called next."""

    trouble: str
    """Why the channel is no good any more; empty while it is."""

    alive_since: float | None
    alive_until: float | None
    """Between these the channel was proven to deliver; None before it was."""

    def opened(self, now: float) -> Sequence[str]:
        """The socket is open: what to send."""
        ...

    def hear(self, text: str, now: float) -> bytes | None:
        """A text has come: the event in it, or None."""
        ...

    def tick(self, now: float) -> Sequence[str]:
        """Time has passed: what to send."""
        ...


class Link(Protocol):
    """How to talk to one kind of PBX. Names are resolved by the caller, who knows its address."""

    push_path: str
    """Where the push channel is opened; the token goes into the query."""

    def next_step(self, kept: str, login: Login, now: float) -> Step:
        """What is to be done now, so that there is a token; `kept` is what is known of tokens, empty at first."""
        ...

    def begun(self, kept: str, step: Step, now: float) -> str:
        """What is known before a request for a token is sent."""
        ...

    def heard(self, kept: str, step: Step, answer: Answer, now: float, chance: float) -> str:
        """What is known after its answer; one that never came is `garbage`. `chance` from 0 to 1 spreads waits."""
        ...

    def refused(self, kept: str, token: str, now: float, chance: float) -> str:
        """What is known after a token was refused."""
        ...

    def to_release(self, kept: str) -> Step | None:
        """The revocation of a token that another has taken over from, where there is one."""
        ...

    def farewell(self, kept: str, now: float) -> Sequence[Step]:
        """The revocations of all tokens."""
        ...

    def read_answer(self, status: int, body: bytes) -> Answer:
        """What an answer to a request says; whatever the bytes, it returns."""
        ...

    def ask_facts(self) -> Request:
        """What is asked to learn of the PBX itself."""
        ...

    def read_facts(self, answer: Answer) -> Facts:
        """And what the answer to that tells."""
        ...

    def ask_webhooks(self) -> Request:
        """What is asked to learn how the PBX is set to report."""
        ...

    def read_webhooks(self, answer: Answer) -> Webhooks:
        """And what the answer to that tells."""
        ...

    def push(self) -> Push:
        """A new push channel."""
        ...

    def listing(self, sn: str, window: Window, facts: Facts, *, rows_max: int) -> Listing:
        """Read the list of calls that began in a window; no page is asked to have more rows than `rows_max`."""
        ...

    def row_of_file(self, sn: str, row: Mapping[str, str], date_format: str, call_id: str) -> bytes:
        """A line of a file that was downloaded from the PBX, as its dialect reads it; `call_id` may be empty."""
        ...

    def uid_of_file(self, row: Mapping[str, str]) -> str:
        """The `uid` of a line that names no call otherwise; empty where it does, or has none."""
        ...

    def knows_headings(self, names: Sequence[str]) -> bool:
        """Whether a file with these headings is one of the PBX's."""
        ...

    def count(self, window: Window, facts: Facts) -> Generator[Request | Whose | Page, Said, int | None]:
        """How many rows the PBX counts in a window; None where it does not tell."""
        ...
