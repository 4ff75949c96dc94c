"""What the console is handed of the house beyond its own rooms: the way in tried out, a PBX examined, a made-up PBX."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

import msgspec


class CheckResult(Protocol):
    """One thing that was looked at: `ERROR` keeps something from working, `WARNING` is for a person to judge."""

    @property
    def status(self) -> Literal["OK", "WARNING", "ERROR"]: ...
    @property
    def detail(self) -> str: ...
    @property
    def hint(self) -> str: ...


class ConsoleActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test_event` posts a signed test as the PBX with that serial number would, and answers with what came of it,
    in a sentence. `run_pbx_checks` looks at that PBX as `onhook doctor` does. `start_simulated_pbx` lets a simulated
    PBX call, for a while. All raise `OnhookError` where they cannot."""

    send_test_event: Callable[[str], Awaitable[str]]
    run_pbx_checks: Callable[[str], Awaitable[Sequence[CheckResult]]]
    start_simulated_pbx: Callable[[], Awaitable[None]]
