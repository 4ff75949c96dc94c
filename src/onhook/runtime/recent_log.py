"""The last lines of the log, in the data directory, for `onhook doctor --bundle`: stderr may have gone anywhere."""

import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path

from onhook.config import SECRET_FILE_MODE

LOG_BYTES_MAX = 256 * 1024
"""Of one file; the one before it is kept too. A calm server writes that in months."""

LOG_SUFFIX = ".log"


class RecentLogHandler(logging.handlers.RotatingFileHandler):
    """Writes lines to a small file, readable for its owner alone. What cannot be written is on stderr all the same."""

    def __init__(self, directory: Path, process_name: str) -> None:
        self._directory = directory
        path = directory / f"{process_name}{LOG_SUFFIX}"
        super().__init__(path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8", errors="replace", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, once the data directory exists."""
        if self._directory.is_dir():
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the library
        """Leave a line out that a full disk, or a directory of another user, does not take."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, SECRET_FILE_MODE)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123 - of the handler
