"""Names of a PBX's own numbers, from its web API to the directory."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.cdr.directory import PbxName
from onhook.lib.errors import Unavailable
from onhook.pbx.client import NumberName
from onhook.sync import name_reader
from onhook.sync.name_reader import NameReader, list_pbx_names
from tests.factories import SN
from tests.sync.harness import open_sync_harness
from tests.sync.pbx_responder import json_response, open_pbx_responder
from tests.waiting import polls, wait_until


async def test_names_are_read_and_replaced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At intervals; names that the PBX no longer lists go; while it does not list them, the last ones stay."""
    monkeypatch.setattr(name_reader, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(name_reader, "INTERVAL_SECONDS", 0.02)
    rows: dict[str, list[dict[str, str]]] = {
        "extension": [{"number": "1001", "caller_id_name": "Alice Smith"}, {"number": "1002", "caller_id_name": "Bob"}],
        "queue": [{"number": "6400", "name": "Support"}],
    }
    is_refused = False

    async def answer(request: web.Request) -> web.StreamResponse | None:
        name = request.path.split("/")[-2]
        if not request.path.endswith("/list"):
            return None
        return json_response(errcode=70120) if is_refused else json_response(errcode=0, data=rows.get(name, []))

    async def stored() -> list[tuple[str, str, str]]:
        return [(name.number, name.kind, name.name) for name in await appdb.directory.pbx_names()]

    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as harness,
        AppDb(tmp_path / "onhook.db") as appdb,
    ):
        responder.override_response = answer
        await appdb.add_pbx(name="office", sn=SN, secret="s" * 32, now_us=1)
        reader = NameReader(session=harness.session, directory=appdb.directory, sn=SN)
        await reader.read()
        assert await stored() == [
            ("1001", "extension", "Alice Smith"),
            ("1002", "extension", "Bob"),
            ("6400", "queue", "Support"),
        ]
        is_refused = True
        with pytest.raises(Unavailable):
            await reader.read()
        assert len(await stored()) == 3
        is_refused = False
        rows["extension"] = [{"number": "1001", "caller_id_name": "Alice Jones"}]
        task = asyncio.create_task(reader.run())
        try:
            expected = [("1001", "extension", "Alice Jones"), ("6400", "queue", "Support")]
            await wait_until((await stored() == expected async for _ in polls()), 30)
            is_refused = True
            await wait_until(lambda: responder.request_names.count("extension/list") > 6, 30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert len(await stored()) == 2


def test_names_that_cannot_be_stored_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long, not printable, twice, or too many."""
    monkeypatch.setattr(name_reader, "PBX_NAMES_MAX", 2)
    names = [
        NumberName(number=number, kind="extension", name=name)
        for number, name in (("1" * 41, "A"), ("10\n1", "A"), ("1001", "a\x00b"), ("1002", "B" * 101), ("1002", "Bob"))
    ]
    more = [NumberName(number=str(number), kind="extension", name="C") for number in (1003, 1004)]
    assert list_pbx_names("S", [*names, *more]) == [
        PbxName(sn="S", number="1002", kind="extension", name="Bob"),
        PbxName(sn="S", number="1003", kind="extension", name="C"),
    ]
