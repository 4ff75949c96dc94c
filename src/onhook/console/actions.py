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


ERASURE_LABELS = (
    ("calls", "Calls, which stay without it"),
    ("raw_events", "Raw events"),
    ("notes", "Notes"),
    ("recordings", "Recordings in a directory on this machine"),
    ("deliveries", "Stored deliveries"),
    ("saved_searches", "Saved searches"),
    ("share_tokens", "Share tokens, which are revoked"),
    ("audit_entries", "Entries of the audit log"),
)
"""The counts of an erasure in the order in which they are shown, and what they count."""


class ErasureCounts(Protocol):
    """What has a number; see `ops.number_erasure.NumberCounts`."""

    @property
    def calls(self) -> int: ...
    @property
    def raw_events(self) -> int: ...
    @property
    def notes(self) -> int: ...
    @property
    def recordings(self) -> int: ...
    @property
    def deliveries(self) -> int: ...
    @property
    def saved_searches(self) -> int: ...
    @property
    def share_tokens(self) -> int: ...
    @property
    def audit_entries(self) -> int: ...
    @property
    def settings(self) -> Sequence[str]: ...


class ErasureStatus(Protocol):
    """An erasure: the number of its entry, its calls, and how far it is."""

    @property
    def seq(self) -> int: ...
    @property
    def calls(self) -> int: ...
    @property
    def state(self) -> Literal["erasing", "rewritten", "finished"]: ...


class Erase(Protocol):
    """Erases a number; `calls` confirms how many calls have it. Raises `UsageError`, `NotFound`."""

    async def __call__(self, number: str, *, calls: int | None = None) -> ErasureCounts: ...


class ErasureActions(msgspec.Struct, frozen=True, kw_only=True):
    """`preview` returns what has a number, `erase` erases it, `list_erasures` returns all, the latest first."""

    preview: Callable[[str], Awaitable[ErasureCounts]]
    erase: Erase
    list_erasures: Callable[[], Awaitable[Sequence[ErasureStatus]]]


class SendTest(Protocol):
    """Sends a test to the destination with that name, or a sample event. Raises `NotFound`."""

    async def __call__(self, name: str, *, is_sample: bool = False) -> DestinationTestResult: ...


class DeliveryActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test` sends a test to a destination; `delivery_metrics` are by its number."""

    send_test: SendTest
    delivery_metrics: Callable[[], Mapping[int, AttemptMetrics]]
