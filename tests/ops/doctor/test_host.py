"""What may be wrong with a house."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.host import check_data, check_installation


@pytest.mark.parametrize(("behind", "grade"), [(-1, "wrong"), (0, "right"), (1_000, "right"), (1_001, "look")])
def test_the_store_is_compared_with_its_ledger(behind: int, grade: str) -> None:
    """Ahead is wrong: it stands for reports that its ledger has not."""
    first = next(check_data(behind, has_quarantined=False, tallies=()))
    assert first.grade == grade
    if behind < 0:
        assert first.what == "the store is 1 reports ahead of its ledger"
        assert "onhook rebuild" in first.todo


@pytest.mark.parametrize(("pbx", "grade"), [("", "look"), ("Office", "right")])
def test_a_stranger_counts_until_it_is_declared(pbx: str, grade: str) -> None:
    """Whoever set up the PBX first and declared it then has nothing left to do."""
    tally = {"what": "unknown_sn", "sn": "3631A2124ABC", "pbx": pbx, "count": 6, "last_at": "2026-11-24T17:04:04Z"}
    *_, last = check_data(0, has_quarantined=False, tallies=[tally])
    assert last.grade == grade
    assert ("pbx add" in last.todo) is (not pbx)


def test_how_subscriptions_fare_is_told(tmp_path: Path) -> None:
    """One that is disabled is wrong, with what to do and without the key in its address."""
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path, intake=anywhere, console=anywhere, exchange=anywhere)
    settings = AppDb(config.settings_file)
    one, _ = settings.subscriptions.add("CRM", DestinationSpec(url="http://a.example/?key=hush"), None, after=0, at=1)
    found = list(check_installation(config, SystemClock()))
    assert ("right", "1 subscription fares well") in [(finding.grade, finding.what) for finding in found]
    settings.subscriptions.disable(one, "the application answered 410 Gone")
    settings.close()
    found = list(check_installation(config, SystemClock()))
    (wrong,) = [finding for finding in found if finding.grade == "wrong"]
    assert wrong.what == "CRM is disabled: the application answered 410 Gone"
    assert "onhook subscribe resume CRM" in wrong.todo
    assert "hush" not in str(found)
