"""What all machines of an installation have in common: which ledger is theirs, and the certificate of the PBX API.

Invariant: a certificate is stored once, with its key, and never replaced by another machine.
"""

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row


def is_here(node: str, own_node: str) -> bool:
    """Return whether a file of the machine `node` is on this one: with one machine every file is.

    >>> is_here("", "a"), is_here("a", "a"), is_here("b", "a"), is_here("b", "")
    (True, True, False, True)
    """
    return node in ("", own_node) or not own_node


class SharedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and its private key, both PEM."""

    certificate: str
    private_key: str


class Cluster:
    """Repository of both."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def describe_database(self) -> str:
        """Return what answers: engine, version, and how many standbys follow a server. Raises `Unavailable`."""
        return await self._database.describe()

    async def ledger_identity(self) -> str:
        """Return the identity of the ledger that machines share; empty while the ledger is a file of one machine."""
        rows = await self._database.rows(_SELECT_LEDGER)
        return read_row(rows[0], _decode_identity) if rows else ""

    async def set_ledger_identity(self, identity: str) -> None:
        """Set it; empty once the ledger is a file again."""
        async with self._database.transaction():
            await self._database.write("DELETE FROM shared_ledger")
            if identity:
                await self._database.write("INSERT INTO shared_ledger VALUES (1, ?)", (identity,))

    async def certificate(self, name: str) -> SharedCertificate | None:
        """Return the certificate of that name."""
        rows = await self._database.rows(f"{_SELECT_CERTIFICATES} WHERE name = ?", (name,))
        return read_row(rows[0], _decode_certificate) if rows else None

    async def add_certificate(self, name: str, certificate: SharedCertificate) -> SharedCertificate:
        """Store a certificate unless there is one of that name; return the one that there is."""
        await self._database.write(
            "INSERT INTO shared_certificates VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (name, certificate.certificate, certificate.private_key),
        )
        return await self.certificate(name) or certificate

    async def list_unreadable_ledger(self) -> list[UnreadableRow]:
        """Return the row of the ledger if it cannot be read."""
        rows = await self._database.rows(_SELECT_LEDGER)
        return list_unreadable("shared_ledger", rows, _decode_identity, name_columns=())

    async def list_unreadable_certificates(self) -> list[UnreadableRow]:
        """Return the certificates that cannot be read."""
        rows = await self._database.rows(_SELECT_CERTIFICATES)
        return list_unreadable("shared_certificates", rows, _decode_certificate)


_SELECT_LEDGER = "SELECT identity FROM shared_ledger"
_SELECT_CERTIFICATES = "SELECT name, certificate, private_key FROM shared_certificates"


def _decode_identity(row: Row) -> str:
    return str(row[0])


def _decode_certificate(row: Row) -> SharedCertificate:
    return SharedCertificate(certificate=row[1], private_key=row[2])
