"""Line endpoints from the application database."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.runtime.adapters.line_endpoints import AppDbLineEndpoints


async def test_line_endpoints_without_a_line_pbx_read_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database changes with every delivery, and most intakes have no such PBX."""
    appdb = AppDb(tmp_path / "onhook.db")

    async def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(appdb, "pbxs", fail)
    monkeypatch.setattr(appdb.source_matches, "all", fail)
    assert await AppDbLineEndpoints(appdb).list_endpoints() == []
    await appdb.close()
