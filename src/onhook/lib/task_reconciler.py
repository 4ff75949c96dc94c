"""Tasks that follow a specification: one per key, started, cancelled and restarted as the specification changes."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Spec = TypeVar("Spec")

Start = Callable[[Key, Spec], Coroutine[None, None, None]]


def is_cancelled() -> bool:
    """Return whether the current task itself was cancelled, and not only something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def raise_if_cancelled() -> None:
    """Raise the cancellation of the current task where an error of its clean-up has replaced it: a loop that goes on
    after errors would never end.
    """
    if is_cancelled():
        raise asyncio.CancelledError


class TaskReconciler(Generic[Key, Spec]):
    """Runs one task per key. Create it inside an event loop.

    A task is restarted when `compare_by` returns another value for its specification; by default the specification
    itself is compared. Tasks that have not ended `stop_seconds_max` after they were cancelled are cancelled again; with
    None, the reconciler waits for them.
    """

    def __init__(
        self,
        start: Start[Key, Spec],
        *,
        name: str,
        compare_by: Callable[[Spec], object] = lambda spec: spec,
        stop_seconds_max: float | None = None,
    ) -> None:
        self._start = start
        self._name = name
        self._compare_by = compare_by
        self._stop_seconds_max = stop_seconds_max
        self._running: dict[Key, tuple[Spec, asyncio.Task[None]]] = {}

    @property
    def keys(self) -> list[Key]:
        return list(self._running)

    async def reconcile(self, specs: Mapping[Key, Spec]) -> None:
        """Cancel the tasks whose specification was removed or changed, wait for them, and start the missing ones."""
        await self._cancel([key for key, (spec, _) in self._running.items() if self._has_changed(spec, specs.get(key))])
        for key, spec in specs.items():
            if key not in self._running:
                task = asyncio.create_task(self._start(key, spec), name=f"{self._name} {key}")
                self._running[key] = spec, task

    def _has_changed(self, old_spec: Spec, new_spec: Spec | None) -> bool:
        return new_spec is None or self._compare_by(new_spec) != self._compare_by(old_spec)

    async def close(self) -> None:
        """Cancel all tasks and wait for them."""
        await self._cancel(list(self._running))

    async def _cancel(self, keys: list[Key]) -> None:
        await self._cancel_tasks([self._running[key][1] for key in keys])
        # Removed last: where the caller is cancelled meanwhile, `close` still waits for them.
        for key in keys:
            del self._running[key]

    async def _cancel_tasks(self, tasks: Collection[asyncio.Task[None]]) -> None:
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        if tasks:
            _ended_tasks, overdue_tasks = await asyncio.wait(tasks, timeout=self._stop_seconds_max)
            for task in overdue_tasks:
                task.cancel()
            if overdue_tasks:
                await asyncio.wait(overdue_tasks)
