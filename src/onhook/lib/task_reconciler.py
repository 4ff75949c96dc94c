"""Tasks that follow a specification: one per key, started, cancelled and restarted as the specification changes."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Spec = TypeVar("Spec")

Start = Callable[[Key, Spec], Coroutine[None, None, None]]


class TaskReconciler(Generic[Key, Spec]):
    """Runs one task per key. Create it inside an event loop; specifications are compared with `==`."""

    def __init__(self, start: Start[Key, Spec], *, name: str) -> None:
        self._start = start
        self._name = name
        self._running: dict[Key, tuple[Spec, asyncio.Task[None]]] = {}

    @property
    def keys(self) -> list[Key]:
        return list(self._running)

    async def reconcile(self, specs: Mapping[Key, Spec]) -> None:
        """Cancel the tasks whose specification was removed or changed, wait for them, and start the missing ones."""
        await self._cancel([key for key, (spec, _) in self._running.items() if key not in specs or specs[key] != spec])
        for key, spec in specs.items():
            if key not in self._running:
                task = asyncio.create_task(self._start(key, spec), name=f"{self._name} {key}")
                self._running[key] = spec, task

    async def close(self) -> None:
        """Cancel all tasks and wait for them."""
        await self._cancel(list(self._running))

    async def _cancel(self, keys: list[Key]) -> None:
        tasks = [self._running.pop(key)[1] for key in keys]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
