"""The task reconciler: one task per key, following the specification."""

import asyncio
import contextlib
from collections.abc import Callable

from onhook.lib.task_reconciler import TaskReconciler


class Workers:
    """Tasks that record when they start and stop."""

    def __init__(self, compare_by: Callable[[int], object] = lambda spec: spec) -> None:
        self.events: list[str] = []
        self.reconciler = TaskReconciler[str, int](self._run, name="worker", compare_by=compare_by)

    async def _run(self, key: str, spec: int) -> None:
        self.events.append(f"{key}{spec} started")
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append(f"{key}{spec} stopped")

    async def reconcile(self, specs: dict[str, int]) -> list[str]:
        self.events.clear()
        await self.reconciler.reconcile(specs)
        await asyncio.sleep(0)
        return self.events


async def test_reconcile_new_key_starts_a_task() -> None:
    workers = Workers()
    assert await workers.reconcile({"a": 1, "b": 1}) == ["a1 started", "b1 started"]
    assert workers.reconciler.keys == ["a", "b"]


async def test_reconcile_same_spec_leaves_the_task_alone() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1})
    assert await workers.reconcile({"a": 1}) == []


async def test_reconcile_changed_spec_stops_before_it_starts() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1})
    assert await workers.reconcile({"a": 2}) == ["a1 stopped", "a2 started"]


async def test_reconcile_spec_that_differs_elsewhere_leaves_the_task_alone() -> None:
    workers = Workers(compare_by=lambda spec: spec % 10)
    await workers.reconcile({"a": 1})
    assert await workers.reconcile({"a": 11}) == []
    assert await workers.reconcile({"a": 12}) == ["a1 stopped", "a12 started"]


async def test_reconcile_missing_key_stops_the_task() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1, "b": 1})
    assert await workers.reconcile({"b": 1}) == ["a1 stopped"]


async def test_close_stops_all_tasks() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1, "b": 1})
    await workers.reconciler.close()
    assert sorted(workers.events[-2:]) == ["a1 stopped", "b1 stopped"]


async def test_close_task_that_does_not_end_cancels_it_again() -> None:
    """It does not delay the others."""
    ends: list[str] = []

    async def run(key: str, cancellations: int) -> None:
        for _ in range(cancellations):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        ends.append(key)

    reconciler = TaskReconciler[str, int](run, name="worker", stop_seconds_max=0.01)
    await reconciler.reconcile({"slow": 2, "fast": 1})
    await asyncio.sleep(0)
    await reconciler.close()
    assert ends == ["fast", "slow"]


async def test_close_after_a_cancelled_reconcile_waits_for_the_tasks() -> None:
    """Tasks that were being stopped are not forgotten, and not interrupted."""
    may_end, ends = asyncio.Event(), list[str]()

    async def run(key: str, _: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            ends.append(key)

    reconciler = TaskReconciler[str, int](run, name="worker", stop_seconds_max=10.0)
    await reconciler.reconcile({"a": 1})
    await asyncio.sleep(0)
    stopping = asyncio.create_task(reconciler.reconcile({}))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    asyncio.get_running_loop().call_later(0.01, may_end.set)
    await reconciler.close()
    assert (reconciler.keys, ends) == ([], ["a"])
