"""`/quarantine`: what could not be read, and reading it again; `/alarms`; `/about`: versions, sizes, what is kept."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.console.api.coverage import list_named_alarms
from onhook.console.api.quarantine import find_quarantined
from onhook.console.api.records import SEQ_MAX, Seq
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, render_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep

QUARANTINE_ROWS_MAX = 100
"""Reports of the quarantine on one page."""

MESSAGE_CHARACTERS_MAX = 500
"""Of what came of a button, handed to the page that follows in its address."""

LIBRARIES = ("litestar", "granian", "duckdb", "msgspec", "jinja2", "aiohttp", "phonenumbers", "tzdata")
"""Those whose version a person who reports a fault is asked for."""

AfterSeqQuery = Annotated[int, QueryParameter(ge=0, le=SEQ_MAX)]
Message = Annotated[str, QueryParameter(max_length=MESSAGE_CHARACTERS_MAX)]


class DataFile(msgspec.Struct, frozen=True):
    """A file of the data directory, what it holds, how large it is, and what becomes of what is in it."""

    name: str
    what: str
    size_bytes: int
    kept: str


@get("/quarantine", include_in_schema=False)
async def quarantine_page(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, after: AfterSeqQuery = 0, told: Message = ""
) -> Response[str]:
    """In order of number, each with its reason."""
    entries = list(await rooms.store.quarantine(QUARANTINE_ROWS_MAX, after))
    return render_page(
        request,
        rooms,
        reader_zone,
        "quarantine.html",
        found=entries,
        total=(await rooms.store.counts())["quarantined"] if entries else 0,
        next=entries[-1].seq if len(entries) == QUARANTINE_ROWS_MAX else None,
        after=after,
        told=told,
    )


@post("/quarantine/{seq:int}/retry", include_in_schema=False, status_code=200)
async def retry_quarantined(rooms: AppStateDep, seq: Seq) -> Redirect:
    """Read one again, as after an upgrade."""
    await find_quarantined(rooms, seq)
    still_quarantined = await rooms.read_again([seq])
    message = (
        f"Report {seq} still cannot be read: {still_quarantined[0].reason}"
        if still_quarantined
        else f"Report {seq} could be read."
    )
    return Redirect(url("/quarantine", after=max(0, seq - 1), told=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


@post("/quarantine/retry", include_in_schema=False, status_code=200)
async def retry_first_page(rooms: AppStateDep) -> Redirect:
    """Read the first of them again, as many as a page shows."""
    seqs = [entry.seq for entry in await rooms.store.quarantine(QUARANTINE_ROWS_MAX)]
    still_quarantined = await rooms.read_again(seqs) if seqs else []
    message = f"{len(seqs) - len(still_quarantined)} of {len(seqs)} could be read."
    return Redirect(url("/quarantine", told=message), status_code=303)


@get("/alarms", include_in_schema=False)
async def alarms_page(request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Those that go on, and those that are over."""
    return render_page(request, rooms, reader_zone, "alarms.html", alarms=list_named_alarms(rooms))


@get("/about", include_in_schema=False)
async def about_page(request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """What runs here, and what it keeps."""
    last_seq = await rooms.ledger.last()
    counts = await rooms.store.counts()
    retention_overrides = rooms.settings.keeping.all()
    return render_page(
        request,
        rooms,
        reader_zone,
        "about.html",
        versions=[(name, _library_version(name)) for name in ("onhook", *LIBRARIES)],
        python=platform.python_version(),
        files=_data_files(rooms),
        counts=counts,
        last=last_seq,
        behind=last_seq - counts["position"],
        data=rooms.config.data.absolute(),
        keep_days=rooms.config.keep_days,
        keep_own=[
            (pbx.name, retention_overrides[pbx.sn]) for pbx in rooms.settings.pbxs() if pbx.sn in retention_overrides
        ],
    )


ROUTES = (quarantine_page, retry_quarantined, retry_first_page, alarms_page, about_page)


def _library_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _data_files(rooms: AppState) -> list[DataFile]:
    config = rooms.config
    return [
        DataFile(
            "ledger.db", "every report, as its bytes came", _file_size(config.ledger_file), "the truth: back it up"
        ),
        DataFile("onhook.db", "what people set and wrote", _file_size(config.settings_file), "the truth: back it up"),
        DataFile(
            "calls.duckdb", "calls, for reading", _file_size(config.store_file), "can be made again: onhook rebuild"
        ),
    ]


def _file_size(path: Path) -> int:
    """With what is written beside it before it becomes part of it."""
    paths = (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", ".wal")))
    return sum(file_path.stat().st_size for file_path in paths if file_path.exists())
