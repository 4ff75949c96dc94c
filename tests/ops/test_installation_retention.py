"""Retention of the installation, as it is set on the page."""

import pytest

from onhook.appdb.stored_json import RowUnreadable
from onhook.ops.retention import RetentionTotals
from tests.factories import SN
from tests.ops.test_retention import OTHER_SN, RetentionHarness, server

__all__ = ["server"]


async def test_retention_of_the_installation_comes_before_the_configuration(server: RetentionHarness) -> None:
    """Set on the page; a PBX with days of its own keeps them, and one that cannot be read deletes nothing."""
    for number, (age, sn) in enumerate(((100, SN), (100, OTHER_SN), (40, SN))):
        await server.report(number, age, sn=sn)
    await server.appdb.installation_retention.put(0)
    assert await server.forget(30) == RetentionTotals()
    await server.appdb.retention_overrides.put(OTHER_SN, 0)
    await server.appdb.installation_retention.put(-1)
    with pytest.raises(RowUnreadable, match="nothing is deleted"):
        await server.forget(30)
    await server.appdb.installation_retention.put(60)
    assert await server.forget(0) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [2, 3]
