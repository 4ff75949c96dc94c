"""Connections to PostgreSQL: how they are opened, what limits the server keeps for them, and their errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
from asyncpg import exceptions

from onhook.appdb.contract import AccessRefused, ConstraintViolation, DamagedDatabase, InvalidValue
from onhook.appdb.session import deadline_error
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

Connection: TypeAlias = asyncpg.Connection

SCHEMA = "onhook"
"""All tables are in a schema of this name, so that the database may have others."""

STATEMENTS_MAX = 256
"""Prepared statements that a connection keeps: those of one destination and one page many times over."""

SERVER_RESERVE_SECONDS = 1.0
"""The server ends what the client should have ended so much earlier: for one that stands still, or is gone."""

KEEPALIVES = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""So that the server notices a machine that is gone after 25 seconds, and frees its locks."""


def describe_address(url: str) -> str:
    """Return the servers and the database of an address, without the user and the password.

    >>> describe_address("postgresql://onhook:secret@db1:5432,db2/onhook?sslmode=require")
    'db1:5432,db2/onhook'
    """
    address = url.partition("://")[2].partition("?")[0].partition("#")[0]
    return address.rpartition("@")[2]


def validate_address(url: str) -> str:
    """Return the address of a database. Raises `UsageError`, without the address: it may have a password."""
    if urlsplit(url).scheme not in ("postgresql", "postgres") or not describe_address(url).partition("/")[2]:
        raise UsageError(
            _("this is not the address of a PostgreSQL database"), hint=_("postgresql://USER:PASSWORD@HOST/DATABASE")
        )
    return url


async def connect(url: str, *, call_seconds: float, transaction_seconds: float, timeout_seconds: float) -> Connection:
    """Open a connection to the server of those in the address that takes writes. Raises `Unavailable`,
    `AccessRefused`, `UsageError`.
    """
    settings = {
        "application_name": "onhook",
        "search_path": SCHEMA,
        "statement_timeout": _milliseconds(call_seconds + SERVER_RESERVE_SECONDS),
        "idle_in_transaction_session_timeout": _milliseconds(transaction_seconds + SERVER_RESERVE_SECONDS),
        **KEEPALIVES,
    }
    with translate_errors(describe_address(url)):
        connection: Connection = await asyncpg.connect(
            url,
            timeout=timeout_seconds,
            statement_cache_size=STATEMENTS_MAX,
            server_settings=settings,
            target_session_attrs="read-write",
        )
        return connection


async def close_connection(connection: Connection, seconds: float) -> None:
    """Close a connection, within so many seconds; one whose server does not answer is given up."""
    try:
        with translate_errors(""):
            await connection.close(timeout=seconds)
    except Unavailable:
        connection.terminate()


def _milliseconds(seconds: float) -> str:
    return str(ceil(seconds * 1_000))


@contextmanager
def translate_errors(location: str) -> Iterator[None]:
    """Translate the errors of PostgreSQL and of connections. Details are left out: they have values of rows."""
    try:
        yield
    except exceptions.IntegrityConstraintViolationError as error:
        raise ConstraintViolation(
            _("the application database rejects a value: {error}", error=_message(error)), location=location
        ) from None
    except (exceptions.NumericValueOutOfRangeError, exceptions.CharacterNotInRepertoireError) as error:
        raise InvalidValue(
            _("the application database cannot have such a value: {error}", error=error.sqlstate),
            location=location,
            hint=_("use a smaller number, or a text of valid characters"),
        ) from None
    except (exceptions.DataCorruptedError, exceptions.IndexCorruptedError) as error:
        raise DamagedDatabase(
            _("the application database is damaged: {error}", error=_message(error)),
            location=location,
            hint=_("restore a backup of the PostgreSQL server"),
        ) from None
    except (exceptions.InvalidAuthorizationSpecificationError, exceptions.InvalidCatalogNameError) as error:
        raise AccessRefused(
            _("the PostgreSQL server refuses what the setting `appdb` says: {error}", error=_message(error)),
            location=location,
            hint=_("correct user, password or database in `appdb` of onhook.toml or in ONHOOK_APPDB, and start again"),
        ) from None
    except (TimeoutError, exceptions.QueryCanceledError):
        raise deadline_error(location) from None
    except exceptions.ClientConfigurationError:
        raise UsageError(
            _("this is not the address of a PostgreSQL database"), hint=_("postgresql://USER:PASSWORD@HOST/DATABASE")
        ) from None
    except (OSError, exceptions.PostgresError, exceptions.InterfaceError, exceptions.InternalClientError) as error:
        raise Unavailable(
            _("cannot use the application database now: {error}", error=_message(error)),
            location=location,
            hint=_("try again; check that the PostgreSQL server runs"),
        ) from None


def _message(error: BaseException) -> str:
    """Return the message alone: the text of an error of the server has the values of the row too."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[0]) if error.args else type(error).__name__
