"""AMI connections of Asterisk PBXs and their state."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx, Asterisks
from onhook.lib.errors import NotFound, UsageError

SN = "pbx.example.org"
SECRET = "correct horse"
MINUTE = 60_000_000
REACHED = AsteriskPbx(sn=SN, host="pbx.example.org", port=5038, user="onhook", inbound=("from-trunk",))


@pytest.fixture
def appdb(tmp_path: Path) -> Iterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    opened_appdb.add_pbx(name="Office", sn=SN, secret="not-a-known-secret", dialect="asterisk", now_us=1)
    yield opened_appdb
    opened_appdb.close()


@pytest.fixture
def asterisks(appdb: AppDb) -> Asterisks:
    appdb.asterisks.add(REACHED, SECRET)
    return appdb.asterisks


def test_asterisk_settings_are_stored(asterisks: Asterisks) -> None:
    """The secret is in no listing."""
    assert asterisks.all() == [REACHED]
    assert asterisks.get(SN) == REACHED
    assert asterisks.get_secret(SN) == SECRET
    assert SECRET not in repr(asterisks.all())


def test_asterisk_empty_trunk_list_differs_from_detected_trunks(appdb: AppDb) -> None:
    appdb.asterisks.add(AsteriskPbx(sn=SN, host="a", port=1, user="u", trunks=()), "s")
    assert appdb.asterisks.get(SN).trunks == ()


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
def test_asterisk_invalid_settings_are_rejected(
    appdb: AppDb, reached: AsteriskPbx, secret: str, expected_text: str
) -> None:
    """With one sentence; nothing is stored."""
    with pytest.raises(UsageError, match=expected_text):
        appdb.asterisks.add(reached, secret)
    assert appdb.asterisks.all() == []


def test_asterisk_unknown_is_not_found(asterisks: Asterisks) -> None:
    """With the command that adds it."""
    with pytest.raises(NotFound, match="onhook pbx add"):
        asterisks.get("another")


def test_asterisk_covered_until_only_grows(asterisks: Asterisks) -> None:
    asterisks.set_connected(SN, 10 * MINUTE)
    asterisks.set_covered_until(SN, 20 * MINUTE)
    asterisks.set_covered_until(SN, 19 * MINUTE)
    asterisks.set_disconnected(SN, "it has closed the connection")
    asterisk = asterisks.get(SN)
    assert asterisk.covered_until is not None
    assert (asterisk.covered_until.timestamp(), asterisk.is_connected) == (20 * 60, False)
    assert asterisk.error == "it has closed the connection"
    asterisks.set_connected(SN, 30 * MINUTE)
    assert (asterisks.get(SN).is_connected, asterisks.get(SN).error) == (True, "")


def test_asterisk_reset_marks_all_as_disconnected(asterisks: Asterisks) -> None:
    """A crashed process leaves its state behind."""
    asterisks.set_connected(SN, 10 * MINUTE)
    asterisks.reset_connections()
    assert not asterisks.get(SN).is_connected


def test_asterisk_removed_with_its_pbx(appdb: AppDb, asterisks: Asterisks) -> None:
    """With its secret."""
    asterisks.set_connected(SN, 1)
    asterisks.set_connected(SN, 2)
    appdb.remove_pbx(SN)
    assert asterisks.all() == []
