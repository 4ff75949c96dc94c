"""Access tokens, stored as hashes."""

import hashlib
import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

Role = Literal["administrator", "annotator", "reader"]
"""An annotator is a reader who also writes notes and tags; either may be limited by a scope."""

ROLES: tuple[Role, ...] = get_args(Role)

ADMIN_NAME = "admin"
"""The token that the first start creates, and whose text is in `admin.token`."""

TOKEN_BYTES = 32
"""As long as its hash: it cannot be guessed."""

TOKEN_CHARACTERS_MAX = 200
"""A longer text is no token of Onhook and is not hashed."""

EXPORT_FILTER_CHARACTERS_MAX = 2_000
"""A saved search is no longer."""

EXPORT_FILTER_EXAMPLE = "status=!answered&since=30d"
"""The query of a search, as texts show it."""

TOKENS_MAX = 1_000
"""More are not handed out by hand."""

LAST_USED_STEP_MICROSECONDS = 60_000_000
"""The last use is stored to the minute: a page or an app that polls every second must not write every second."""

LAST_USED_SECONDS = 0.02
"""Deadline for storing it: while another process has the lock, requests do not wait for it."""

TOKEN_FILE_MODE = 0o600


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token in a listing: without its text, which is not stored. With an `export_filter`, the query of a search, it
    is a share token: for exports alone, in their URL, and for the calls of that search. It is valid until `expires_at`,
    or until it is removed.
    """

    name: str
    role: Role
    scope: AccessScope | None = None
    export_filter: str | None = None
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


def token_author(name: str) -> str:
    """Return the author of what is saved with a token, which is no user of the same name."""
    return f"token:{name}"


def generate_token() -> str:
    """Return the text of a new token, fit for URLs and headers."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_secret(text: str) -> bytes:
    """Return the stored hash of a token. A plain hash is enough: the text is 32 random bytes, not a word that can be
    guessed.
    """
    return hashlib.sha256(text.encode(errors="replace")).digest()


def validate_role(role: str) -> Role:
    """Return the role. Raises `UsageError`."""
    for valid_role in ROLES:
        if role == valid_role:
            return valid_role
    raise UsageError(
        _("there is no role {role}", role=repr(role)), hint=_("use one of {names}", names=", ".join(ROLES))
    )


def write_token_file(path: Path, text: str) -> None:
    """Write a token's text to a file that only the owner can read, completely or not at all. Raises `Unavailable`."""
    partial_path = path.with_name(path.name + ".part")
    try:
        partial_path.unlink(missing_ok=True)
        with os.fdopen(os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, TOKEN_FILE_MODE), "w") as file:
            file.write(text + "\n")
        partial_path.replace(path)
    except OSError as error:
        raise Unavailable(
            _("cannot write the administrator's token: {error}", error=error), location=str(path)
        ) from error


def read_token_file(path: Path) -> str:
    """Return a token's text, empty without the file. Raises `Unavailable` where it cannot be read."""
    try:
        return path.read_text()[:TOKEN_CHARACTERS_MAX].strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            _("cannot read the administrator's token: {error}", error=error), location=str(path)
        ) from error
