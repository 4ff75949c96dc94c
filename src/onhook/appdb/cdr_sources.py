"""Where a PBX that we connect to keeps its CDRs itself, so that a gap can be filled: a file, or a table of a database.

The password of a database is a secret: it is told to whoever reads there, and is in no listing.
"""

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import UsageError

ENGINES = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306}
"""How an address begins, and the port where it names none."""

LOCATION_CHARACTERS_MAX = 2_000
"""No path is longer; an address has some hundred."""

COLUMNS_MAX = 200
TABLE_DEFAULT = "cdr"

_EXAMPLE = "write /PATH/TO/FILE, or postgresql://USER:PASSWORD@HOST/DATABASE/TABLE, or mysql://..."


class CdrSource(msgspec.Struct, frozen=True, kw_only=True):
    """`location` is a path, or `ENGINE://USER@HOST:PORT/DATABASE`, with `?tls=on` where it is spoken. `columns` are
    those of a CSV file of one's own order; `table` is that of a database or SQLite file."""

    location: str
    table: str = TABLE_DEFAULT
    columns: tuple[str, ...] = ()
    password: str = ""

    @property
    def is_database(self) -> bool:
        """Whether it is reached over the network."""
        return "://" in self.location

    def __repr__(self) -> str:
        return f"Source({self.location!r}, {self.table!r})"


class CdrSources:
    """What is kept of them, by serial number."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def all(self) -> dict[str, CdrSource]:
        """Those of all PBXs that have one."""
        rows = self._database.rows("SELECT sn, location, cdr_table, columns, password FROM cdr_sources")
        return {str(sn): _cdr_source(*row) for sn, *row in rows}

    def get(self, sn: str) -> CdrSource | None:
        """That of one PBX, or None."""
        return self.all().get(sn)

    def put(self, sn: str, source: CdrSource | None) -> None:
        """Let this be where a PBX keeps its CDRs; None is nowhere. `source` was checked."""
        if source is None:
            self._database.write("DELETE FROM cdr_sources WHERE sn = ?", (sn,))
            return
        self._database.write(
            "INSERT INTO cdr_sources VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET location = excluded.location,"
            " cdr_table = excluded.cdr_table, columns = excluded.columns, password = excluded.password",
            (sn, source.location, source.table, ",".join(source.columns), source.password),
        )


def parse_cdr_source(text: str, *, table: str | None = None, columns: str | None = None) -> CdrSource:
    """A source from texts as people write them. Raises `UsageError`, never showing the password."""
    if not 1 <= len(text) <= LOCATION_CHARACTERS_MAX or not text.isprintable():
        raise UsageError("that cannot be where CDRs are kept", hint=_EXAMPLE)
    column_names = tuple(name.strip().lower() for name in columns.split(",") if name.strip()) if columns else ()
    if len(column_names) > COLUMNS_MAX:
        raise UsageError(f"there are more than {COLUMNS_MAX} columns", hint="name those that the file has")
    if "://" not in text:
        return CdrSource(location=str(Path(text).absolute()), table=table or TABLE_DEFAULT, columns=column_names)
    if column_names:
        raise UsageError("a database tells its columns itself", hint="leave --columns out")
    return _parse_database_url(text, table)


def _parse_database_url(text: str, table: str | None) -> CdrSource:
    try:
        parts = urlsplit(text)
        port = parts.port or ENGINES[parts.scheme]
    except (KeyError, ValueError):
        raise UsageError("CDRs cannot be read there", hint=_EXAMPLE) from None
    database, _, table_name = unquote(parts.path.strip("/")).partition("/")
    tls = _parse_tls(parts)
    if not parts.hostname or not parts.username or not database or "/" in table_name:
        raise UsageError("the address lacks a user, a host or a database", hint=_EXAMPLE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return CdrSource(
        location=f"{parts.scheme}://{parts.username}@{host}:{port}/{parts.path.strip('/').partition('/')[0]}{tls}",
        table=table or table_name or TABLE_DEFAULT,
        password=unquote(parts.password or ""),
    )


def _parse_tls(parts: SplitResult) -> str:
    """`?tls=on`, or nothing. Raises `UsageError`."""
    options = parse_qs(parts.query, keep_blank_values=True)
    if not options or options == {"tls": ["off"]}:
        return ""
    if options != {"tls": ["on"]}:
        raise UsageError("the address asks for something unknown", hint="?tls=on is all that can be asked for")
    return "?tls=on"


def _cdr_source(location: str, table: str, columns: str, password: str) -> CdrSource:
    return CdrSource(
        location=location, table=table, columns=tuple(name for name in columns.split(",") if name), password=password
    )
