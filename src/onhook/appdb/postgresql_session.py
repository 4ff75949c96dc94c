"""A connection of PostgreSQL in the hands of one task."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from onhook.appdb.contract import Row
from onhook.appdb.postgresql_connection import Connection, translate_errors
from onhook.appdb.postgresql_statements import translate
from onhook.appdb.session import TaskSession, deadline_error

ROLLBACK_SECONDS_MAX = 5.0
"""For the rollback behind a caller that gave up. Then the connection is closed, and the server rolls back."""

ResultT = TypeVar("ResultT")
Work = Callable[[Connection], Awaitable[ResultT]]


class PostgresqlSession(TaskSession):
    """One task's use of a connection of PostgreSQL. A statement that fails ends its transaction."""

    def __init__(self, connection: Connection, location: str, *, is_read_only: bool) -> None:
        super().__init__(is_read_only=is_read_only)
        self._connection = connection
        self._location = location

    async def run(self, work: Work[ResultT], deadline: float) -> ResultT:
        """Run work until a deadline. Where it raises, the caller is cancelled or the deadline passes, the server ends
        the statement, and the transaction cannot be committed. Raises `Unavailable`, `ConstraintViolation`.
        """
        try:
            async with asyncio.timeout_at(deadline):
                with translate_errors(self._location):
                    return await work(self._connection)
        except TimeoutError:
            self.error = deadline_error(self._location)
            raise self.error from None
        except BaseException as error:
            self.error = error
            raise

    async def run_to_end(self, work: Work[ResultT], deadline: float) -> ResultT:
        """Run work that commits: wait for its end also where the caller is cancelled, so that the result is true.
        Where the connection is lost or the deadline passes, `Unavailable` says that the result is not known.
        """
        task = asyncio.create_task(self.run(work, deadline))
        cancellation: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancellation = error
        if cancellation is not None:
            if not task.cancelled():
                task.exception()  # so that it is not logged as never read
            raise cancellation
        return task.result()

    def end(self, release: Callable[[Connection], None]) -> Coroutine[None, None, None] | None:
        """Call `release` now where the connection is idle; else return what rolls back, and then does so."""
        if self.error is None and not self._connection.is_in_transaction():
            release(self._connection)
            return None
        return self._roll_back(release)

    async def _roll_back(self, release: Callable[[Connection], None]) -> None:
        try:
            async with asyncio.timeout(ROLLBACK_SECONDS_MAX):
                with translate_errors(self._location):
                    await self._connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use any longer
            self._connection.terminate()
        except BaseException:
            self._connection.terminate()
            raise
        finally:
            release(self._connection)


async def fetch_rows(connection: Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    """Run a statement; return its rows. Raises `InvalidValue`, and the errors of the driver."""
    text, parameters = translate(sql, values)
    return [tuple(row) for row in await connection.fetch(text, *parameters)]


async def count_changed(connection: Connection, sql: str, values: Sequence[Any]) -> int:
    """Run a statement; return how many rows it changed. Raises `InvalidValue`, and the errors of the driver."""
    text, parameters = translate(sql, values)
    status = str(await connection.execute(text, *parameters))
    number = status.rpartition(" ")[2]  # such as `INSERT 0 1`, or `DROP TABLE`
    return int(number) if number.isdigit() else 0
