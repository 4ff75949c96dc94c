"""The contract of talking to a PBX: what to ask and when, as pure values and machines; shells do the asking.

Laws: nothing here waits, reads a clock or opens a socket. Moments are Unix seconds that the caller hands in. What is
secret (tokens, client secrets) is in no `repr`.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

ApiErrorKind = Literal[
    "token_expired",
    "temporary",
    "too_many_tokens",
    "needs_operator",
    "invalid_credentials",
    "unsupported",
    "invalid_request",
    "invalid_parameter",
    "invalid_response",
]
"""What an answer that is no success means: the token ended; try again later; too many tokens; a person must act; the
credentials are refused; this firmware has no such interface; the request was wrong; a parameter was; it makes no sense.
"""

Members = Mapping[str, Any]


class PbxRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the PBX's web API. `body` is JSON for a POST. The token is added by whoever sends it."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"PbxRequest({self.method} {self.path})"


class PbxResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the PBX answered: its code, where that is no success what it means, and the members of the object."""

    errcode: int
    error_kind: ApiErrorKind | None = None
    error_text: str = ""
    members: Members = {}
    body: bytes = b""


TokenAction = Literal["use", "login", "refresh", "revoke", "wait", "halt"]


class ClientCredentials(msgspec.Struct, frozen=True):
    """Client id and client secret."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return "ClientCredentials()"


class TokenStep(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next about the tokens of a PBX.

    Use this one, and ask again at `until`; send this request and report its answer; wait until then; or stop, and say
    why.
    """

    action: TokenAction
    token: str = ""
    request: PbxRequest | None = None
    until: float = 0.0
    reason: str = ""

    def __repr__(self) -> str:
        return f"TokenStep({self.action})"


class ListingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the PBX's list, as wrapped rows that its dialect reads; `done_until` is how far this reading has come."""

    rows: Sequence[bytes]
    done_until: int


class CallIdRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question to whoever keeps calls: under which `call_id` the calls with these `uid`s are known."""

    uids: Sequence[str]
    window: "TimeWindow"


class ListingResult(msgspec.Struct, frozen=True, kw_only=True):
    """How reading the list ended: how many rows there were, how many the PBX counts, and what was wrong, or empty."""

    row_count: int
    pbx_count: int
    incomplete_reason: str = ""


ListingReply = PbxResponse | Mapping[str, str] | None
"""To a request its answer, to `CallIdRequest` ids by `uid`, to a page nothing."""

ListingSteps = Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, ListingResult]
"""Reading the list. Raises `OnhookError` where it cannot go on."""


class SystemFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the PBX tells of itself. `clock` is its time in Unix seconds, `offset_seconds` its wall clock against UTC;
    either is None where it does not tell."""

    firmware: str = ""
    sn: str = ""
    date_format: str = ""
    time_format: str = ""
    clock: int | None = None
    offset_seconds: int | None = None


class TimeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are asked for, by when they began: Unix seconds by the PBX's clock; `until` is not included."""

    since: int
    until: int


class PbxWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook that is set in the PBX. `sends_call_ends` is whether ended calls are among its events."""

    url: str
    secret: str
    method: str
    sends_call_ends: bool

    def __repr__(self) -> str:
        return f"PbxWebhook({self.method})"


class PbxWebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the PBX is set to report."""

    is_enabled: bool
    entries: Sequence[PbxWebhook]


class PushChannel(Protocol):
    """One push channel, from its opening on. Fed with texts and the time; says what to send, and whether it lives."""

    deadline: float
    """When `on_tick` must be called next."""

    error: str
    """Why the channel is no good any more; empty while it is."""

    alive_since: float | None
    alive_until: float | None
    """Between these the channel was proven to deliver; None before it was."""

    def on_open(self, now: float) -> Sequence[str]:
        """The socket is open: what to send."""
        ...

    def receive_text(self, text: str, now: float) -> bytes | None:
        """A text has come: the event in it, or None."""
        ...

    def on_tick(self, now: float) -> Sequence[str]:
        """Time has passed: what to send."""
        ...


class PbxClient(Protocol):
    """How to talk to one kind of PBX. Names are resolved by the caller, who knows its address."""

    push_path: str
    """Where the push channel is opened; the token goes into the query."""

    def next_step(self, saved_tokens: str, credentials: ClientCredentials, now: float) -> TokenStep:
        """What is to be done now, so that there is a token; `saved_tokens` is what is known of tokens, empty at
        first."""
        ...

    def begin_step(self, saved_tokens: str, step: TokenStep, now: float) -> str:
        """What is known before a request for a token is sent."""
        ...

    def finish_step(self, saved_tokens: str, step: TokenStep, response: PbxResponse, now: float, jitter: float) -> str:
        """What is known after its answer; one that never came is `invalid_response`. `jitter` from 0 to 1 spreads
        waits."""
        ...

    def reject_token(self, saved_tokens: str, token: str, now: float, jitter: float) -> str:
        """What is known after a token was refused."""
        ...

    def replaced_token_revocation(self, saved_tokens: str) -> TokenStep | None:
        """The revocation of a token that another has taken over from, where there is one."""
        ...

    def revocation_steps(self, saved_tokens: str, now: float) -> Sequence[TokenStep]:
        """The revocations of all tokens."""
        ...

    def parse_response(self, status: int, body: bytes) -> PbxResponse:
        """What an answer to a request says; whatever the bytes, it returns."""
        ...

    def facts_request(self) -> PbxRequest:
        """What is asked to learn of the PBX itself."""
        ...

    def parse_facts(self, response: PbxResponse) -> SystemFacts:
        """And what the answer to that tells."""
        ...

    def webhooks_request(self) -> PbxRequest:
        """What is asked to learn how the PBX is set to report."""
        ...

    def parse_webhooks(self, response: PbxResponse) -> PbxWebhookConfig:
        """And what the answer to that tells."""
        ...

    def create_push_channel(self) -> PushChannel:
        """A new push channel."""
        ...

    def list_calls(self, sn: str, window: TimeWindow, facts: SystemFacts, *, rows_max: int) -> ListingSteps:
        """Read the list of calls that began in a window; no page is asked to have more rows than `rows_max`."""
        ...

    def format_file_row(self, sn: str, row: Mapping[str, str], date_format: str, call_id: str) -> bytes:
        """A line of a file that was downloaded from the PBX, as its dialect reads it; `call_id` may be empty."""
        ...

    def get_file_row_uid(self, row: Mapping[str, str]) -> str:
        """The `uid` of a line that names no call otherwise; empty where it does, or has none."""
        ...

    def recognizes_headings(self, names: Sequence[str]) -> bool:
        """Whether a file with these headings is one of the PBX's."""
        ...

    def count_calls(
        self, window: TimeWindow, facts: SystemFacts
    ) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, int | None]:
        """How many rows the PBX counts in a window; None where it does not tell."""
        ...
