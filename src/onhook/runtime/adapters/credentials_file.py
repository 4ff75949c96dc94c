"""The registered PBXs as the intake last read them, in a file: it starts and goes on without the application database.

Invariants: only its owner may read the file, for it has the secrets of PBXs. It is replaced as a whole, and one that is
damaged or of another version counts as missing.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import msgspec

from onhook.appdb.source_match import PASSWORD_DIALECTS
from onhook.config import SECRET_FILE_MODE
from onhook.receiver.pbx_registry import RegisteredPbx

VERSION = 1

PbxWithNumbers = tuple[RegisteredPbx, Sequence[str]]
"""A PBX and all its serial numbers."""


class _StoredPbx(msgspec.Struct, frozen=True, kw_only=True):
    sn: str
    sns: tuple[str, ...]
    dialect: str
    secrets: tuple[str, ...]
    is_unsigned: bool
    networks: tuple[str, ...]
    path: str
    keeps_unregistered: bool


class _StoredPbxs(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    pbxs: tuple[_StoredPbx, ...]


class CredentialsFile:
    """The file of one intake."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[PbxWithNumbers]:
        """Return the PBXs of the file; none where there is no usable one."""
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_StoredPbxs)
            return [_from_stored(pbx) for pbx in stored.pbxs] if stored.version == VERSION else []
        except (OSError, ValueError):
            return []

    def write(self, pbxs: Sequence[PbxWithNumbers]) -> None:
        """Replace the file. Raises `OSError`."""
        partial_path = self._path.with_name(self._path.name + ".part")
        with suppress(FileNotFoundError):
            partial_path.unlink()
        body = msgspec.json.encode(_StoredPbxs(version=VERSION, pbxs=tuple(map(_to_stored, pbxs))))
        with os.fdopen(os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, SECRET_FILE_MODE), "wb") as file:
            file.write(body)
        partial_path.replace(self._path)


def _to_stored(item: PbxWithNumbers) -> _StoredPbx:
    pbx, sns = item
    return _StoredPbx(
        sn=pbx.sn,
        sns=tuple(sns),
        dialect=pbx.dialect,
        secrets=pbx.secrets,
        is_unsigned=pbx.is_unsigned,
        networks=tuple(map(str, pbx.networks)),
        path=pbx.path,
        keeps_unregistered=pbx.keeps_unregistered,
    )


def _from_stored(stored: _StoredPbx) -> PbxWithNumbers:
    pbx = RegisteredPbx(
        sn=stored.sn,
        dialect=stored.dialect,
        secrets=stored.secrets,
        is_unsigned=stored.is_unsigned,
        networks=tuple(map(ip_network, stored.networks)),
        path=stored.path,
        has_password=stored.dialect in PASSWORD_DIALECTS,
        keeps_unregistered=stored.keeps_unregistered,
    )
    return pbx, stored.sns
