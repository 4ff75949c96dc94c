"""The contract of a PBX client: which requests to send and when, as pure values and state machines. The caller sends
them.

Invariants: nothing here waits, reads a clock or opens a socket. Times are Unix seconds passed in by the caller. Secrets
(tokens, client secrets) are in no `repr`.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from onhook.cdr.directory import EntryKind

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
"""Meaning of an error response, in this order: the token has expired; retry later; too many tokens are active; an
operator must act; the credentials are rejected; the firmware does not have this endpoint; the request is invalid; a
parameter is invalid; the response cannot be parsed.
"""

Members = Mapping[str, Any]


class PbxRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the PBX's web API. `body` is JSON for a POST. The sender adds the token."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"PbxRequest({self.method} {self.path})"


class PbxResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response of the PBX: its code, the kind of error if it is not a success, and the members of the object."""

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
    """The next action for the tokens of a PBX.

    `use` the token, and ask again at `until`; send the request and report its response; wait until `until`; or halt
    with the reason.
    """

    action: TokenAction
    token: str = ""
    request: PbxRequest | None = None
    until: float = 0.0
    reason: str = ""

    def __repr__(self) -> str:
        return f"TokenStep({self.action})"


class ListingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the PBX's call list, as wrapped rows that its dialect parses. `done_until` is the progress so far."""

    rows: Sequence[bytes]
    done_until: int


class CallIdRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A query to the caller's store: the `call_id` of the calls with these `uid`s."""

    uids: Sequence[str]
    window: "TimeWindow"


class ListingResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of reading the list: rows read, rows that the PBX counts, and the reason if the list is incomplete,
    else empty.
    """

    row_count: int
    pbx_count: int
    incomplete_reason: str = ""


class StoredLeg(msgspec.Struct, frozen=True):
    """A stored leg of a call: its number, and its start by the PBX's wall clock, as in the event."""

    number: str
    time_start: str


class FileSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """What all lines of a call file show together. `is_rounded`: a spreadsheet has rounded its ids. `shared_uids` are
    those of several lines that began in the minute of the call, by times without seconds.
    """

    is_rounded: bool = False
    shared_uids: frozenset[str] = frozenset()


ORDINARY_FILE = FileSurvey()

ListingReply = PbxResponse | Mapping[str, str] | None
"""The response to a request, `call_id` by `uid` for a `CallIdRequest`, None for a page."""

ListingSteps = Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, ListingResult]
"""The steps that read the list. Raises `OnhookError` if reading cannot continue."""


class NumberName(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a PBX and its name, as the PBX itself lists it."""

    number: str
    kind: EntryKind
    name: str


NameListSteps = Generator[PbxRequest, PbxResponse, Sequence[NumberName]]
"""The steps that read the names of the PBX's own numbers. Raises `Unavailable` if they cannot be read."""


class SystemFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that the PBX reports about itself. `clock` is its time in Unix seconds, `offset_seconds` its wall clock
    minus UTC; None where the PBX does not report them.
    """

    firmware: str = ""
    sn: str = ""
    date_format: str = ""
    time_format: str = ""
    clock: int | None = None
    offset_seconds: int | None = None


class TimeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A range of call start times: Unix seconds by the PBX's clock. `until` is not included."""

    since: int
    until: int


class PbxWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook configured in the PBX. `sends_call_ends` is true if ended calls are among its events."""

    url: str
    secret: str
    method: str
    sends_call_ends: bool

    def __repr__(self) -> str:
        return f"PbxWebhook({self.method})"


class PbxWebhookConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook configuration of the PBX."""

    is_enabled: bool
    entries: Sequence[PbxWebhook]


class PushChannel(Protocol):
    """The state machine of one push channel. Input: received texts and the time. Output: texts to send, and whether the
    channel is connected.
    """

    deadline: float
    """Time of the next `on_tick`."""

    error: str
    """Reason why the channel is unusable; empty while it works."""

    alive_since: float | None
    alive_until: float | None
    """The channel was proven to deliver between these times; None before the first proof."""

    def on_open(self, now: float) -> Sequence[str]:
        """Handle the opened socket; return the texts to send."""
        ...

    def receive_text(self, text: str, now: float) -> bytes | None:
        """Handle a received text; return the event in it, or None."""
        ...

    def on_tick(self, now: float) -> Sequence[str]:
        """Handle the passing of time; return the texts to send."""
        ...


class PbxClient(Protocol):
    """The client of one kind of PBX. The caller holds the address and resolves host names."""

    push_path: str
    """Path at which the push channel is opened; the token goes into the query."""

    def next_step(self, saved_tokens: str, credentials: ClientCredentials, now: float) -> TokenStep:
        """Return the next action to get a usable token. `saved_tokens` is the saved token state, empty at first."""
        ...

    def begin_step(self, saved_tokens: str, step: TokenStep, now: float) -> str:
        """Return the token state to save before a token request is sent."""
        ...

    def finish_step(self, saved_tokens: str, step: TokenStep, response: PbxResponse, now: float, jitter: float) -> str:
        """Return the token state after the response; a response that never came is `invalid_response`. `jitter` from 0
        to 1 spreads waits.
        """
        ...

    def reject_token(self, saved_tokens: str, token: str, now: float, jitter: float) -> str:
        """Return the token state after the PBX rejected a token."""
        ...

    def replaced_token_revocation(self, saved_tokens: str) -> TokenStep | None:
        """Return the revocation of a token that a newer one has replaced, or None."""
        ...

    def revocation_steps(self, saved_tokens: str, now: float) -> Sequence[TokenStep]:
        """Return the revocations of all tokens."""
        ...

    def parse_response(self, status: int, body: bytes) -> PbxResponse:
        """Parse a response. Never raises, whatever the bytes."""
        ...

    def facts_request(self) -> PbxRequest:
        """Return the request for the facts about the PBX."""
        ...

    def parse_facts(self, response: PbxResponse) -> SystemFacts:
        """Parse the response to `facts_request`."""
        ...

    def token_check_requests(self) -> Sequence[PbxRequest]:
        """Return requests whose responses show whether a token is valid, in the order in which to send them: the next
        one where the PBX does not answer the one before with any token.
        """
        ...

    def webhooks_request(self) -> PbxRequest:
        """Return the request for the webhook configuration."""
        ...

    def parse_webhooks(self, response: PbxResponse) -> PbxWebhookConfig:
        """Parse the response to `webhooks_request`."""
        ...

    def create_push_channel(self) -> PushChannel:
        """Return a new push channel."""
        ...

    def list_calls(self, sn: str, window: TimeWindow, facts: SystemFacts, *, rows_max: int) -> ListingSteps:
        """Read the list of calls that began in a window. No page is requested with more than `rows_max` rows."""
        ...

    def list_names(self) -> NameListSteps:
        """Read the names of extensions, queues and other numbers of the PBX."""
        ...

    def survey_file(self, rows: Iterable[Mapping[str, str]]) -> FileSurvey:
        """Read all lines of a file downloaded from the PBX."""
        ...

    def format_file_row(
        self,
        sn: str,
        row: Mapping[str, str],
        date_format: str,
        call_id: str,
        *,
        survey: FileSurvey = ORDINARY_FILE,
        stored_legs: Sequence[StoredLeg] = (),
    ) -> bytes:
        """Return a line of a file downloaded from the PBX as a raw event for its dialect. `call_id` is that of the
        stored call with its `uid`, or empty, `stored_legs` are that call's.
        """
        ...

    def get_file_row_uid(self, row: Mapping[str, str], survey: FileSurvey = ORDINARY_FILE) -> str:
        """Return the `uid` of a line that needs the stored call: it has no call id, or no certain one, or no seconds;
        empty if it needs none, or has no `uid`.
        """
        ...

    def recognizes_headings(self, names: Sequence[str]) -> bool:
        """Return whether a file with these headings is an export of this PBX."""
        ...

    def count_calls(
        self, window: TimeWindow, facts: SystemFacts
    ) -> Generator[PbxRequest | CallIdRequest | ListingPage, ListingReply, int | None]:
        """Return the number of rows that the PBX counts in a window; None if the PBX does not report it."""
        ...
