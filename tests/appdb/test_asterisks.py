"""AMI connections of Asterisk PBXs and their state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx, Asterisks
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "pbx.example.org"
SECRET = "correct horse"
MINUTE = 60_000_000
REACHED = AsteriskPbx(sn=SN, host="pbx.example.org", port=5038, user="onhook", inbound=("from-trunk",))


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    await opened_appdb.add_pbx(name="Office", sn=SN, secret="not-a-known-secret", dialect="asterisk", now_us=1)
    yield opened_appdb
    await opened_appdb.close()


@pytest.fixture
async def asterisks(appdb: AppDb) -> Asterisks:
    await appdb.asterisks.add(REACHED, SECRET)
    return appdb.asterisks


async def test_asterisk_settings_are_stored(asterisks: Asterisks) -> None:
    """The secret is in no listing."""
    assert await asterisks.all() == [REACHED]
    assert await asterisks.get(SN) == REACHED
    assert await asterisks.get_secret(SN) == SECRET
    assert SECRET not in repr(await asterisks.all())


async def test_asterisk_empty_trunk_list_differs_from_detected_trunks(appdb: AppDb) -> None:
    await appdb.asterisks.add(AsteriskPbx(sn=SN, host="a", port=1, user="u", trunks=()), "s")
    assert (await appdb.asterisks.get(SN)).trunks == ()


@pytest.mark.parametrize(
    ("reached", "secret", "expected_text"),
    [
        (AsteriskPbx(sn=SN, host="", port=5038, user="u"), "s", "the host"),
        (AsteriskPbx(sn=SN, host="a", port=0, user="u"), "s", "port 0"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="two\nlines"), "s", "the user"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u"), "", "the secret"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u", trunks=("t" * 81,)), "s", "a trunk"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u", trunks=("t",) * 201), "s", "more than 200"),
    ],
)
async def test_asterisk_invalid_settings_are_rejected(
    appdb: AppDb, reached: AsteriskPbx, secret: str, expected_text: str
) -> None:
    """With one sentence; nothing is stored."""
    with pytest.raises(UsageError, match=expected_text):
        await appdb.asterisks.add(reached, secret)
    assert await appdb.asterisks.all() == []


async def test_asterisk_unknown_is_not_found(asterisks: Asterisks) -> None:
    """With the command that adds it."""
    with pytest.raises(NotFound, match="onhook pbx add"):
        await asterisks.get("another")


async def test_asterisk_covered_until_only_grows(asterisks: Asterisks) -> None:
    await asterisks.set_connected(SN, 10 * MINUTE)
    await asterisks.set_covered_until(SN, 20 * MINUTE)
    await asterisks.set_covered_until(SN, 19 * MINUTE)
    await asterisks.set_disconnected(SN, "it has closed the connection")
    asterisk = await asterisks.get(SN)
    assert asterisk.covered_until is not None
    assert (asterisk.covered_until.timestamp(), asterisk.is_connected) == (20 * 60, False)
    assert asterisk.error == "it has closed the connection"
    await asterisks.set_connected(SN, 30 * MINUTE)
    assert ((await asterisks.get(SN)).is_connected, (await asterisks.get(SN)).error) == (True, "")


async def test_asterisk_reset_marks_it_as_disconnected(asterisks: Asterisks) -> None:
    """A crashed process leaves its state behind. Another PBX may be that of another process."""
    await asterisks.set_connected(SN, 10 * MINUTE)
    await asterisks.reset_connection("other")
    assert (await asterisks.get(SN)).is_connected
    await asterisks.reset_connection(SN)
    assert not (await asterisks.get(SN)).is_connected


async def test_asterisk_removed_with_its_pbx(appdb: AppDb, asterisks: Asterisks) -> None:
    """With its secret."""
    await asterisks.set_connected(SN, 1)
    await asterisks.set_connected(SN, 2)
    await appdb.remove_pbx(SN)
    assert await asterisks.all() == []
