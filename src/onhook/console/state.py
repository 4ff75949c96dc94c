"""Dependencies of the console's routes, and its state between requests."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from onhook.appdb.appdb import AppDb
from onhook.appdb.directory_cache import DirectoryCache
from onhook.cdr.queue_states import QueueState
from onhook.cdr.record_masking import Masking
from onhook.config import Config
from onhook.console.actions import ConsoleActions, DeliveryActions, ErasureActions
from onhook.console.auth.failures import PasswordTries, ResetRequests, WrongTokens
from onhook.console.auth.provider_client import ProviderClient
from onhook.console.concurrency_limiter import ConcurrencyLimiter
from onhook.console.export_jobs import ExportJobs
from onhook.console.live.live_tail import LiveTail
from onhook.console.request_coalescing import RequestCoalescer
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.store.contract import QuarantineEntry, Store
from onhook.store.position_notifier import PositionNotifier
from onhook.store.sql.contract import SqlRunner

RetryParsing = Callable[[Sequence[int]], Awaitable[Sequence[QuarantineEntry]]]
"""Retries events of the quarantine; returns those that still cannot be parsed."""


class ResponseCounters:
    """Responses by status, for `/metrics`; bounded, because there are few statuses."""

    def __init__(self) -> None:
        self._counts_by_status: dict[int, int] = {}

    def record_response(self, status: int) -> None:
        """Count one response."""
        self._counts_by_status[status] = self._counts_by_status.get(status, 0) + 1

    def counts_by_status(self) -> dict[int, int]:
        """Return the number of responses by status, since the start."""
        return dict(sorted(self._counts_by_status.items()))


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a route may use. For a reader with masked numbers `store` masks them, and `masking` says how;
    `unmasked_store` is for what is not shown, such as the name of a file to open.
    """

    store: Store
    unmasked_store: Store
    sql_runner: SqlRunner
    ledger: Ledger
    appdb: AppDb
    clock: Clock
    config: Config
    position_notifier: PositionNotifier
    live_limiter: ConcurrencyLimiter
    export_limiter: ConcurrencyLimiter
    playback_limiter: ConcurrencyLimiter
    export_jobs: ExportJobs
    password_tries: PasswordTries
    live_tail: LiveTail
    retry_parsing: RetryParsing
    delivery_actions: DeliveryActions
    actions: ConsoleActions
    erasure: ErasureActions
    wrong_tokens: WrongTokens
    reset_requests: ResetRequests
    provider_client: ProviderClient
    response_counters: ResponseCounters
    coalescer: RequestCoalescer
    directory: DirectoryCache
    count_flooding_sockets: Callable[[], int]
    """Sockets of the PBX API that were closed because of too many frames, since the start."""
    read_live_queues: Callable[[], Awaitable[Mapping[str, Sequence[QueueState]]]]
    """The queues at this moment, by serial number, of the PBXs that report them."""
    masking: Masking | None = None


AnyRequest = Request[Any, Any, Any]

AppStateDep = NamedDependency[SkipValidation[AppState]]
"""The parameter of a route that receives the `AppState`."""
