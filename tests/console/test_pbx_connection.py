"""The page that changes how a PBX is reached or identified, and pins its certificate."""

import re

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import parse_cdr_source
from onhook.appdb.pbx_credentials import PbxCredentials, parse_pbx_credentials
from onhook.appdb.source_match import SourceMatch
from onhook.cdr.sync_types import BackfillProgress
from tests.cli.test_pbx import tls_server
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import SN

SHOP = "127.0.0.1"
API = {"api_url": "https://127.0.0.1:1", "client_id": "client", "client_secret": "client-secret-text"}
AMI = {"address": "127.0.0.1:1", "user": "manager", "tls": "off"}


@pytest.fixture
async def shop(harness: ConsoleHarness) -> str:
    """Return the serial number of an Asterisk with a CDR table."""
    await harness.appdb.add_pbx(name="shop", sn=SHOP, secret="x" * 32, dialect="asterisk", now_us=1)
    asterisk = AsteriskPbx(sn=SHOP, host="127.0.0.1", port=5038, user="onhook", inbound=("from-trunk",), has_pins=True)
    await harness.appdb.asterisks.add(asterisk, "manager-secret")
    await harness.appdb.cdr_sources.put(SHOP, parse_cdr_source("mysql://cdr:table-password@127.0.0.1/asterisk"))
    return SHOP


async def post_connection(client: aiohttp.ClientSession, name: str, form: dict[str, str]) -> tuple[str, str]:
    """Return the path of the page that follows, and its text."""
    answer = await client.post(f"/pbxs/{name}/connection", data=form)
    assert answer.status == 200
    return answer.url.path, await answer.text()


async def load_credentials(harness: ConsoleHarness) -> PbxCredentials:
    credentials = await harness.appdb.pbx_credentials.get(SN)
    assert credentials is not None
    return credentials


async def test_connection_of_a_p_series_is_set_and_changed(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """An empty secret keeps the stored one, which is never shown; a PBX without an API needs one."""
    path, text = await post_connection(client, SN, API | {"client_secret": ""})
    assert (path, 'id="error-client_secret"' in text) == (f"/pbxs/{SN}/connection", True)
    path, text = await post_connection(client, SN, API)
    assert (path, "Connection saved." in text) == (f"/pbxs/{SN}", True)
    await post_connection(client, SN, API | {"client_id": "another", "client_secret": ""})
    credentials = await load_credentials(harness)
    assert (credentials.client_id, credentials.client_secret) == ("another", "client-secret-text")
    text = await (await client.get(f"/pbxs/{SN}/connection")).text()
    assert ('value="another"' in text, "client-secret-text" in text) == (True, False)


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"api_url": "http://192.0.2.7"}, 'id="error-api_url"'),
        ({"client_id": ""}, 'id="error-client_id"'),
        ({"fingerprint": "12:34"}, 'id="error-fingerprint"'),
        ({"api_url": "https://169.254.169.254"}, "API address"),
    ],
)
async def test_connection_invalid_change_keeps_what_was_entered(
    harness: ConsoleHarness, client: aiohttp.ClientSession, form: dict[str, str], sentence: str
) -> None:
    stored = parse_pbx_credentials("https://127.0.0.1:2", "client", "stored-secret")
    await harness.appdb.pbx_credentials.put(SN, stored)
    _path, text = await post_connection(client, SN, API | form)
    assert sentence in text
    for name, value in (API | form).items():
        assert (f'value="{value}"' in text) == (name != "client_secret"), name
    assert await load_credentials(harness) == stored


async def test_connection_stored_secret_stays_with_its_host(
    harness: ConsoleHarness, client: aiohttp.ClientSession, shop: str
) -> None:
    """Who may change an address must not be able to read a secret by it."""
    stored = parse_pbx_credentials("https://127.0.0.1:2", "client", "stored-secret")
    await harness.appdb.pbx_credentials.put(SN, stored)
    for url in ("https://127.0.0.2:2", "https://localhost:2", "https://[::1]:2"):
        _path, text = await post_connection(client, SN, API | {"api_url": url, "client_secret": ""})
        assert 'id="error-client_secret"' in text, url
        assert await load_credentials(harness) == stored
    for address in ("127.0.0.2", "localhost:5038", "[::1]:5038"):
        _path, text = await post_connection(client, shop, AMI | {"address": address})
        assert 'id="error-manager_secret"' in text, address
        assert (await harness.appdb.asterisks.get(shop)).host == "127.0.0.1"
    await post_connection(client, shop, AMI | {"address": "127.0.0.2", "manager_secret": "new"})
    assert (await harness.appdb.asterisks.get(shop)).host == "127.0.0.2"


async def test_connection_certificate_is_shown_and_pinned(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The certificate that was shown is pinned; without a server the page says what to do."""
    with tls_server() as port:
        await post_connection(client, SN, API | {"api_url": f"https://127.0.0.1:{port}"})
        text = await (await client.post(f"/pbxs/{SN}/certificate")).text()
    assert "Compare this with the PBX" in text
    fingerprints = re.findall(r'name="fingerprint" value="([0-9a-f]{64})"', text)
    answer = await client.post(f"/pbxs/{SN}/certificate/pin", data={"fingerprint": fingerprints[0]})
    assert "Certificate pinned." in await answer.text()
    assert (await load_credentials(harness)).fingerprint == fingerprints[0]
    text = await (await client.post(f"/pbxs/{SN}/certificate")).text()
    assert "No TLS connection" in text
    assert (await client.post(f"/pbxs/{SN}/certificate/pin", data={"fingerprint": "12"})).status == 400


async def test_connection_of_newcdr_keeps_its_path(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    match = SourceMatch(("192.0.2.7",), "/0123456789abcdef")
    await harness.appdb.add_pbx(name="cloud", sn="CLOUD", secret=None, dialect="newcdr", source_match=match, now_us=1)
    text = await (await client.get("/pbxs/CLOUD/connection")).text()
    assert ('value="192.0.2.7"' in text, match.path in text) == (True, False)
    await post_connection(client, "CLOUD", {"addresses": "192.0.2.8"})
    assert await harness.appdb.source_matches.get("CLOUD") == SourceMatch(("192.0.2.8",), match.path)
    await post_connection(client, "CLOUD", {"path": "/fedcba9876543210"})
    assert await harness.appdb.source_matches.get("CLOUD") == SourceMatch((), "/fedcba9876543210")
    _path, text = await post_connection(client, "CLOUD", {"addresses": "x", "path": "/short"})
    assert ('id="error-addresses"' in text, 'id="error-path"' in text) == (True, True)


async def test_connection_of_an_asterisk_is_changed(
    harness: ConsoleHarness, client: aiohttp.ClientSession, shop: str
) -> None:
    """Secrets stay, what the form does not have stays, and the password of a table goes to no other database."""
    text = await (await client.get(f"/pbxs/{shop}/connection")).text()
    assert ("manager-secret" in text, "table-password" in text) == (False, False)
    location = "mysql://cdr@127.0.0.1:3306/asterisk"
    assert f'value="{location}"' in text
    assert 'name="inbound"' in text
    assert 'value="from-trunk"' in text
    contexts = {"inbound": "from-trunk, from-second"}
    form = AMI | contexts | {"trunks": "provider", "cdr": location, "cdr_table": "calls"}
    path, text = await post_connection(client, shop, form)
    assert (path, "Connection saved." in text) == (f"/pbxs/{shop}", True)
    asterisk = await harness.appdb.asterisks.get(shop)
    assert (asterisk.port, asterisk.user, asterisk.trunks) == (1, "manager", ("provider",))
    assert (asterisk.inbound, asterisk.has_pins) == (("from-trunk", "from-second"), True)
    assert await harness.appdb.asterisks.get_secret(shop) == "manager-secret"
    source = await harness.appdb.cdr_sources.get(shop)
    assert source is not None
    assert (source.table, source.password) == ("calls", "table-password")
    await post_connection(client, shop, AMI | {"cdr": "mysql://cdr@127.0.0.2/asterisk", "manager_secret": "new"})
    source = await harness.appdb.cdr_sources.get(shop)
    assert source is not None
    assert source.password == ""
    assert await harness.appdb.asterisks.get_secret(shop) == "new"
    asterisk = await harness.appdb.asterisks.get(shop)
    assert (asterisk.trunks, asterisk.inbound) == (None, ())
    await post_connection(client, shop, AMI)
    assert await harness.appdb.cdr_sources.get(shop) is None
    _path, text = await post_connection(client, shop, AMI | {"address": "a b", "cdr": "oracle://x"})
    assert ('id="error-address"' in text, 'value="a b"' in text, 'id="error-cdr"' in text) == (True, True, True)


async def test_connection_is_for_administrators(harness: ConsoleHarness, shop: str) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as client:
        assert (await client.get(f"/pbxs/{shop}/connection")).status == 403
        for path in ("connection", "certificate", "certificate/pin"):
            assert (await client.post(f"/pbxs/{shop}/{path}", data=AMI)).status == 403


async def test_connection_walk_shows_progress_and_changes_an_asterisk(
    harness: ConsoleHarness, chromium_path: str, shop: str
) -> None:
    """A back-fill's progress moves without a reload; removal is confirmed."""
    states = harness.appdb.sync_states
    progress = BackfillProgress(since=0, until=1_000, done_until=250, started_at=0, requested_since=0)
    await states.save_backfill_progress(shop, progress)
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/pbxs/{shop}")
        await expect(page.locator("progress")).to_have_attribute("value", "250")
        await page.get_by_role("link", name="Edit connection, trunks and CDR source").press("Enter")
        await page.get_by_label("Manager user").fill("manager")
        await page.screenshot(path=OUTPUT / "pbx-connection.png", full_page=True)
        await page.get_by_role("button", name="Save").press("Enter")
        await expect(page.get_by_text("Connection saved.")).to_be_visible()
        await page.get_by_role("link", name="Remove PBX").click()
        await expect(page.get_by_text("Its calls stay.")).to_be_visible()
        await page.get_by_role("button", name="Remove shop").click()
        await expect(page.get_by_role("link", name="Add a PBX of any kind")).to_be_visible()
    assert [pbx.name for pbx in await harness.appdb.pbxs()] == ["office"]
