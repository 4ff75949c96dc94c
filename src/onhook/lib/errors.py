"""Every error of ours, one tree; each says what is wrong, where, and what to do.

    OnhookError
    ├── UsageError         a person's mistake: a flag, a setting, a filter (exit code 2, HTTP 400)
    ├── NotFound           what was asked for is not here (HTTP 404)
    ├── Unreadable         a report that says no call; kept in the quarantine
    ├── NotAllowed         the caller may not do this (HTTP 401 or 403)
    └── Unavailable        not now: disk full, locked, stopped; the only one worth another try (HTTP 503)

`permanent` says whether trying the same again can help; whoever retries asks that and nothing else.
"""

from typing import ClassVar

from onhook.lib.messages import _ as _  # noqa: PLC0414 - for packages that may import errors alone


class OnhookError(Exception):
    """What is wrong, where, what to do: one sentence, shown to a person as it is."""

    permanent: ClassVar[bool] = True
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, location: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        location = f" ({self.location})" if self.location else ""
        hint = f": {self.hint}" if self.hint else ""
        return f"{self.message}{location}{hint}"


class UsageError(OnhookError):
    """A flag, a setting or a filter that cannot be meant so."""

    exit_code = 2
    http_status = 400


class NotFound(OnhookError):
    """What was asked for is not here."""

    http_status = 404


class ParseError(OnhookError):
    """A report from which no call can be read; a later version may be able to."""

    http_status = 422


class NotAllowed(OnhookError):
    """No valid token or session, or not one with the right."""

    http_status = 401


class Unavailable(OnhookError):
    """Nothing is wrong with the request; the disk, the lock or the server stands in the way."""

    permanent = False
    http_status = 503
