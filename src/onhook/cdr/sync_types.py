"""What is known of talking to a PBX: its clock when it was asked, how far a back-fill has come, what went wrong."""

from typing import Literal

import msgspec

AlarmKind = Literal[
    "unreachable", "credentials", "certificate", "silence", "missed", "clock", "zone", "difference", "unreadable",
    "source", "gap",
]  # fmt: skip
"""Each is one alarm of a PBX, which begins and is over. `source` is that what it keeps cannot be read, `gap` that a
time in which it was not heard is not filled."""


class PbxStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The last time a PBX told of itself. `skew_seconds` is its clock against ours, `offset_seconds` its wall clock
    against UTC; either is None where it did not tell. `checked_at` is in Unix seconds, as we saw it."""

    checked_at: int
    firmware: str = ""
    skew_seconds: int | None = None
    offset_seconds: int | None = None


class BackfillProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A back-fill that was begun: which calls, by when they began, and how far it has come. Unix seconds.

    `since` and `until` are by the PBX's clock, with room for what it may be wrong; `requested_since` and
    `requested_until` are what was wanted, by ours, and `requested_until` None is up to now. `started_at` is when it
    began, by our clock.
    """

    since: int
    until: int
    done_until: int
    started_at: int
    requested_since: int
    requested_until: int | None = None


class BackfillRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A back-fill that a person asked for: calls that began from `since` on, before `until` or up to now. Unix seconds.

    `requested_at` tells one request from the next.
    """

    since: int
    until: int | None
    requested_at: int


class BackfillResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the back-fill ended that was requested at `requested_at`, in records. `error` is empty where it was whole."""

    requested_at: int
    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    unreadable: int = 0
    incomplete_reason: str = ""
    error: str = ""
