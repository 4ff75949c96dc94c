"""Contract of the engine of the application database: statements, transactions, change notification, errors.

Invariants: every call is awaited, and ends by its deadline, waiting for a lock included. A caller that is cancelled or
timed out leaves nothing half done. A commit that has begun is awaited to its end, so its result is true. A reader never
waits for a writer. A commit of a task that has a lease (`fence.fenced`) raises `FencedOff`, and commits nothing, where
another owner has the lease by now. Each commit that changes something of `audited_tables` adds one entry to the audit
log, with the `origin` of its task.

Statements have the parameters `?`, or `?1`, `?2` where one is used twice. Each engine translates them.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from onhook.appdb.audited_tables import Change
from onhook.lib.errors import OnhookError, UsageError

CALL_SECONDS_MAX = 5.0
"""Deadline of one call. Statements take milliseconds, so a longer wait means a locked file or a stalled disk."""

TRANSACTION_SECONDS_MAX = 2 * CALL_SECONDS_MAX
"""Deadline of the block of one transaction, from the moment that it has the lock. The longest ones take part of a
second. Other writers wait meanwhile, and give up after a call's deadline; half of it is a reserve for a stalled disk.
The upgrade of the schema, which happens before any call, has none.
"""

RepositoryT = TypeVar("RepositoryT", bound="_Repository")
ParametersP = ParamSpec("ParametersP")
ResultT = TypeVar("ResultT")

Row = tuple[Any, ...]

Statement = tuple[str, Sequence[Any]]
"""A statement with its values."""


class DamagedText(str):
    """A stored text that is not UTF-8, with U+FFFD in place of the damaged bytes: what reads a row rejects it, and only
    that row. It is not the stored value.
    """

    __slots__ = ()


Version = int
"""A value that changes with every commit by any process, except those that are not awaited (see `transaction`); only
equality has a meaning.
"""


class ConstraintViolation(OnhookError):
    """A statement violates a constraint of the schema. The caller knows which one, leaves the transaction, and raises
    an error of its own.
    """


class DamagedDatabase(OnhookError):
    """The file is no database any longer, or its structure is damaged: a person must restore it."""


class AccessRefused(OnhookError):
    """The server of the database refuses the user, the password or the name in the setting: a person must change one of
    them.
    """

    exit_code = 2
    http_status = 503


class InvalidValue(UsageError):
    """A value that no row can have: an integer of more than 64 bits, or a text that has no UTF-8."""


class Database(Protocol):
    """The engine, for the tasks of one event loop. Every method may raise `Unavailable`, `InvalidValue` for a value of
    its statement, `DamagedDatabase`, and `AccessRefused`.

    Inside a `transaction` the statements of its task belong to it; those of other tasks do not.
    """

    async def open(self) -> None:
        """Open the database and bring its schema up to date. Every other call opens it too.

        Raises `UsageError` for another program's database, `OnhookError` for that of a newer Onhook.
        """
        ...

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query. A text that is not UTF-8 is `DamagedText`."""
        ...

    async def rows_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """Run one statement for many rows of values in one hop; return the rows of each run. Inside a transaction it
        may be an INSERT or UPDATE with RETURNING. Raises `ConstraintViolation`.
        """
        ...

    async def rows_each(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in order in one hop; return the rows of each. Inside a transaction they may be writes. Raises
        `ConstraintViolation`.
        """
        ...

    async def write(
        self, sql: str, values: Sequence[Any] = (), *, seconds: float | None = None, is_awaited: bool = True
    ) -> int:
        """Run one statement durably; return the number of changed rows. `seconds` is a deadline of its own;
        `is_awaited` as of `transaction`, outside one. Raises `ConstraintViolation`.
        """
        ...

    async def write_many(self, sql: str, values_list: Sequence[Sequence[Any]]) -> int:
        """Run one statement for many rows of values in one hop, all or none; return the number of changed rows. Raises
        `ConstraintViolation`.
        """
        ...

    def transaction(self, *, read_only: bool = False, is_awaited: bool = True) -> AbstractAsyncContextManager[None]:
        """Run the block as one transaction, rolled back where the block raises; inside another one, join it. With
        `read_only` all reads see one moment, and no writer is delayed. Raises `Unavailable` where the block lasts
        longer than TRANSACTION_SECONDS_MAX. `is_awaited=False` is for a change that no process waits for, such as a
        renewed lease: `wait_for_change` goes on waiting.
        """
        ...

    def note_change(self, change: Change) -> None:
        """Add a change to the audit entry of the current transaction, besides those of `audited_tables`."""
        ...

    async def discard_changes(self) -> None:
        """Leave the changes that the current transaction has made so far out of the audit log."""
        ...

    async def overwrite_deleted(self, seconds: float) -> None:
        """Overwrite what was deleted or replaced, so that no bytes of it are left in the files, within so many seconds.
        Writers wait meanwhile. Raises `Unavailable` where another process uses some of it.
        """
        ...

    async def version(self) -> Version:
        """Return the current version."""
        ...

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        """Wait until the version differs from this one, at most so long; return the current version. A commit that is
        not awaited (see `transaction`) ends no wait. Commits of any process are noticed within a tenth of a second;
        those of one that died at that moment, within a second.
        """
        ...

    async def lease_time(self, now_us: int) -> int:
        """Return the time by which leases run out, in microseconds since 1970, UTC: that of the server where processes
        of several machines share it, else the given one, of the clock of this process.
        """
        ...

    async def describe(self) -> str:
        """Return what answers: engine, version, and how many standbys follow a server."""
        ...

    async def schema_statements(self) -> list[str]:
        """Return statements that describe all tables and indexes."""
        ...

    async def close(self) -> None:
        """Close the database; calls in progress end first."""
        ...


class _Repository(Protocol):
    _database: Database


def transactional(
    method: Callable[Concatenate[RepositoryT, ParametersP], Awaitable[ResultT]],
) -> Callable[Concatenate[RepositoryT, ParametersP], Coroutine[Any, Any, ResultT]]:
    """Run a method of a repository as one transaction: nothing changes between its reads and its writes."""

    @wraps(method)
    async def run(repository: RepositoryT, /, *arguments: ParametersP.args, **options: ParametersP.kwargs) -> ResultT:
        async with repository._database.transaction():
            return await method(repository, *arguments, **options)

    return run
