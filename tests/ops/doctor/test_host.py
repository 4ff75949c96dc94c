"""What may be wrong with a house."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.host import check_data, check_installation


@pytest.mark.parametrize(("lag", "status"), [(-1, "ERROR"), (0, "OK"), (1_000, "OK"), (1_001, "WARNING")])
def test_the_store_is_compared_with_its_ledger(lag: int, status: str) -> None:
    """Ahead is wrong: it stands for reports that its ledger has not."""
    first = next(check_data(lag, has_quarantined=False, counters=()))
    assert first.status == status
    if lag < 0:
        assert first.detail == "the store is 1 reports ahead of its ledger"
        assert "onhook rebuild" in first.hint


@pytest.mark.parametrize(("pbx", "status"), [("", "WARNING"), ("Office", "OK")])
def test_a_stranger_counts_until_it_is_declared(pbx: str, status: str) -> None:
    """Whoever set up the PBX first and declared it then has nothing left to do."""
    counter = {"kind": "unknown_pbx", "sn": "3631A2124ABC", "pbx": pbx, "count": 6, "last_at": "2026-11-24T17:04:04Z"}
    *_, last = check_data(0, has_quarantined=False, counters=[counter])
    assert last.status == status
    assert ("pbx add" in last.hint) is (not pbx)


def test_how_subscriptions_fare_is_told(tmp_path: Path) -> None:
    """One that is disabled is wrong, with what to do and without the key in its address."""
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path, intake=anywhere, console=anywhere, pbx_api=anywhere)
    appdb = AppDb(config.appdb_file)
    one, _ = appdb.destinations.add("CRM", DestinationSpec(url="http://a.example/?key=hush"), None, after=0, now_us=1)
    found = list(check_installation(config, SystemClock()))
    assert ("OK", "1 subscription fares well") in [(finding.status, finding.detail) for finding in found]
    appdb.destinations.disable(one, "the application answered 410 Gone")
    appdb.close()
    found = list(check_installation(config, SystemClock()))
    (wrong,) = [finding for finding in found if finding.status == "ERROR"]
    assert wrong.detail == "CRM is disabled: the application answered 410 Gone"
    assert "onhook destination resume CRM" in wrong.hint
    assert "hush" not in str(found)
