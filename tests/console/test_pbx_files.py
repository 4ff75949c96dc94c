"""The section *Files* of the page of a PBX."""

import html

import aiohttp

from onhook.appdb.swept_folders import SweptFolder
from tests.console.conftest import ConsoleHarness


async def read_page(client: aiohttp.ClientSession, sn: str) -> str:
    async with client.get(f"/pbxs/{sn}") as response:
        return html.unescape(await response.text())


async def test_pbx_page_changes_the_folder_of_files_and_shows_what_became_of_them(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    appdb = harness.appdb
    await appdb.add_pbx(name="Fusion", sn="FUSION", secret="a-known-secret", dialect="freeswitch", now_us=1)
    assert "No folder is read." in await read_page(client, "FUSION")
    async with client.post("/pbxs/FUSION/files", data={"path": "/err", "target": "/stored"}) as response:
        assert response.status == 200
        assert "Not read yet." in await response.text()
    assert await appdb.swept_folders.get("FUSION") == SweptFolder(path="/err", target="/stored")
    now_us = harness.clock.microseconds()
    await appdb.swept_folders.save_result("FUSION", stored=7, unreadable=2, error="", now_us=now_us)
    page = await read_page(client, "FUSION")
    assert "New in the store since the folder was set: 7." in page
    assert "2 files or lines are no events" in page
    await appdb.swept_folders.save_result("FUSION", stored=0, unreadable=0, error="no such folder", now_us=now_us)
    assert "o such folder" in await read_page(client, "FUSION")
    async with client.post("/pbxs/FUSION/files", data={"path": "err", "target": ""}) as response:
        assert "is no folder of this machine" in await response.text()
    await client.post("/pbxs/FUSION/files", data={"path": "", "target": ""})
    assert await appdb.swept_folders.get("FUSION") is None


async def test_pbx_page_of_a_pbx_that_leaves_no_files_has_no_section(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.appdb.add_pbx(name="Other", sn="OTHER", secret="a-known-secret", now_us=1)
    assert "Folder on this machine" not in await read_page(client, "OTHER")
