"""Ids that other sides gave to calls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb import external_ids
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


async def add_destination(appdb: AppDb, name: str) -> int:
    spec = DestinationSpec(kind="http", url="https://api.example.com/v1")
    destination, _secret = await appdb.destinations.add(name, spec, None, after=0, now_us=1)
    return destination.destination_id


async def test_external_ids_are_those_of_a_destination_and_a_call(appdb: AppDb) -> None:
    first, second = [await add_destination(appdb, name) for name in ("CRM", "Chat")]
    await appdb.external_ids.put(first, {("SN", "1"): "a", ("SN", "2"): "b"})
    await appdb.external_ids.put(first, {("SN", "1"): "c"})
    assert await appdb.external_ids.find(first, ("SN", "1")) == "c"
    assert await appdb.external_ids.find(first, ("SN", "2")) == "b"
    assert await appdb.external_ids.find(first, ("SN", "3")) == ""
    assert await appdb.external_ids.find(second, ("SN", "1")) == ""
    await appdb.destinations.remove("CRM")
    assert await appdb.external_ids.find(first, ("SN", "1")) == ""


async def test_external_ids_the_oldest_are_deleted(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this destination only; an id that was stored again is a new one."""
    monkeypatch.setattr(external_ids, "EXTERNAL_IDS_MAX", 2)
    first, second = [await add_destination(appdb, name) for name in ("CRM", "Chat")]
    await appdb.external_ids.put(second, {("SN", "1"): "other"})
    for call_id in ("1", "2", "1", "3"):
        await appdb.external_ids.put(first, {("SN", call_id): f"id {call_id}"})
    stored_ids = [await appdb.external_ids.find(first, ("SN", call_id)) for call_id in ("1", "2", "3")]
    assert stored_ids == ["id 1", "", "id 3"]
    assert await appdb.external_ids.find(second, ("SN", "1")) == "other"
