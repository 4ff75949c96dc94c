"""How Asterisks are reached, and the gaps in which they were not heard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.errors import NotFound, UsageError
from onhook.settings.asterisks import GAPS_MAX, NEIGHBOUR_MICROSECONDS, Asterisks, Reached
from onhook.settings.settings import Settings

SN = "pbx.example.org"
SECRET = "correct horse"
MINUTE = 60_000_000
REACHED = Reached(sn=SN, host="pbx.example.org", port=5038, user="onhook", inbound=("from-trunk",))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    one = Settings(tmp_path / "onhook.db")
    one.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", at=1)
    yield one
    one.close()


@pytest.fixture
def asterisks(settings: Settings) -> Asterisks:
    settings.asterisks.add(REACHED, SECRET)
    return settings.asterisks


def test_what_was_set_is_read_back(asterisks: Asterisks) -> None:
    """The secret by whoever asks for it, and in no listing."""
    assert asterisks.all() == [REACHED]
    assert asterisks.of(SN) == REACHED
    assert asterisks.secret(SN) == SECRET
    assert SECRET not in repr(asterisks.all())


def test_no_trunks_are_something_else_than_trunks_to_be_read(settings: Settings) -> None:
    """An empty list was said on purpose."""
    settings.asterisks.add(Reached(sn=SN, host="a", port=1, user="u", trunks=()), "s")
    assert settings.asterisks.of(SN).trunks == ()


@pytest.mark.parametrize(
    ("reached", "secret", "says"),
    [
        (Reached(sn=SN, host="", port=5038, user="u"), "s", "the host"),
        (Reached(sn=SN, host="a", port=0, user="u"), "s", "port 0"),
        (Reached(sn=SN, host="a", port=5038, user="two\nlines"), "s", "the user"),
        (Reached(sn=SN, host="a", port=5038, user="u"), "", "the secret"),
        (Reached(sn=SN, host="a", port=5038, user="u", trunks=("t" * 81,)), "s", "a trunk"),
        (Reached(sn=SN, host="a", port=5038, user="u", trunks=("t",) * 201), "s", "more than 200"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: Settings, reached: Reached, secret: str, says: str) -> None:
    """In one sentence, and nothing is kept."""
    with pytest.raises(UsageError, match=says):
        settings.asterisks.add(reached, secret)
    assert settings.asterisks.all() == []


def test_what_is_no_asterisk_is_told_so(asterisks: Asterisks) -> None:
    """With the command that would make it one."""
    with pytest.raises(NotFound, match="onhook pbx add"):
        asterisks.of("another")


def test_the_time_between_two_connections_is_a_gap(asterisks: Asterisks) -> None:
    """The first connection makes none; a gap begins where all was kept, not where the end was noticed."""
    asterisks.opened(SN, 10 * MINUTE)
    assert asterisks.gaps(SN) == []
    asterisks.covered(SN, 20 * MINUTE)
    asterisks.covered(SN, 19 * MINUTE)
    asterisks.closed(SN, "it has closed the connection")
    assert (asterisks.of(SN).is_connected, asterisks.of(SN).trouble) == (False, "it has closed the connection")
    asterisks.opened(SN, 30 * MINUTE)
    (gap,) = asterisks.gaps(SN)
    assert (gap.since.timestamp(), gap.until.timestamp()) == (20 * 60, 30 * 60)
    assert (asterisks.of(SN).is_connected, asterisks.of(SN).trouble) == (True, "")


def test_a_gap_stays_until_it_is_filled(asterisks: Asterisks) -> None:
    """Then it is history."""
    asterisks.opened(SN, 10 * MINUTE)
    asterisks.opened(SN, 20 * MINUTE)
    (gap,) = asterisks.gaps(SN)
    asterisks.fill([gap.gap_id], 40 * MINUTE)
    assert asterisks.gaps(SN) == []
    (filled,) = asterisks.gaps(SN, with_filled=True)
    assert filled.filled_at is not None


def test_a_line_that_comes_and_goes_makes_one_gap(asterisks: Asterisks) -> None:
    """Neighbours are joined; far ones are not; and there is a limit, past which the last one grows."""
    step = NEIGHBOUR_MICROSECONDS // 2
    asterisks.opened(SN, step)
    for times in range(2, 12):
        asterisks.opened(SN, times * step)
    assert len(asterisks.gaps(SN)) == 1
    at = 12 * step
    for _ in range(GAPS_MAX + 5):
        at += 3 * NEIGHBOUR_MICROSECONDS
        asterisks.covered(SN, at)
        at += 1
        asterisks.opened(SN, at)
    gaps = asterisks.gaps(SN)
    assert len(gaps) == GAPS_MAX
    assert gaps[-1].until.timestamp() == at / 1_000_000


def test_a_new_process_hears_nobody_yet(asterisks: Asterisks) -> None:
    """What a crashed one left behind does not count as heard."""
    asterisks.opened(SN, 10 * MINUTE)
    asterisks.begin()
    assert not asterisks.of(SN).is_connected


def test_a_pbx_that_is_removed_is_forgotten(settings: Settings, asterisks: Asterisks) -> None:
    """Its secret first of all."""
    asterisks.opened(SN, 1)
    asterisks.opened(SN, 2)
    settings.remove_pbx(SN)
    assert asterisks.all() == []
    assert asterisks.gaps(SN, with_filled=True) == []
