"""The wizard that adds a PBX: each kind, its errors, and what is to be entered at the PBX."""

import html
import re
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.source_match import SourceMatch
from onhook.config import Config
from onhook.console import line_setup
from onhook.console.pages.add_pbx import KINDS
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit

NEW_SN = "3699NEW"
CLOSED_PORT = "127.0.0.1:1"
BASICS = {"name": "branch", "sn": NEW_SN}
API = {"api_url": f"https://{CLOSED_PORT}", "client_id": "client", "client_secret": "client-secret-text"}
AMI = {"address": CLOSED_PORT, "user": "onhook", "manager_secret": "manager-secret-text"}


async def post_form(client: aiohttp.ClientSession, kind: str, form: dict[str, str]) -> str:
    answer = await client.post(f"/add-pbx/{kind}", data=form)
    assert answer.status == 200
    return await answer.text()


async def test_add_pbx_pages_offer_every_kind(client: aiohttp.ClientSession) -> None:
    """A serial number that is known goes along; an unknown kind is not found."""
    text = await (await client.get(f"/add-pbx?sn={NEW_SN}")).text()
    for kind in KINDS.values():
        assert f'href="/add-pbx/{kind.name}?sn={NEW_SN}"' in text
        form = await (await client.get(f"/add-pbx/{kind.name}?sn={NEW_SN}")).text()
        assert kind.title in form
        assert (f'value="{NEW_SN}"' in form) == (kind.name != "asterisk")
    assert (await client.get("/add-pbx/nothing")).status == 404
    assert (await client.post("/add-pbx/nothing", data=BASICS)).status == 404


async def test_add_pbx_webhook_shows_url_and_secret_once(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    text = await post_form(client, "p-series", BASICS | {"zone": "Europe/Berlin"})
    secret = re.search(r'data-copy="secret">(\w{32})<', text)
    assert secret
    assert ":30012/" in text
    assert "no further checks" in text
    pbx = await harness.appdb.pbx(NEW_SN)
    assert (pbx.name, pbx.zone, pbx.dialect, pbx.secrets) == ("branch", "Europe/Berlin", "yeastar", 1)
    (credentials,) = [item for item in await harness.appdb.webhook_credentials() if item.sn == NEW_SN]
    assert credentials.secrets == (secret[1],)
    assert secret[1] not in await (await client.get(f"/pbxs/{NEW_SN}")).text()
    (entry,) = await harness.appdb.audit.latest(1)
    assert (entry.actor, entry.action.split(" and")[0]) == ("admin", "add PBX branch")


async def test_add_pbx_api_is_added_and_checked(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A PBX that cannot be reached is added, and the checks say so; its client secret is on no page."""
    text = await post_form(client, "p-series-api", BASICS | API)
    assert ">ERROR<" in text
    assert "port 1 cannot be reached" in text
    assert API["client_secret"] not in text
    stored = await harness.appdb.pbx_credentials.get(NEW_SN)
    assert stored is not None
    assert (stored.url, stored.client_id, stored.client_secret) == (
        "https://127.0.0.1:1", "client", "client-secret-text",
    )  # fmt: skip
    assert (await harness.appdb.pbx(NEW_SN)).secrets == 0


async def test_add_pbx_newcdr_is_identified_by_path_or_address(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Without either, a path is generated and shown once."""
    text = await post_form(client, "newcdr", BASICS)
    path = re.search(r":30012(/\w{32})<", text)
    assert path
    assert await harness.appdb.source_matches.get(NEW_SN) == SourceMatch((), path[1])
    assert path[1] not in await (await client.get(f"/pbxs/{NEW_SN}")).text()
    await post_form(client, "newcdr", {"name": "cloud", "sn": "CLOUD", "addresses": "192.0.2.7, 192.0.2.64/28"})
    assert await harness.appdb.source_matches.get("CLOUD") == SourceMatch(("192.0.2.7", "192.0.2.64/28"), "")
    both = {"name": "both", "sn": "BOTH", "addresses": "192.0.2.9", "path": "/0123456789abcdef"}
    await post_form(client, "newcdr", both)
    assert await harness.appdb.source_matches.get("BOTH") == SourceMatch(("192.0.2.9",), "/0123456789abcdef")
    assert (await harness.appdb.pbx("BOTH")).dialect == "newcdr"


async def test_add_pbx_freeswitch_has_the_configuration_with_its_url(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The path is generated, and shown this once; the file is XML with the address of the intake."""
    form = {"name": "fusion", "sn": "FUSION-1", "addresses": "192.0.2.7"}
    text = await post_form(client, "freeswitch", form)
    configuration = html.unescape(text.partition("<pre")[2].partition(">")[2].partition("</pre>")[0])
    params = dict(re.findall(r'<param name="([^"]+)" value="([^"]+)"/>', configuration))
    path = (await harness.appdb.source_matches.get("FUSION-1")).path
    assert urlsplit(params["url"]).path == path
    assert (params["encode"], params["encode-values"], params["log-b-leg"]) == ("false", "false", "true")
    assert await harness.appdb.source_matches.get("FUSION-1") == SourceMatch(("192.0.2.7",), path)
    assert (await harness.appdb.pbx("FUSION-1")).dialect == "freeswitch"
    page = await (await client.get("/pbxs/FUSION-1")).text()
    assert path not in page
    async with client.get("/pbxs/FUSION-1/connection") as response:
        assert (response.status, path in await response.text()) == (200, False)
    await client.post("/pbxs/FUSION-1/connection", data={"addresses": "192.0.2.8"})
    assert await harness.appdb.source_matches.get("FUSION-1") == SourceMatch(("192.0.2.8",), path)


async def test_add_pbx_grandstream_has_its_secret_path_this_once(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    text = await post_form(client, "grandstream", {"name": "shop", "sn": "UCM-1", "addresses": "192.0.2.9"})
    path = (await harness.appdb.source_matches.get("UCM-1")).path
    assert f":30012{path}<" in text
    assert (await harness.appdb.pbx("UCM-1")).dialect == "grandstream"
    page = await (await client.get("/pbxs/UCM-1")).text()
    assert ("Send test event" in page, path in page, "without access to the list of calls of the UCM" in page) == (
        *(False, False, True),
    )
    connection_page = await (await client.get("/pbxs/UCM-1/connection")).text()
    assert ("A UCM does not sign" in connection_page, path in connection_page) == (True, False)


async def test_connection_of_lines_is_looked_up_while_the_database_is_free(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that does not answer stops no other change."""
    await post_form(client, "3cx", {"name": "lines", "mode": "connect", "line_address": "127.0.0.1:1", "sn": "L"})

    async def look_up(_config: Config, _url: str, *, location: str) -> str:
        async with harness.open_other_hub() as (_url_of_other, other):
            await other.tokens.add(f"during {location}", "reader", now_us=harness.clock.microseconds())
        return ""

    monkeypatch.setattr(line_setup, "check_pbx_url", look_up)
    answer = await client.post("/pbxs/L/connection", data={"mode": "connect", "line_address": "pbx.example:2"})
    assert answer.status == 200
    assert await harness.appdb.line_connections.get("L") == LineConnection(mode="connect", host="pbx.example", port=2)
    assert "during connect" in {token.name for token in await harness.appdb.tokens.all()}


@pytest.mark.parametrize(("kind", "passive"), [("3cx", "the passive socket, with the port 2"), ("avaya", "TCP port 2")])
async def test_add_pbx_that_writes_lines_has_the_port_and_its_addresses(
    harness: ConsoleHarness, client: aiohttp.ClientSession, kind: str, passive: str
) -> None:
    """Its page changes the connection; a listener without an allow-list is refused."""
    form = {"name": "lines", "mode": "listen", "line_address": "0.0.0.0:5015", "addresses": "192.0.2.7", "zone": "UTC"}
    text = await post_form(client, kind, form | {"addresses": ""})
    assert "the addresses that may write them must be known" in html.unescape(text)
    text = await post_form(client, kind, form)
    assert "<code>5015</code>" in text
    sn = f"{kind}-5015"
    pbx = await harness.appdb.pbx(sn)
    assert (pbx.dialect, pbx.zone) == (kind, "UTC")
    assert await harness.appdb.source_matches.get(sn) == SourceMatch(("192.0.2.7",))
    page = await (await client.get(f"/pbxs/{sn}")).text()
    assert "Send test event" not in page
    text = await (await client.get(f"/pbxs/{sn}/connection")).text()
    assert 'value="0.0.0.0:5015"' in text
    changed = {"mode": "connect", "line_address": "127.0.0.1:1", "addresses": ""}
    await client.post(f"/pbxs/{sn}/connection", data=changed)
    assert await harness.appdb.line_connections.get(sn) == LineConnection(mode="connect", host="127.0.0.1", port=1)
    text = await post_form(client, kind, {"name": "passive", "mode": "connect", "line_address": "127.0.0.1:2"})
    assert passive in text


async def test_add_pbx_that_leaves_files_has_its_folder_set_on_its_page(
    harness: ConsoleHarness, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    text = await post_form(client, "cucm", BASICS)
    assert "CDR Enabled Flag" in text
    pbx = await harness.appdb.pbx(NEW_SN)
    assert (pbx.dialect, pbx.secrets, pbx.is_unsigned) == ("cucm", 0, False)
    page = await (await client.get(f"/pbxs/{NEW_SN}")).text()
    assert "Send test event" not in page
    assert "Serial numbers" not in page
    await client.post(f"/pbxs/{NEW_SN}/files", data={"path": str(tmp_path), "target": ""})
    assert (await harness.appdb.swept_folders.all())[NEW_SN].path == str(tmp_path)


@pytest.mark.parametrize("is_table", [False, True])
async def test_add_pbx_asterisk_has_connection_and_cdr_source(
    harness: ConsoleHarness, client: aiohttp.ClientSession, tmp_path: Path, is_table: bool
) -> None:
    """The checks cover both; the page has the lines of the configuration, without the secret."""
    file = tmp_path / "Master.csv"
    file.touch()
    cdr = "mysql://cdr@127.0.0.1:1/asteriskcdrdb/cdr" if is_table else str(file)
    form = {
        "name": "shop",
        "trunks": "provider, second",
        "inbound": "from-trunk",
        "cdr": cdr,
        "cdr_password": "table-password",
    }
    text = await post_form(client, "asterisk", AMI | form)
    assert ">ERROR<" in text
    assert ("can be read" in text or "has no call" in text) or is_table
    assert "[onhook]\nsecret = THE-SECRET" in text
    assert AMI["manager_secret"] not in text
    assert "table-password" not in text
    pbx = await harness.appdb.pbx("shop")
    asterisk = await harness.appdb.asterisks.get(pbx.sn)
    assert (asterisk.sn, asterisk.host, asterisk.port, asterisk.user) == (CLOSED_PORT, "127.0.0.1", 1, "onhook")
    assert (asterisk.tls, asterisk.trunks, asterisk.inbound) == ("off", ("provider", "second"), ("from-trunk",))
    assert await harness.appdb.asterisks.get_secret(pbx.sn) == AMI["manager_secret"]
    location = "mysql://cdr@127.0.0.1:1/asteriskcdrdb" if is_table else str(file)
    password = "table-password" if is_table else ""
    assert await harness.appdb.cdr_sources.get(pbx.sn) == CdrSource(location=location, password=password)


@pytest.mark.parametrize(
    ("kind", "form", "field"),
    [
        ("p-series", BASICS | {"zone": "Mars/Base"}, "zone"),
        ("p-series", BASICS | {"name": ""}, "name"),
        ("p-series", BASICS | {"sn": "two words"}, "sn"),
        ("p-series", BASICS | {"secret": "x" * 300}, "secret"),
        ("p-series-api", BASICS | API | {"api_url": "http://192.0.2.7"}, "api_url"),
        ("p-series-api", BASICS | API | {"api_url": "pbx"}, "api_url"),
        ("p-series-api", BASICS | API | {"client_id": ""}, "client_id"),
        ("p-series-api", BASICS | API | {"client_secret": ""}, "client_secret"),
        ("p-series-api", BASICS | API | {"fingerprint": "xyz"}, "fingerprint"),
        ("newcdr", BASICS | {"addresses": "0.0.0.0/0"}, "addresses"),
        ("newcdr", BASICS | {"path": "/short"}, "path"),
        ("freeswitch", BASICS | {"path": "/short"}, "path"),
        ("3cx", {"name": "lines", "line_address": ""}, "line_address"),
        ("3cx", {"name": "lines", "line_address": "5015"}, "line_address"),
        ("3cx", {"name": "lines", "line_address": "127.0.0.1:5015", "line_fields": "a,b"}, "line_fields"),
        ("3cx", {"name": "lines", "line_address": "127.0.0.1:5015", "addresses": "here"}, "addresses"),
        ("asterisk", AMI | {"name": "shop", "address": "a b"}, "address"),
        ("asterisk", AMI | {"name": "shop", "address": ""}, "address"),
        ("asterisk", AMI | {"name": "shop", "user": ""}, "user"),
        ("asterisk", AMI | {"name": "shop", "manager_secret": ""}, "manager_secret"),
        ("asterisk", AMI | {"name": "shop", "tls": "certificates", "certificates": "no PEM"}, "certificates"),
        ("asterisk", AMI | {"name": "shop", "cdr": "oracle://x"}, "cdr"),
        ("asterisk", AMI | {"name": "shop", "cdr": "mysql://a:b@host/db"}, "cdr"),
    ],
)
async def test_add_pbx_invalid_field_is_marked_and_the_others_are_kept(
    harness: ConsoleHarness, client: aiohttp.ClientSession, kind: str, form: dict[str, str], field: str
) -> None:
    """Nothing is stored; no secret is shown."""
    text = await post_form(client, kind, form)
    assert f'id="error-{field}"' in text
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"', text)
    for name, value in form.items():
        is_secret = name in ("secret", "client_secret", "manager_secret")
        assert value == "" or (value in text) != is_secret, name
    assert [pbx.name for pbx in await harness.appdb.pbxs()] == ["office"]


@pytest.mark.parametrize(
    ("kind", "form", "sentence"),
    [
        ("p-series", BASICS | {"name": "office"}, "office"),
        ("p-series-api", BASICS | API | {"api_url": "https://169.254.169.254:8088"}, "API address"),
        ("asterisk", AMI | {"name": "shop", "address": "169.254.169.254"}, "manager address"),
        ("asterisk", AMI | {"name": "shop", "cdr": "mysql://a@169.254.169.254/db"}, "CDR source"),
    ],
)
async def test_add_pbx_refused_by_the_system_is_explained(
    harness: ConsoleHarness, client: aiohttp.ClientSession, kind: str, form: dict[str, str], sentence: str
) -> None:
    """A name that exists, an address that is no PBX's: nothing is stored."""
    text = await post_form(client, kind, form)
    alerts = re.findall(r'role="alert"[^>]*>([^<]*)', text)
    assert any(sentence in alert for alert in alerts), alerts
    assert [pbx.name for pbx in await harness.appdb.pbxs()] == ["office"]


async def test_add_pbx_is_for_administrators(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as client:
        for path in ("/add-pbx", "/add-pbx/asterisk"):
            assert (await client.get(path)).status == 403
        assert (await client.post("/add-pbx/p-series", data=BASICS)).status == 403
    async with harness.client(headers={"Sec-Fetch-Site": "cross-site"}) as client:
        client.headers.pop("Authorization")
        assert (await client.post("/add-pbx/p-series", data=BASICS)).status in (401, 403)


async def test_add_pbx_walk_adds_an_asterisk(harness: ConsoleHarness, chromium_path: str) -> None:
    """By keyboard, on a telephone; the form keeps what was entered."""
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(harness.url + "/pbxs")
        await page.get_by_role("link", name="Add a PBX of any kind").press("Enter")
        await page.screenshot(path=OUTPUT / "add-pbx-kinds.png", full_page=True)
        await page.get_by_role("link", name="Asterisk").press("Enter")
        await page.get_by_label("Name", exact=False).first.fill("shop")
        await page.get_by_label("Address", exact=False).first.fill(CLOSED_PORT)
        await page.get_by_label("Manager user").fill("onhook")
        await page.get_by_label("Manager secret").fill("secret-text")
        await page.get_by_label("File on this machine").fill("oracle://x")
        await page.get_by_role("button", name="Add and check").press("Enter")
        await expect(page.locator("#error-cdr")).to_be_visible()
        await page.screenshot(path=OUTPUT / "add-pbx-error.png", full_page=True)
        await page.get_by_label("File on this machine").fill("/nowhere/Master.csv")
        await page.get_by_label("Manager secret").fill("secret-text")
        await page.get_by_role("button", name="Add and check").press("Enter")
        await expect(page.get_by_text("The PBX is added.")).to_be_visible()
        await expect(page.get_by_role("button", name="Copy configuration")).to_be_visible()
        await page.screenshot(path=OUTPUT / "added-pbx.png", full_page=True)
