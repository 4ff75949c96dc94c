"""State of the synchronisation with a PBX: its clock, the progress of a back-fill, errors."""

from typing import Literal

import msgspec

AlarmKind = Literal[
    "unreachable", "credentials", "certificate", "silence", "missed", "clock", "skew", "zone", "difference",
    "unreadable", "source", "gap",
]  # fmt: skip
"""Each is one alarm of a PBX, with begin and end. `clock` is by the times of its calls, `skew` by what its API reports:
they have different limits, and each ends by its own source. `source` means that its CDR source cannot be read, `gap`
that a period without a connection was not back-filled.
"""


class PbxStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The last reply of a PBX about itself. `skew_seconds` is the difference of its clock to ours, `offset_seconds`
    that of its wall clock to UTC; either is None if unknown. `checked_at` is in Unix seconds, by our clock.
    """

    checked_at: int
    firmware: str = ""
    skew_seconds: int | None = None
    offset_seconds: int | None = None


PushChannelState = Literal["opening", "connected", "token_refused", "waiting"]
"""`token_refused`: the PBX has forgotten the token, and Onhook logs in again at once. `waiting`: for the next attempt,
or for an operator.
"""


class PushChannelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the push channel of a PBX, since when it is so (Unix seconds), and why it is not connected."""

    state: PushChannelState
    since: int
    reason: str = ""


class BackfillProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A back-fill in progress: its range of call starts and how far it has come. Unix seconds.

    `since` and `until` are by the PBX's clock, with a margin for its error; `requested_since` and `requested_until` are
    the requested range, by our clock, and `requested_until` None means up to now. `started_at` is when it began, by our
    clock.
    """

    since: int
    until: int
    done_until: int
    started_at: int
    requested_since: int
    requested_until: int | None = None


class BackfillRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A back-fill that a user requested: calls that began from `since` on, before `until` or up to now. Unix seconds.

    `requested_at` identifies the request.
    """

    since: int
    until: int | None
    requested_at: int


class BackfillResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the back-fill that was requested at `requested_at`, in records. `error` is empty if it was complete."""

    requested_at: int
    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    unreadable: int = 0
    incomplete_reason: str = ""
    error: str = ""
