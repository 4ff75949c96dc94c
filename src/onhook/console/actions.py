"""Actions that the console receives from `runtime`: send a test event, run checks, start a simulated PBX."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult


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


class SendTest(Protocol):
    """Sends a test to the destination with that name, or a sample event. Raises `NotFound`."""

    async def __call__(self, name: str, *, is_sample: bool = False) -> DestinationTestResult: ...


class DeliveryActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test` sends a test to a destination; `delivery_metrics` are by its number."""

    send_test: SendTest
    delivery_metrics: Callable[[], Mapping[int, AttemptMetrics]]
