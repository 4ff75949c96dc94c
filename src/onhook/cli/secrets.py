"""A secret as a person gives it: on the command line, in a file, or on standard input."""

import sys
from pathlib import Path

from onhook.errors import UsageError
from onhook.settings.pbxs import SECRET_CHARACTERS_MAX

STDIN = "-"


def given_text(secret: str | None, file: str | None) -> str | None:
    """The text, or None where there is none. Raises `UsageError`."""
    if file is None:
        return secret
    if secret is not None:
        raise UsageError("the secret is given twice", todo="leave one of --secret and --secret-file out")
    try:
        with sys.stdin if file == STDIN else Path(file).open() as source:
            return source.read(SECRET_CHARACTERS_MAX + 2).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the secret: {error}", where=file) from error
