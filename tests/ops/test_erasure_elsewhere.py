"""What an erasure does not reach is named in its preview."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.recordings import Recordings
from onhook.appdb.swept_folders import SweptFolder
from onhook.config import Config
from tests.factories import SN
from tests.ops.erasure_world import NUMBER, fill, open_directory


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", zone="Europe/Berlin")


async def test_preview_names_what_is_not_reached(config: Config, tmp_path: Path) -> None:
    """Destinations that keep what was sent, folders of PBXs, and the files of a move: a person erases there."""
    await fill(config)
    await add_destinations(config)
    (config.data / "onhook.db.moved").write_bytes(b"030901820")
    async with open_directory(config) as files:
        folder = SweptFolder(path=str(tmp_path / "cdr"), target=str(tmp_path / "done"))
        await files.appdb.swept_folders.put(SN, folder)
        counts = await files.eraser.preview(NUMBER)
        assert counts.elsewhere == (
            "destination crm keeps what was sent",
            "destination crm-leads keeps the leads that were added",
            f"files of PBX Office keep what they have: {tmp_path / 'cdr'} {tmp_path / 'done'}",
            "onhook.db.moved has all of before the move: delete it",
        )
        assert (await files.eraser.erase(NUMBER)).elsewhere == counts.elsewhere


async def add_destinations(config: Config) -> None:
    """Add destinations of kinds that follow deletions, and one that notifies of issues; calls were sent to all."""
    async with AppDb(config.appdb_file) as appdb:
        url = "https://example.com/db"
        for name, spec in (
            ("crm-leads", DestinationSpec(kind="odoo", url=url, fields={"new_leads": True})),
            ("bi", DestinationSpec(kind="clickhouse", url=url)),
            ("alerts", DestinationSpec(url=url, notifies_of="issues")),
        ):
            await appdb.destinations.add(name, spec, "s" * 32, after=0, now_us=1)
        await appdb._database.write("UPDATE destinations SET attempts_succeeded = 1")
        await appdb.destinations.add("unused", DestinationSpec(url=url), "s" * 32, after=0, now_us=1)


async def test_preview_names_recordings_on_another_machine(config: Config) -> None:
    """Their names are erased from the calls: without them no person could find the files."""
    await fill(config)
    async with open_directory(config) as files:
        await files.appdb._database.write("UPDATE recordings SET node = 'two'")
        files.appdb.recordings = Recordings(files.appdb._database, "one")
        counts = await files.eraser.preview(NUMBER)
    name = "20260427-030901820-1001.wav"
    text = f"recordings of PBX Office are on the machine two: erase there instead, or delete {name}"
    assert (counts.recordings, counts.elsewhere) == (0, (text,))
