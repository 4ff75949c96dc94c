"""The thread of one folder: what it does with files may wait for ever, at a network drive that does not answer.

Invariant: a function that waits for ever delays no other folder, and does not keep the process alive: the thread is a
daemon, which those of a `ThreadPoolExecutor` are not.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

ResultT = TypeVar("ResultT")
ParametersT = ParamSpec("ParametersT")


class FolderThread(Executor):
    """Runs functions one after another in a thread of its own, until it is shut down; those that were submitted before
    are run still, unless their future is cancelled.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, function: Callable[ParametersT, ResultT], /, *arguments: ParametersT.args, **options: ParametersT.kwargs
    ) -> Future[ResultT]:
        """Run a function after those that were submitted before."""
        future: Future[ResultT] = Future()
        self._calls.put((future, partial(function, *arguments, **options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread after what was submitted; `cancel_futures` cancels what has not begun."""
        while cancel_futures and not self._calls.empty():
            if (call := self._calls.get()) is not None:
                call[0].cancel()
        self._calls.put(None)
        if wait:
            self._thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)
            else:
                future.set_result(result)
            del call, future, function
