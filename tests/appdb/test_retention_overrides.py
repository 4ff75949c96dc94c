"""Retention per PBX, and of the installation."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.retention_overrides import DAYS_MAX, FOR_EVER, parse_retention_days
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")


async def test_retention_override_is_stored_and_removed(tmp_path: Path) -> None:
    """Also `always`; removed with its PBX."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for name in ("office", "branch"):
            await appdb.add_pbx(name=name, sn=name, secret="0123456789", now_us=1)
            await appdb.retention_overrides.put(name, 90)
        await appdb.retention_overrides.put("office", 0)
        assert await appdb.retention_overrides.all() == {"office": 0, "branch": 90}
        await appdb.retention_overrides.put("office", None)
        await appdb.remove_pbx("branch")
        assert await appdb.retention_overrides.all() == {}


async def test_installation_retention_is_stored_and_removed(tmp_path: Path) -> None:
    """Each change is in the audit log."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        assert await appdb.installation_retention.get() is None
        for days in (90, FOR_EVER, DAYS_MAX):
            await appdb.installation_retention.put(days)
            assert await appdb.installation_retention.get() == days
        await appdb.installation_retention.put(None)
        assert await appdb.installation_retention.get() is None
        assert (
            len([entry for entry in await appdb.audit.latest(9) if "retention of the installation" in entry.action])
            == 4
        )
        await appdb.installation_retention.put(DAYS_MAX + 1)
        assert await appdb.installation_retention.get() is None
        (row,) = await appdb.installation_retention.list_unreadable()
        assert (row.table, "is not a number of days" in row.reason) == ("installation_retention", True)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "soon", str(DAYS_MAX + 1), "9" * 5_000, "000090000", "٣"])
def test_parse_retention_days_invalid_text_is_rejected(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of days"):
        parse_retention_days(text)
