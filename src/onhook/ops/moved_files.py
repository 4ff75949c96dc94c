"""Files that a move to several machines has left: they have all that was stored before, and nothing reads them."""

from collections.abc import Sequence
from pathlib import Path

from onhook.config import Config

MOVED_SUFFIX = ".moved"
"""Of the name of a file after its move."""


def find_moved_files(config: Config) -> Sequence[Path]:
    """Return those that are in the data directory."""
    paths = (path.with_name(path.name + MOVED_SUFFIX) for path in (config.appdb_file, config.ledger_file))
    return [path for path in paths if path.exists()]
