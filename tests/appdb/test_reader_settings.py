"""Settings of readers."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.reader_settings import ReaderSettings
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SETTINGS = ReaderSettings(zone="Asia/Tokyo", clock="12", call_columns="wait,talk")


async def test_reader_settings_follow_the_user(tmp_path: Path) -> None:
    """They keep their user under a new name, end with it, and are in no audit entry."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.users.add("Alice", "reader", None, now_us=1)
        assert await appdb.reader_settings.get("Alice") == ReaderSettings()
        entries = len(await appdb.audit.latest(10))
        await appdb.reader_settings.put("Alice", ReaderSettings(clock="12"))
        await appdb.reader_settings.put("Alice", blank_settings())
        assert len(await appdb.audit.latest(10)) == entries
        await appdb.users.change("Alice", new_name="Alicia", role="reader", scope=None)
        assert await appdb.reader_settings.all() == {"Alicia": SETTINGS}
        await appdb.users.remove("Alicia")
        assert await appdb.reader_settings.all() == {}
        with pytest.raises(NotFound):
            await appdb.reader_settings.put("Alice", SETTINGS)


def blank_settings() -> ReaderSettings:
    return ReaderSettings(zone=" Asia/Tokyo ", clock="12", call_columns=" wait,talk ")


@pytest.mark.parametrize(
    "settings",
    [
        ReaderSettings(zone="Mars/Olympus"),
        ReaderSettings(zone="../etc/passwd"),
        ReaderSettings(clock="13"),  # type: ignore[arg-type] # as a form may send it
        ReaderSettings(call_columns="x" * 201),
        ReaderSettings(call_columns="wait\ntalk"),
    ],
)
def test_reader_settings_that_are_invalid_are_rejected(settings: ReaderSettings) -> None:
    with pytest.raises(UsageError):
        settings.validate()
