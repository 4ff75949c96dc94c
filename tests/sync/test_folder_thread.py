"""The thread of one folder."""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from onhook.sync.folder_thread import FolderThread

HANGING_PROGRAM = """
import threading
from onhook.sync.folder_thread import FolderThread

thread, entered = FolderThread("sweep"), threading.Event()
thread.submit(lambda: (entered.set(), threading.Event().wait()))
entered.wait()
thread.shutdown(wait=False)
"""


def test_folder_thread_runs_functions_in_order_in_one_thread() -> None:
    thread = FolderThread("sweep of a folder")
    futures = [thread.submit(lambda number: (number, threading.current_thread().name), number) for number in range(3)]
    thread.shutdown()
    assert [future.result() for future in futures] == [(number, "sweep of a folder") for number in range(3)]


def test_folder_thread_goes_on_after_an_error() -> None:
    thread = FolderThread("sweep")
    failed, divided = thread.submit(divmod, 1, 0), thread.submit(divmod, 7, 2)
    thread.shutdown()
    assert divided.result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        failed.result()


@pytest.mark.parametrize("cancels_futures", [True, False])
def test_folder_thread_shutdown_runs_what_was_submitted_unless_it_is_cancelled(cancels_futures: bool) -> None:
    thread, released = FolderThread("sweep"), threading.Event()
    entered = threading.Event()

    def wait() -> bool:
        entered.set()
        return released.wait(60)

    running = thread.submit(wait)
    waiting, cancelled = thread.submit(lambda: 1), thread.submit(lambda: 1)
    assert entered.wait(60)
    cancelled.cancel()
    thread.shutdown(wait=False, cancel_futures=cancels_futures)
    released.set()
    thread.shutdown()
    assert running.result()
    assert waiting.cancelled() == cancels_futures
    with pytest.raises(CancelledError):
        cancelled.result()


def test_folder_thread_that_waits_for_ever_does_not_keep_the_process_alive() -> None:
    subprocess.run([sys.executable, "-c", HANGING_PROGRAM], check=True, timeout=60)
