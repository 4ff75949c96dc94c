"""The contract of a list of calls that a PBX serves by HTTP, for dialects whose raw events are entries of that list.

A list client has no input or output: its steps are requests, waits and pages, whose replies it receives. Invariants: it
ends; it waits for no more than `WAIT_SECONDS_MAX` at once. No error contains a password, a token or a cookie.
"""

from collections.abc import Generator, Mapping, Sequence
from datetime import tzinfo
from typing import Literal, Protocol

import msgspec

from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import ClientCredentials, ListingPage, ListingResult, TimeWindow

ATTEMPTS_MAX = 4
WAIT_SECONDS_FIRST = 2.0
WAIT_SECONDS_MAX = 60.0
"""Waits for a PBX that has no time: 2, 4 and 8 seconds, or the delay that it requests."""

_BUSY_STATUSES = frozenset({429, 502, 503, 504})
_REFUSED_STATUSES = frozenset({401, 403})


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `path` begins with a slash and has no query; `body` is that of a POST. With `is_digest` the sender
    answers a challenge of HTTP Digest with the credentials.
    """

    method: Literal["GET", "POST"] = "GET"
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    is_digest: bool = False

    def __repr__(self) -> str:
        return f"ListRequest({self.method} {self.path})"


class ListReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to a request; `retry_seconds` is the delay that the PBX requests, else 0."""

    status: int
    body: bytes = b""
    retry_seconds: float = 0.0


class ListWait(msgspec.Struct, frozen=True):
    """A wait before the next step."""

    seconds: float


class CallListSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a list client needs to know. `zone` is that of the PBX's clock, None where it is not set."""

    login: ClientCredentials
    window: TimeWindow
    zone: tzinfo | None = None


CallListSteps = Generator[ListRequest | ListWait | ListingPage, ListReply | None, ListingResult]
"""The steps that read the list: the reply to a request, None for a wait or a page."""

RequestSteps = Generator[ListRequest | ListWait, ListReply | None, ListReply]


class CallListClient(Protocol):
    """The client of the list of one kind of PBX. `settle_seconds` is how long after its end a call may be missing in
    the list: the end of a window is so long before now.
    """

    settle_seconds: int

    def list_calls(self, settings: CallListSettings) -> CallListSteps:
        """Read the calls that began in a window, in any order; a page has the bodies of raw events. Raises
        `NotAllowed` where only an operator can help, else `Unavailable`.
        """
        ...


def request_patiently(request: ListRequest) -> RequestSteps:
    """Send a request, again where the PBX has no time. Raises `Unavailable` where it never has."""
    for attempt in range(ATTEMPTS_MAX):
        reply = yield from _request(request)
        if reply.status not in _BUSY_STATUSES:
            return reply
        if attempt < ATTEMPTS_MAX - 1:
            yield wait_before(attempt, reply.retry_seconds)
    raise list_unavailable(_("it has no time for requests"))


def _request(request: ListRequest) -> Generator[ListRequest, ListReply | None, ListReply]:
    reply = yield request
    assert reply is not None, "a request has a reply"
    return reply


def wait_before(attempt: int, requested_seconds: float = 0.0) -> ListWait:
    """Return the wait after this many attempts, counted from 0."""
    return ListWait(min(max(requested_seconds, WAIT_SECONDS_FIRST * 2**attempt), WAIT_SECONDS_MAX))


def raise_for_status(reply: ListReply) -> None:
    """Raise `NotAllowed` for a reply that refuses the credentials, `Unavailable` for any other one but a success."""
    if reply.status in _REFUSED_STATUSES:
        raise credentials_refused(_("HTTP status {status}", status=reply.status))
    if reply.status != 200:
        raise list_unavailable(_("HTTP status {status}", status=reply.status))


def credentials_refused(reason: str) -> OnhookError:
    """Return the error that says that the PBX refuses the credentials."""
    return NotAllowed(
        _("the PBX refuses the credentials of its list of calls: {reason}", reason=reason),
        hint=_("correct them in the PBX, then set them again with `onhook pbx change --client-id --client-secret`"),
    )


def list_unavailable(reason: str) -> OnhookError:
    """Return the error that says why the list cannot be read now."""
    return Unavailable(
        _("the list of calls of the PBX cannot be read: {reason}", reason=reason),
        hint=_("Onhook retries automatically"),
    )


def split_days(window: TimeWindow, seconds: int) -> Sequence[TimeWindow]:
    """Return the parts of a window, in order, each so long at most.

    >>> [(part.since, part.until) for part in split_days(TimeWindow(since=0, until=25), 10)]
    [(0, 10), (10, 20), (20, 25)]
    """
    starts = range(window.since, window.until, seconds)
    return [TimeWindow(since=start, until=min(start + seconds, window.until)) for start in starts]
