"""What the console is handed of the house beyond its own rooms: the way in tried out, a PBX examined, a made-up PBX."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

import msgspec


class CheckResult(Protocol):
    """One thing that was looked at: `wrong` keeps something from working, `look` is for a person to judge."""

    @property
    def grade(self) -> Literal["right", "look", "wrong"]: ...
    @property
    def what(self) -> str: ...
    @property
    def todo(self) -> str: ...


class ConsoleActions(msgspec.Struct, frozen=True, kw_only=True):
    """`try_intake` posts a signed test as the PBX with that serial number would, and answers with what came of it, in a
    sentence. `examine` looks at that PBX as `onhook doctor` does. `show_made_up` lets a made-up PBX call, for a
    while. All raise `OnhookError` where they cannot."""

    try_intake: Callable[[str], Awaitable[str]]
    examine: Callable[[str], Awaitable[Sequence[CheckResult]]]
    show_made_up: Callable[[], Awaitable[None]]
