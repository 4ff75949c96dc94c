"""Actions that the console receives from `runtime`: send a test event, run checks, start a simulated PBX."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

import msgspec


class CheckResult(Protocol):
    """The result of one check: `ERROR` breaks something, `WARNING` needs a person's judgement."""

    @property
    def status(self) -> Literal["OK", "WARNING", "ERROR"]: ...
    @property
    def detail(self) -> str: ...
    @property
    def hint(self) -> str: ...


class ConsoleActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test_event` posts a signed test event as the PBX with that serial number would, and returns the result in a
    sentence. `run_pbx_checks` runs the checks of `onhook doctor`. `start_simulated_pbx` runs a simulated PBX for a
    while. All raise `OnhookError`.
    """

    send_test_event: Callable[[str], Awaitable[str]]
    run_pbx_checks: Callable[[str], Awaitable[Sequence[CheckResult]]]
    start_simulated_pbx: Callable[[], Awaitable[None]]
