"""An event loop whose time moves by itself when nothing else can happen: hours pass in milliseconds.

Invariants: only this loop's thread runs. Work for threads is done at once, and its result arrives a little later, in
the order of the executor, by a time that the seed decides; so the loop sees the results of several threads in any
order. Timers and clocks of the system under test read the loop's time alone.
"""

import asyncio
import contextvars
import heapq
import selectors
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, TypeVar

import pytest

THREAD_SECONDS_MAX = 0.003
"""Longest virtual time until the result of a thread arrives."""

GRACE_SECONDS = 0.0003
"""Real time for a socket before a longer wait is skipped: the kernel delivers on the loopback within microseconds."""

STUCK_SECONDS = 10.0
"""Real time after which a loop without timers is stuck."""

ResultT = TypeVar("ResultT")

PROCESS: ContextVar[str] = ContextVar("process", default="")
"""The simulated process that runs now; empty for what is outside of all that may die or stand still by itself."""


class VirtualTime:
    """Seconds since the start of the simulation."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def read(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once, as on a machine that was suspended."""
        self.seconds += max(0.0, seconds)


class SimulatedClock:
    """A clock that runs with the virtual time, and that the test sets."""

    def __init__(self, virtual_time: VirtualTime, start: datetime) -> None:
        self._virtual_time = virtual_time
        self._start = start
        self.error_seconds = 0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._virtual_time.seconds + self.error_seconds)

    def microseconds(self) -> int:
        return round(self.now().timestamp() * 1_000_000)


class VirtualSelector(selectors.DefaultSelector):
    """Skips a wait in which no socket becomes ready."""

    def __init__(self, virtual_time: VirtualTime) -> None:
        super().__init__()
        self._virtual_time = virtual_time

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return self._select_without_timer()
        events = super().select(GRACE_SECONDS if timeout > THREAD_SECONDS_MAX else 0)
        if not events:
            self._virtual_time.advance(timeout)
        return events

    def _select_without_timer(self) -> Any:
        events = super().select(STUCK_SECONDS)
        assert events, "the simulation waits for nothing"
        return events


class ProcessHandle(asyncio.Handle):
    """A callback of a process, which does not run while that is frozen."""

    _context: contextvars.Context
    _loop: "VirtualLoop"

    def _run(self) -> None:
        if not self._loop.is_held(self, self._context):
            super()._run()


class ProcessTimer(asyncio.TimerHandle):
    """A timer of a process, which does not run while that is frozen."""

    _context: contextvars.Context
    _loop: "VirtualLoop"

    def _run(self) -> None:
        if not self._loop.is_held(self, self._context):
            super()._run()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop on virtual time. `rng` decides when results of threads arrive."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, virtual_time: VirtualTime, rng: Random) -> None:
        self._virtual_time = virtual_time
        self._rng = rng
        self._own_thread = threading.get_ident()
        self._arrivals: dict[int, float] = {}
        self._held: dict[str, list[asyncio.Handle]] = {}
        super().__init__(VirtualSelector(virtual_time))

    def time(self) -> float:
        return self._virtual_time.seconds

    def freeze(self, process: str) -> None:
        """Let a process stand still: none of its callbacks runs."""
        self._held.setdefault(process, [])

    def thaw(self, process: str) -> None:
        """Let a process go on: what has come meanwhile runs now, in its order."""
        self._ready.extend(self._held.pop(process, []))

    def is_held(self, handle: asyncio.Handle, context: contextvars.Context) -> bool:
        """Return whether the process of a callback is frozen; then the callback is kept for later."""
        held = self._held.get(context.get(PROCESS, "")) if self._held else None
        if held is None:
            return False
        held.append(handle)
        return True

    def _call_soon(self, callback: Any, args: Any, context: Any) -> asyncio.Handle:
        handle = ProcessHandle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override] # the typeshed's form cannot be passed on
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = ProcessTimer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined] # as in the base class
        return timer

    def call_soon_threadsafe(  # type: ignore[override] # the typeshed's form cannot be passed on
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._own_thread:
            return super().call_soon_threadsafe(callback, *args, context=context)
        # The last argument is the future of the thread, where it is one.
        executor = getattr(args[-1], "executor_id", 0) if args else 0
        earliest = max(self.time(), self._arrivals.get(executor, 0.0))
        self._arrivals[executor] = arrival = earliest + self._rng.uniform(0, THREAD_SECONDS_MAX)
        return self.call_at(arrival, callback, *args, context=context)


def run_simulation(seed: int, main: Callable[[VirtualTime], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run a simulation to its end on a loop of its own."""
    virtual_time = VirtualTime()
    rng = Random(f"{seed}/threads")
    with (
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner(loop_factory=lambda: VirtualLoop(virtual_time, rng)) as runner,
    ):
        patch.setattr(time, "monotonic", virtual_time.read)
        patch.setattr(time, "sleep", virtual_time.advance)
        patch.setattr(ThreadPoolExecutor, "submit", _submit_inline)
        patch.setattr(sqlite3, "connect", partial(_connect_impatiently, sqlite3.connect))
        return runner.run(main(virtual_time))


def start_time(rng: Random) -> datetime:
    """Return when a simulation begins: in summer, or a day before Berlin's clock is changed."""
    day = rng.choice([(2026, 6, 1), (2026, 10, 24), (2027, 3, 27)])
    return datetime(*day, rng.randrange(24), rng.randrange(60), tzinfo=UTC)


def _connect_impatiently(connect: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Connect to an SQLite file without a wait for locks: it would be real, and nothing else runs meanwhile."""
    return connect(*args, **options | {"timeout": 0})


def _submit_inline(executor: Any, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
    if executor._shutdown:
        raise RuntimeError("cannot schedule new futures after shutdown")
    future: Future[Any] = Future()
    future.executor_id = id(executor)  # type: ignore[attr-defined] # read by the loop
    try:
        result = work(*args, **options)
    except BaseException as error:  # noqa: BLE001 - as an executor does
        future.set_exception(error)
    else:
        future.set_result(result)
    return future
