"""All errors of Onhook, one tree; each says what is wrong, where, and what to do.

    OnhookError
    ├── UsageError         a wrong option, setting or filter (exit code 2, HTTP 400)
    ├── NotFound           the requested object does not exist (HTTP 404)
    ├── ParseError         a raw event without a readable call; kept in the quarantine (HTTP 422)
    ├── NotAllowed         the caller may not do this (HTTP 401 or 403)
    └── Unavailable        disk full, locked or stopped; the only error that a retry can resolve (HTTP 503)

`permanent` says that a retry cannot help; code that retries checks this attribute alone.
"""

from typing import ClassVar

from onhook.lib.messages import _ as _  # noqa: PLC0414 - for packages that may import errors alone

RETRY_AFTER_SECONDS = 5
"""When to try again, unless the error knows better: most locks and stalls of a disk are over by then."""


class OnhookError(Exception):
    """What is wrong, where, and what to do: one sentence that is shown to users unchanged."""

    permanent: ClassVar[bool] = True
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, location: str = "", hint: str = "", parameter: str = "") -> None:
        """`parameter` names an invalid parameter where the message contains its name, else `location` does."""
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint
        self.parameter = parameter or location

    def __str__(self) -> str:
        location = f" ({self.location})" if self.location else ""
        hint = f": {self.hint}" if self.hint else ""
        return f"{self.message}{location}{hint}"


class UsageError(OnhookError):
    """An invalid option, setting or filter."""

    exit_code = 2
    http_status = 400


class NotFound(OnhookError):
    """The requested object does not exist."""

    http_status = 404


class ParseError(OnhookError):
    """A raw event from which no call can be read; a later version may support it."""

    http_status = 422


class NotAllowed(OnhookError):
    """No valid token or session, or one without the required permission."""

    http_status = 401


class Unavailable(OnhookError):
    """The request is valid, but the disk, a lock or the server prevents it for now. `retry_after_seconds` is when a
    retry makes sense.
    """

    permanent = False
    http_status = 503

    def __init__(
        self, message: str, *, location: str = "", hint: str = "", retry_after_seconds: int = RETRY_AFTER_SECONDS
    ) -> None:
        super().__init__(message, location=location, hint=hint)
        self.retry_after_seconds = retry_after_seconds
