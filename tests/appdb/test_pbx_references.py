"""What names a PBX follows its new name."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from tests.factories import SN

pytestmark = pytest.mark.usefixtures("each_engine")

TILES = (StoredTile("calls", 2),)


async def fill(appdb: AppDb) -> None:
    """Store each kind of row that names a PBX: one of `office`, one of another."""
    await appdb.add_pbx(name="office", sn=SN, secret="s" * 32, now_us=1)
    await appdb.users.add("Alice", "reader", None, now_us=1)
    for name in ("office", "shop"):
        await appdb.dashboards.save(f"of {name}", DashboardLayout(tiles=TILES, pbx=name), author="Alice")
        spec = ReportSpec(report="volume", query=f"pbx={name}&by=day")
        await appdb.report_schedules.add("Alice", f"of {name}", spec, now_us=1)
        await appdb.saved_searches.add(f"of {name}", f"/calls?number=office&pbx={name}", author="Alice")
        await appdb.tokens.add(f"of {name}", "reader", now_us=1, export_filter=f"pbx={name}&since=7d")
        destination_spec = DestinationSpec(url="https://example.com", filter=RecordFilter(pbx=name, status="BUSY"))
        await appdb.destinations.add(f"of {name}", destination_spec, None, after=0, now_us=1)
        await appdb.destinations.replay(f"of {name}", RecordFilter(pbx=name), after=0, until=9, now_us=1)


async def list_queries(appdb: AppDb) -> list[list[str]]:
    """Return what is filtered by, by kind of row, in order of the rows' names."""
    return [
        [dashboard.layout.pbx for dashboard in await appdb.dashboards.all()],
        [schedule.spec.query for schedule in await appdb.report_schedules.all()],
        [search.path for search in await appdb.saved_searches.all()],
        [token.export_filter or "" for token in await appdb.tokens.all()],
    ]


async def test_new_name_of_a_pbx_is_in_all_that_names_it(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await fill(appdb)
        await appdb.change_pbx("office", {"name": "Head & branch"})
        assert await list_queries(appdb) == [
            ["Head & branch", "shop"],
            ["pbx=Head+%26+branch&by=day", "pbx=shop&by=day"],
            ["/calls?number=office&pbx=Head+%26+branch", "/calls?number=office&pbx=shop"],
            ["pbx=Head+%26+branch&since=7d", "pbx=shop&since=7d"],
        ]


async def test_new_name_of_a_pbx_leaves_destinations_its_serial_number(tmp_path: Path) -> None:
    """Records have the old name for some time: a filter by either name would miss some."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await fill(appdb)
        revisions = await appdb.destinations.revisions()
        await appdb.change_pbx("office", {"name": "Head"})
        filters = {destination.name: destination.filter for destination in await appdb.destinations.all()}
        assert filters == {
            "of office": RecordFilter(sn=SN, status="BUSY"),
            "of shop": RecordFilter(pbx="shop", status="BUSY"),
        }
        office = await appdb.destinations.get("of office")
        replay = (await appdb.destinations.streams(office.destination_id))[-1]
        assert replay.filter == RecordFilter(sn=SN)
        assert (await appdb.destinations.revisions())[office.destination_id] != revisions[office.destination_id]


async def test_new_name_of_a_pbx_leaves_rules_of_the_provider_its_serial_number(tmp_path: Path) -> None:
    """Else a sign-in that they limit to this PBX would be refused."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await fill(appdb)
        provider = ProviderSettings(
            issuer="https://example.com", client_id="onhook", rules="sales reader pbxs=shop,office\n* reader pbxs=shop"
        )
        await appdb.identity_provider.put(provider, "secret")
        await appdb.change_pbx("office", {"name": "Head"})
        stored = await appdb.identity_provider.get()
        assert stored is not None
        assert stored.rules == f"sales reader pbxs=shop,{SN}\n* reader pbxs=shop"


async def test_change_of_a_pbx_without_a_new_name_leaves_what_names_it(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await fill(appdb)
        await appdb.add_pbx(name="shop", sn="OTHER", secret="t" * 32, now_us=1)
        before = await list_queries(appdb), await appdb.destinations.all()
        await appdb.change_pbx("office", {"zone": "Asia/Tokyo"})
        with pytest.raises(UsageError):
            await appdb.change_pbx("office", {"name": "shop"})
        assert (await list_queries(appdb), await appdb.destinations.all()) == before
