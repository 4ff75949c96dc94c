"""The disk of a simulated machine: an operation fails, the disk is full, or the machine dies in the middle."""

import errno
import sqlite3
from collections.abc import Callable
from typing import Any

import duckdb

from tests.faults.operations import FailingOperation
from tests.simulation.virtual_time import PROCESS

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "CREATE")


class SimulatedDisk(FailingOperation):
    """Operations of one start of the machine. `save` keeps the files as they are at the death, before anything else."""

    def __init__(self, save: Callable[[], None]) -> None:
        super().__init__(0)
        self.is_full = False
        self.is_dead = False
        self.dead_processes: set[str] = set()
        """Processes of which no operation is done any more, while the machine goes on."""
        self._save = save
        self._death_number = 0
        self._is_death_late = False

    @property
    def is_sound(self) -> bool:
        """Return whether no operation fails now, or is to fail."""
        return not (self.is_full or self.is_dead or self._number > self._count or self._death_number > self._count)

    def fail_after(self, operations: int, *, is_late: bool) -> None:
        """Let one operation fail: the first one after so many others."""
        self._number, self._is_late = self._count + 1 + operations, is_late

    def die_after(self, operations: int, *, is_late: bool) -> None:
        """Let the machine die at one operation: the first one after so many others."""
        self._death_number, self._is_death_late = self._count + 1 + operations, is_late

    def die(self) -> None:
        """Let the machine die now: every further operation fails, and the saved files are what remains."""
        if not self.is_dead:
            self._save()
            self.is_dead = True

    def repair(self) -> None:
        """Let no operation fail."""
        self.is_full, self._number, self._death_number = False, 0, 0

    def run(self, operation: Callable[..., Any], error: Exception, *arguments: Any, **options: Any) -> Any:
        if PROCESS.get() in self.dead_processes:
            raise error
        is_death = self._count + 1 == self._death_number
        if is_death and not self._is_death_late:
            self.die()
        if self.is_dead:
            raise error
        if self.is_full and _is_write(operation, arguments):
            raise _full_error(error)
        result = super().run(operation, error, *arguments, **options)
        if is_death:
            if isinstance(result, sqlite3.Cursor):
                result.close()
            self.die()
            raise error
        return result


def _is_write(operation: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    text = arguments[0] if arguments and isinstance(arguments[0], str) else getattr(operation, "__name__", "")
    return text.lstrip().upper().startswith(WRITES)


def _full_error(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        return sqlite3.OperationalError("database or disk is full")
    if isinstance(error, duckdb.Error):
        return duckdb.IOException("IO Error: Could not write file: No space left on device")
    return OSError(errno.ENOSPC, "No space left on device")
