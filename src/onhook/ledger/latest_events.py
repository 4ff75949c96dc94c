"""The latest raw events of one PBX, read beside a running server."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from onhook.ledger.sqlite_schema import BUSY_SECONDS
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

EVENTS_READ_MAX = 20_000
"""Of all PBXs, from the end: some megabytes, and no index by PBX is needed."""


def read_latest_bodies(path: Path, sn: str, dialect: str, limit: int) -> Sequence[bytes]:
    """Return the latest bodies of a PBX in a dialect, the latest first: at most `limit` of the last EVENTS_READ_MAX raw
    events; none without a file. Only reads the ledger. Raises `Unavailable`.
    """
    if not path.exists():
        return []
    query = """SELECT body FROM (SELECT seq, sn, dialect, body FROM raw_events ORDER BY seq DESC LIMIT ?)
        WHERE sn = ? AND dialect = ? ORDER BY seq DESC LIMIT ?"""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, timeout=BUSY_SECONDS, uri=True)) as connection:
            return [bytes(body) for (body,) in connection.execute(query, (EVENTS_READ_MAX, sn, dialect, limit))]
    except sqlite3.Error as error:
        raise Unavailable(_("cannot read the ledger: {error}", error=error), location=str(path)) from error
