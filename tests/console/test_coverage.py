"""Coverage, alarms and back-fills: in the API, on the pages, and in the metrics."""

from datetime import UTC, datetime, timedelta

import pytest

from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import PbxStatus
from tests.console.conftest import ConsoleHarness
from tests.factories import PBX, SN


@pytest.fixture
async def compared(harness: ConsoleHarness) -> ConsoleHarness:
    """Return the harness with a PBX that was compared until an hour ago and has a wrong clock."""
    now = datetime.now(UTC).replace(microsecond=0)
    day = timedelta(days=1)
    stretch = Interval(now - 9 * day, now - day, "complete", "compared with the PBX")
    await harness.appdb.sync_states.save_intervals(SN, [stretch])
    await harness.appdb.sync_states.save_pbx_status(SN, PbxStatus(checked_at=1, skew_seconds=-90))
    await harness.appdb.alarms.raise_alarm(SN, "clock", "the clock is <wrong>", hint="set it with `ntp`", now_us=1)
    return harness


async def test_coverage_lists_complete_and_missing_times(compared: ConsoleHarness) -> None:
    async with compared.client() as client:
        answer = await (await client.get("/api/v1/coverage?since=3d")).json()
        (pbx_coverage,) = answer["data"]
        assert (
            pbx_coverage["pbx"],
            pbx_coverage["has_backfill_source"],
            pbx_coverage["pbx_status"]["skew_seconds"],
        ) == (PBX, False, -90)
        assert [stretch["state"] for stretch in pbx_coverage["intervals"]] == ["complete", "gap"]
        assert pbx_coverage["complete_until"] == pbx_coverage["intervals"][0]["until"]
        assert (await client.get("/api/v1/coverage?pbx=unknown")).status == 404
        assert (await client.get("/api/v1/coverage?since=today&until=yesterday")).status == 400


async def test_alarms_are_in_the_api_on_the_page_and_in_the_metrics(compared: ConsoleHarness) -> None:
    """Texts are escaped on the page."""
    async with compared.client() as client:
        (alarm,) = (await (await client.get("/api/v1/alarms")).json())["data"]
        assert (alarm["pbx"], alarm["kind"], alarm["ended_at"]) == (PBX, "clock", None)
        page = await (await client.get("/issues", headers={"Accept": "text/html"})).text()
        assert "the clock is &lt;wrong&gt;" in page
        assert "<code>ntp</code>" in page
        metrics = await (await client.get("/metrics")).text()
        assert f'onhook_alarms{{kind="clock",pbx="{PBX}"}} 1.0' in metrics
        assert f'onhook_pbx_clock_skew_seconds{{pbx="{PBX}"}} -90.0' in metrics
        assert "onhook_pbx_complete_until_seconds{" in metrics


async def test_backfill_request_is_stored(compared: ConsoleHarness) -> None:
    """Only a PBX with a source accepts a request; the API returns its progress."""
    async with compared.client() as client:
        path = f"/api/v1/pbxs/{PBX}/backfill"
        assert (await client.post(path, json={"since": "2d"})).status == 404
        await compared.appdb.pbx_credentials.put(SN, parse_pbx_credentials("https://pbx.office.example:8088", "a", "b"))
        answer = await client.post(path, json={"since": "2026-04-01", "until": "2026-04-02"})
        assert answer.status == 201
        request = (await (await client.get(path)).json())["request"]
        assert request["until"] - request["since"] == 86_400
        assert await compared.appdb.sync_states.backfill_request(SN) is not None
        assert (await client.post(path, json={"since": "2026-04-03", "until": "2026-04-02"})).status == 400


async def test_pbx_with_credentials_or_addresses_is_added(harness: ConsoleHarness) -> None:
    """One request is enough; no response contains the secrets."""
    api = {"url": "https://192.0.2.7:8088", "client_id": "us", "client_secret": "our-client-secret"}
    async with harness.client() as client:
        answer = await client.post("/api/v1/pbxs", json={"name": "Branch", "sn": "S-BRANCH", "credentials": api})
        assert answer.status == 201
        old = {"name": "Old", "sn": "S-OLD", "dialect": "newcdr", "path": "/3kFz0qLrB7xN9sVe"}
        added = await (await client.post("/api/v1/pbxs", json=old)).json()
        assert (added["secret"], added["pbx"]["dialect"]) == (None, "newcdr")
        assert (await client.post("/api/v1/pbxs", json=old | {"name": "A", "sn": "A", "path": ""})).status == 400
        assert (await client.post("/api/v1/pbxs", json=old | {"dialect": "3cx"})).status == 400
        text = await (await client.get("/api/v1/pbxs")).text()
    assert await harness.appdb.pbx_credentials.get("S-BRANCH") == parse_pbx_credentials(**api)
    assert "3kFz0qLrB7xN9sVe" not in text
    assert "our-client-secret" not in text
