"""The registered PBXs, and where they write lines, as the intake last read them, in a file: it starts and goes on
without the application database.

Invariants: only its owner may read the file, for it has the secrets of PBXs. It is replaced as a whole, and one that is
damaged or of another version counts as missing.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from threading import Lock
from typing import Literal

import msgspec

from onhook.appdb.source_match import PASSWORD_DIALECTS
from onhook.config import SECRET_FILE_MODE
from onhook.receiver.line_server import LineEndpoint
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


class _StoredEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    sn: str
    dialect: str
    networks: tuple[str, ...]
    mode: Literal["listen", "connect"]
    host: str
    port: int


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    pbxs: tuple[_StoredPbx, ...] = ()
    endpoints: tuple[_StoredEndpoint, ...] = ()
    """None in a file of an Onhook that did not store them."""


class CredentialsFile:
    """The file of one intake. Its methods block, and may be called in several threads at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    def read_pbxs(self) -> list[PbxWithNumbers]:
        """Return the PBXs of the file; none where there is no usable one."""
        try:
            return [_from_stored(pbx) for pbx in self._read().pbxs]
        except ValueError:
            return []

    def read_endpoints(self) -> list[LineEndpoint]:
        """Return the line endpoints of the file; none where there is no usable one."""
        try:
            return [_from_stored_endpoint(endpoint) for endpoint in self._read().endpoints]
        except ValueError:
            return []

    def write_pbxs(self, pbxs: Sequence[PbxWithNumbers]) -> None:
        """Replace the PBXs of the file. Raises `OSError`."""
        with self._lock:
            self._write(msgspec.structs.replace(self._read(), pbxs=tuple(map(_to_stored, pbxs))))

    def write_endpoints(self, endpoints: Sequence[LineEndpoint]) -> None:
        """Replace the line endpoints of the file. Raises `OSError`."""
        with self._lock:
            self._write(msgspec.structs.replace(self._read(), endpoints=tuple(map(_to_stored_endpoint, endpoints))))

    def _read(self) -> _Stored:
        """Return the content of the file; an empty one where there is no usable file."""
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except (OSError, ValueError):
            return _Stored()
        return stored if stored.version == VERSION else _Stored()

    def _write(self, stored: _Stored) -> None:
        partial_path = self._path.with_name(self._path.name + ".part")
        with suppress(FileNotFoundError):
            partial_path.unlink()
        body = msgspec.json.encode(stored)
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
        further_sns=tuple(sn for sn in stored.sns if sn != stored.sn),
    )
    return pbx, stored.sns


def _to_stored_endpoint(endpoint: LineEndpoint) -> _StoredEndpoint:
    return _StoredEndpoint(
        sn=endpoint.pbx.sn,
        dialect=endpoint.pbx.dialect,
        networks=tuple(map(str, endpoint.pbx.networks)),
        mode=endpoint.mode,
        host=endpoint.host,
        port=endpoint.port,
    )


def _from_stored_endpoint(stored: _StoredEndpoint) -> LineEndpoint:
    pbx = RegisteredPbx(sn=stored.sn, dialect=stored.dialect, networks=tuple(map(ip_network, stored.networks)))
    return LineEndpoint(pbx=pbx, mode=stored.mode, host=stored.host, port=stored.port)
