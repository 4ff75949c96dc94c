"""How Asterisks are reached, and how each fares."""

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
    one = AppDb(tmp_path / "onhook.db")
    one.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", now_us=1)
    yield one
    one.close()


@pytest.fixture
def asterisks(appdb: AppDb) -> Asterisks:
    appdb.asterisks.add(REACHED, SECRET)
    return appdb.asterisks


def test_what_was_set_is_read_back(asterisks: Asterisks) -> None:
    """The secret by whoever asks for it, and in no listing."""
    assert asterisks.all() == [REACHED]
    assert asterisks.get(SN) == REACHED
    assert asterisks.get_secret(SN) == SECRET
    assert SECRET not in repr(asterisks.all())


def test_no_trunks_are_something_else_than_trunks_to_be_read(appdb: AppDb) -> None:
    """An empty list was said on purpose."""
    appdb.asterisks.add(AsteriskPbx(sn=SN, host="a", port=1, user="u", trunks=()), "s")
    assert appdb.asterisks.get(SN).trunks == ()


@pytest.mark.parametrize(
    ("reached", "secret", "says"),
    [
        (AsteriskPbx(sn=SN, host="", port=5038, user="u"), "s", "the host"),
        (AsteriskPbx(sn=SN, host="a", port=0, user="u"), "s", "port 0"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="two\nlines"), "s", "the user"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u"), "", "the secret"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u", trunks=("t" * 81,)), "s", "a trunk"),
        (AsteriskPbx(sn=SN, host="a", port=5038, user="u", trunks=("t",) * 201), "s", "more than 200"),
    ],
)
def test_what_cannot_be_meant_is_refused(appdb: AppDb, reached: AsteriskPbx, secret: str, says: str) -> None:
    """In one sentence, and nothing is kept."""
    with pytest.raises(UsageError, match=says):
        appdb.asterisks.add(reached, secret)
    assert appdb.asterisks.all() == []


def test_what_is_no_asterisk_is_told_so(asterisks: Asterisks) -> None:
    """With the command that would make it one."""
    with pytest.raises(NotFound, match="onhook pbx add"):
        asterisks.get("another")


def test_the_moment_until_which_all_is_kept_only_grows(asterisks: Asterisks) -> None:
    """And how it fares is told beside it."""
    asterisks.set_connected(SN, 10 * MINUTE)
    asterisks.set_covered_until(SN, 20 * MINUTE)
    asterisks.set_covered_until(SN, 19 * MINUTE)
    asterisks.set_disconnected(SN, "it has closed the connection")
    one = asterisks.get(SN)
    assert one.covered_until is not None
    assert (one.covered_until.timestamp(), one.is_connected) == (20 * 60, False)
    assert one.error == "it has closed the connection"
    asterisks.set_connected(SN, 30 * MINUTE)
    assert (asterisks.get(SN).is_connected, asterisks.get(SN).error) == (True, "")


def test_a_new_process_hears_nobody_yet(asterisks: Asterisks) -> None:
    """What a crashed one left behind does not count as heard."""
    asterisks.set_connected(SN, 10 * MINUTE)
    asterisks.reset_connections()
    assert not asterisks.get(SN).is_connected


def test_a_pbx_that_is_removed_is_forgotten(appdb: AppDb, asterisks: Asterisks) -> None:
    """Its secret first of all."""
    asterisks.set_connected(SN, 1)
    asterisks.set_connected(SN, 2)
    appdb.remove_pbx(SN)
    assert asterisks.all() == []
