"""Errors of query processes as errors for a reader."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.store.sql.child_processes import ProcessEnded
from onhook.store.sql.contract import QUERY_SECONDS_MAX, WALL_SECONDS_MAX
from onhook.store.sql.wire import QueryFailure

_SIZE_SIGNALS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL)


def to_error(failure: QueryFailure, *, location: str) -> OnhookError:
    """Return the error of a failure that a process reported."""
    error_type = UsageError if failure.kind == "usage" else Unavailable
    return error_type(_(failure.message, **failure.values), location=location, hint=_(failure.hint))


def too_late_error() -> Unavailable:
    """Return the error of a query that other programs left too little processor time."""
    return Unavailable(
        _("the query did not end within {seconds} seconds: this machine is busy", seconds=WALL_SECONDS_MAX),
        location="sql",
        hint=_("try again later"),
    )


def _too_slow_error() -> UsageError:
    """Return the error of a query that used all its processor time."""
    return UsageError(
        _("the query took longer than {seconds} seconds and was ended", seconds=QUERY_SECONDS_MAX),
        location="sql",
        hint=_("query a shorter time, or fewer columns"),
    )


def ended_error(ended: ProcessEnded) -> OnhookError:
    """Return the error of a query whose process ended without a reply."""
    if -ended.exit_code == signal.SIGXCPU:
        return _too_slow_error()
    if -ended.exit_code == signal.SIGALRM:
        return too_late_error()
    if -ended.exit_code in _SIZE_SIGNALS:
        return UsageError(
            _("the query needs too much memory or is nested too deeply, and was ended"),
            location="sql",
            hint=_("query a shorter time, or write a simpler query"),
        )
    return Unavailable(
        _("the query could not be run ({reason})", reason=ended.reason),
        location="sql",
        hint=_("see the log of the hub"),
    )


@contextmanager
def translate_copy_errors(source: Path) -> Iterator[None]:
    """Translate the errors of the process that copies the store into `Unavailable`."""
    try:
        yield
    except ProcessEnded as ended:
        log = logging.getLogger("sql")
        log.warning("copy process ended", extra={"reason": ended.reason, "output": ended.error_text})
        raise _copy_error(source, ended.reason) from ended
    except TimeoutError as error:
        raise _copy_error(source, _("the disk is too slow")) from error
    except OSError as error:
        raise _copy_error(source, error.strerror or str(error)) from error


def _copy_error(source: Path, reason: str) -> Unavailable:
    return Unavailable(
        _("the store cannot be copied for queries: {reason}", reason=reason),
        location=str(source),
        hint=_("try again in a minute; check the disk"),
    )
