"""A new file that appears when it is complete, readable for its owner alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from onhook.config import SECRET_FILE_MODE
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write; afterwards it has this name, and replaces one that had it. Raises `Unavailable`."""
    partial_path = path.with_name(path.name + ".part")
    try:
        # What is left of another run, or a link to another file, is not written to.
        partial_path.unlink(missing_ok=True)
        descriptor = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, SECRET_FILE_MODE)
        with os.fdopen(descriptor, "wb") as output:
            yield output
        partial_path.replace(path)
    except OSError as error:
        raise Unavailable(
            _("cannot write: {reason}", reason=error.strerror or error),
            location=str(path),
            hint=_("choose another directory"),
        ) from error
    finally:
        partial_path.unlink(missing_ok=True)
