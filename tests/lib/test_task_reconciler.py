"""The task reconciler: one task per key, following the specification."""

import asyncio

from onhook.lib.task_reconciler import TaskReconciler


class Workers:
    """Tasks that record when they start and stop."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.reconciler = TaskReconciler[str, int](self._run, name="worker")

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


async def test_reconcile_missing_key_stops_the_task() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1, "b": 1})
    assert await workers.reconcile({"b": 1}) == ["a1 stopped"]


async def test_close_stops_all_tasks() -> None:
    workers = Workers()
    await workers.reconcile({"a": 1, "b": 1})
    await workers.reconciler.close()
    assert sorted(workers.events[-2:]) == ["a1 stopped", "b1 stopped"]
