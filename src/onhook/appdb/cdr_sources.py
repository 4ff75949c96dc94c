"""CDR sources: the CDR file or database table of a connected PBX, read to fill gaps.

The password of a database is a secret: it is only passed to the reading code, and is in no listing.
"""

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from onhook.appdb.cluster import is_here
from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list

ENGINES = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306}
"""URL scheme and default port per database engine."""

_SELECT = "SELECT sn, location, cdr_table, columns, password, node FROM cdr_sources ORDER BY sn"

LOCATION_CHARACTERS_MAX = 2_000
"""No path is longer; an address has some hundred characters."""

COLUMNS_MAX = 200
TABLE_DEFAULT = "cdr"

_EXAMPLE = "write /PATH/TO/FILE, or postgresql://USER:PASSWORD@HOST/DATABASE/TABLE, or mysql://..."


class CdrSource(msgspec.Struct, frozen=True, kw_only=True):
    """`location` is a path, or `ENGINE://USER@HOST:PORT/DATABASE`, with `?tls=on` for TLS. `columns` are those of a CSV
    file with a custom order; `table` is that of a database or SQLite file. `node` is the machine that has the file,
    among several; the repository sets it.
    """

    location: str
    table: str = TABLE_DEFAULT
    columns: tuple[str, ...] = ()
    password: str = ""
    node: str = ""

    @property
    def is_database(self) -> bool:
        """Return whether the source is reached over the network."""
        return "://" in self.location

    def __repr__(self) -> str:
        return f"Source({self.location!r}, {self.table!r})"


class CdrSources:
    """Repository of CDR sources, by serial number."""

    def __init__(self, database: Database, node: str = "") -> None:
        """`node` is the name of this machine among several."""
        self._database = database
        self._node = node

    async def all(self) -> dict[str, CdrSource]:
        """Return the sources of all PBXs that have one."""
        return dict(read_rows(await self._database.rows(_SELECT), _cdr_source))

    async def all_here(self) -> dict[str, CdrSource]:
        """Return those that this machine can read."""
        return {sn: source for sn, source in (await self.all()).items() if is_here(source.node, self._node)}

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("cdr_sources", await self._database.rows(_SELECT), _cdr_source)

    async def get(self, sn: str) -> CdrSource | None:
        """Return the source of a PBX, or None."""
        return (await self.all()).get(sn)

    async def put(self, sn: str, source: CdrSource | None) -> None:
        """Set the source of a PBX; None removes it. `source` is validated already. A file is on this machine, and one
        that stays the same is where it was.
        """
        if source is None:
            await self._database.write("DELETE FROM cdr_sources WHERE sn = ?", (sn,))
            return
        node = "" if source.is_database else self._node
        await self._database.write(
            "INSERT INTO cdr_sources (sn, location, cdr_table, columns, password, node) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (sn) DO UPDATE SET location = excluded.location, cdr_table = excluded.cdr_table,"
            " columns = excluded.columns, password = excluded.password, node = CASE"
            " WHEN cdr_sources.location = excluded.location THEN cdr_sources.node ELSE excluded.node END",
            (sn, source.location, source.table, ",".join(source.columns), source.password, node),
        )


def parse_cdr_source(text: str, *, table: str | None = None, columns: str | None = None) -> CdrSource:
    """Return the source described by texts. Raises `UsageError`, never showing the password."""
    if not 1 <= len(text) <= LOCATION_CHARACTERS_MAX or not text.isprintable():
        raise UsageError(_("this is not a CDR source"), hint=_EXAMPLE)
    column_names = tuple(name.lower() for name in split_list(columns)) if columns else ()
    if len(column_names) > COLUMNS_MAX:
        raise UsageError(
            _("there are more than {maximum} columns", maximum=COLUMNS_MAX), hint=_("name those of the file")
        )
    if "://" not in text:
        return CdrSource(location=str(Path(text).absolute()), table=table or TABLE_DEFAULT, columns=column_names)
    if column_names:
        raise UsageError(_("columns of a database are detected"), hint=_("leave --columns out"))
    return _parse_database_url(text, table)


def _parse_database_url(text: str, table: str | None) -> CdrSource:
    try:
        parts = urlsplit(text)
        port = parts.port or ENGINES[parts.scheme]
    except (KeyError, ValueError):
        raise UsageError(_("unknown kind of CDR source"), hint=_EXAMPLE) from None
    database, _unused, table_name = unquote(parts.path.strip("/")).partition("/")
    tls = _parse_tls(parts)
    if not parts.hostname or not parts.username or not database or "/" in table_name:
        raise UsageError(_("the address lacks a user, a host or a database"), hint=_EXAMPLE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return CdrSource(
        location=f"{parts.scheme}://{parts.username}@{host}:{port}/{parts.path.strip('/').partition('/')[0]}{tls}",
        table=table or table_name or TABLE_DEFAULT,
        password=unquote(parts.password or ""),
    )


def _parse_tls(parts: SplitResult) -> str:
    """Return `?tls=on` or an empty text. Raises `UsageError`."""
    options = parse_qs(parts.query, keep_blank_values=True)
    if not options or options == {"tls": ["off"]}:
        return ""
    if options != {"tls": ["on"]}:
        raise UsageError(_("the address has an unknown option"), hint=_("?tls=on is the only option"))
    return "?tls=on"


def _cdr_source(row: Row) -> tuple[str, CdrSource]:
    sn, location, table, columns, password, node = row
    return sn, CdrSource(
        location=location,
        table=table,
        columns=tuple(name for name in columns.split(",") if name),
        password=password,
        node=node,
    )
