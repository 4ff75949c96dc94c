"""One line of `onhook doctor`. Of its own, because every module of checks needs it."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

CheckStatus = Literal["OK", "WARNING", "ERROR"]
STATUSES: Sequence[CheckStatus] = get_args(CheckStatus)
"""From the best to the worst."""


class Check(msgspec.Struct, frozen=True):
    """`WARNING` needs a person's judgement; `ERROR` breaks something. `lines` are to be added to `file`."""

    status: CheckStatus
    detail: str
    hint: str = ""
    file: str = ""
    lines: Sequence[str] = ()


def worst_check(checks: Iterable[Check]) -> Check:
    """Return the first check of the worst status; `OK` without any."""
    return max(checks, key=lambda check: STATUSES.index(check.status), default=Check("OK", ""))
