"""`/about`: versions, file sizes, retention."""

import asyncio
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import msgspec
from litestar import Response, get

from onhook.config import Config
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.retention import load_keep_days
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.messages import _

LIBRARIES = ("litestar", "granian", "duckdb", "msgspec", "jinja2", "aiohttp", "phonenumbers", "tzdata")
"""Libraries whose version belongs in a bug report."""


class DataFile(msgspec.Struct, frozen=True):
    """A file of the data directory: its content, its size, and how to back it up."""

    name: str
    content: str
    size_bytes: int
    recovery: str


class AboutView(View, frozen=True, kw_only=True):
    """Values of the page: versions, files and retention."""

    template: ClassVar = "about.html"
    versions: Sequence[tuple[str, str]]
    python: str
    files: Sequence[DataFile]
    counts: Mapping[str, int]
    last_seq: int
    lag: int
    data: Path
    keep_days: int
    retention_overrides: Sequence[tuple[str, int]]


@get("/about", include_in_schema=False)
async def about_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of versions, files and retention."""
    last_seq = await app_state.ledger.last_seq()
    counts = await app_state.store.counts()
    retention_overrides = await app_state.appdb.retention_overrides.all()
    return await render_page(
        request,
        app_state,
        reader_zone,
        AboutView(
            versions=await asyncio.to_thread(_list_versions),
            python=platform.python_version(),
            files=await asyncio.to_thread(_data_files, app_state),
            counts=counts,
            last_seq=last_seq,
            lag=last_seq - counts["position"],
            data=app_state.config.data.absolute(),
            keep_days=await load_keep_days(app_state),
            retention_overrides=[
                (pbx.name, retention_overrides[pbx.sn])
                for pbx in await app_state.appdb.pbxs()
                if pbx.sn in retention_overrides
            ],
        ),
    )


def _list_versions() -> list[tuple[str, str]]:
    return [(name, _library_version(name)) for name in ("onhook", *LIBRARIES)]


def _library_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _data_files(app_state: AppState) -> list[DataFile]:
    config = app_state.config
    return [
        *_ledger_files(config),
        *_appdb_files(config),
        DataFile(
            "calls.duckdb", _("calls, for reading"), _file_size(config.store_file), _("can be rebuilt: onhook rebuild")
        ),
    ]


def _ledger_files(config: Config) -> list[DataFile]:
    """Return the file of the ledger, unless servers have it."""
    if config.ledger:
        return []
    return [
        DataFile(
            "ledger.db", _("all events, unchanged"), _file_size(config.ledger_file), _("original data: back it up")
        )
    ]


def _appdb_files(config: Config) -> list[DataFile]:
    """Return the file of the application database, unless a server has it."""
    if config.appdb:
        return []
    return [
        DataFile("onhook.db", _("settings and notes"), _file_size(config.appdb_file), _("original data: back it up"))
    ]


def _file_size(path: Path) -> int:
    """Return the size with that of the write-ahead log beside it."""
    paths = (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", ".wal")))
    return sum(file_path.stat().st_size for file_path in paths if file_path.exists())
