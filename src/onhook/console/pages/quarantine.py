"""`/quarantine`: what could not be read, and reading it again; `/alarms`; `/about`: versions, sizes, what is kept."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.console.api.coverage import named_alarms
from onhook.console.api.quarantine import find_quarantined
from onhook.console.api.records import SEQ_MAX, Seq
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, page
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms

SHOWN_MAX = 100
"""Reports of the quarantine on one page."""

TOLD_CHARACTERS_MAX = 500
"""Of what came of a button, handed to the page that follows in its address."""

LIBRARIES = ("litestar", "granian", "duckdb", "msgspec", "jinja2", "aiohttp", "phonenumbers", "tzdata")
"""Those whose version a person who reports a fault is asked for."""

After = Annotated[int, QueryParameter(ge=0, le=SEQ_MAX)]
Told = Annotated[str, QueryParameter(max_length=TOLD_CHARACTERS_MAX)]


class KeptFile(msgspec.Struct, frozen=True):
    """A file of the data directory, what it holds, how large it is, and what becomes of what is in it."""

    name: str
    what: str
    size_bytes: int
    kept: str


@get("/quarantine", include_in_schema=False)
async def quarantine_page(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, after: After = 0, told: Told = ""
) -> Response[str]:
    """In order of number, each with its reason."""
    found = list(await rooms.store.quarantine(SHOWN_MAX, after))
    return page(
        request,
        rooms,
        reader_zone,
        "quarantine.html",
        found=found,
        total=(await rooms.store.counts())["quarantined"] if found else 0,
        next=found[-1].seq if len(found) == SHOWN_MAX else None,
        after=after,
        told=told,
    )


@post("/quarantine/{seq:int}/retry", include_in_schema=False, status_code=200)
async def retry(rooms: Handed, seq: Seq) -> Redirect:
    """Read one again, as after an upgrade."""
    await find_quarantined(rooms, seq)
    still = await rooms.read_again([seq])
    told = f"Report {seq} still cannot be read: {still[0].reason}" if still else f"Report {seq} could be read."
    return Redirect(url("/quarantine", after=max(0, seq - 1), told=told[:TOLD_CHARACTERS_MAX]), status_code=303)


@post("/quarantine/retry", include_in_schema=False, status_code=200)
async def retry_first(rooms: Handed) -> Redirect:
    """Read the first of them again, as many as a page shows."""
    first = [one.seq for one in await rooms.store.quarantine(SHOWN_MAX)]
    still = await rooms.read_again(first) if first else []
    told = f"{len(first) - len(still)} of {len(first)} could be read."
    return Redirect(url("/quarantine", told=told), status_code=303)


@get("/alarms", include_in_schema=False)
async def alarms_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """Those that go on, and those that are over."""
    return page(request, rooms, reader_zone, "alarms.html", alarms=named_alarms(rooms))


@get("/about", include_in_schema=False)
async def about_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """What runs here, and what it keeps."""
    last = await rooms.ledger.last()
    counts = await rooms.store.counts()
    own = rooms.settings.keeping.all()
    return page(
        request,
        rooms,
        reader_zone,
        "about.html",
        versions=[(name, _version(name)) for name in ("onhook", *LIBRARIES)],
        python=platform.python_version(),
        files=_files(rooms),
        counts=counts,
        last=last,
        behind=last - counts["position"],
        data=rooms.config.data.absolute(),
        keep_days=rooms.config.keep_days,
        keep_own=[(pbx.name, own[pbx.sn]) for pbx in rooms.settings.pbxs() if pbx.sn in own],
    )


ROUTES = (quarantine_page, retry, retry_first, alarms_page, about_page)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _files(rooms: Rooms) -> list[KeptFile]:
    config = rooms.config
    return [
        KeptFile("ledger.db", "every report, as its bytes came", _size(config.ledger_file), "the truth: back it up"),
        KeptFile("onhook.db", "what people set and wrote", _size(config.settings_file), "the truth: back it up"),
        KeptFile("calls.duckdb", "calls, for reading", _size(config.store_file), "can be made again: onhook rebuild"),
    ]


def _size(path: Path) -> int:
    """With what is written beside it before it becomes part of it."""
    beside = (path, *(path.with_name(path.name + ending) for ending in ("-wal", ".wal")))
    return sum(one.stat().st_size for one in beside if one.exists())
