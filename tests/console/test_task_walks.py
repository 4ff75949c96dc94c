"""Tasks of three people in a browser, without a shell: an office manager, a developer, the administrator of five sites.

Each task begins where the one before ended, as on a working day. Clicks and filled fields of each are counted, printed
and written to `test-output/walk-PERSON.txt`: a change that makes a task longer shows there.
"""

import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from playwright.async_api import Locator, Page, expect

from onhook.appdb.pbx_credentials import PbxCredentials
from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import TIMEOUT_MILLISECONDS, without_advice
from tests.console.test_missed_inbox import add_missed
from tests.console.test_pages import OUTPUT, open_visit, some_calls
from tests.factories import QUEUE, SN, details

PASSWORD = "a long enough password"
SITES = (
    ("Berlin", "p-series", "3631A2124AAA"),
    ("Hamburg", "p-series-api", "3631A2124BBB"),
    ("Munich", "asterisk", ""),
    ("Leipzig", "asterisk", ""),
    ("Dresden", "newcdr", "3631S0001CCC"),
)
"""Two P-Series, by webhook and by API; two Asterisk; an S-Series."""

pytestmark = pytest.mark.slow


class TaskCount(msgspec.Struct):
    """What one task took."""

    task: str
    clicks: int = 0
    fields: int = 0


class Walk:
    """A person at a browser; counts what the person does."""

    def __init__(self, person: str, page: Page, url: str) -> None:
        page.set_default_timeout(TIMEOUT_MILLISECONDS)
        self.person = person
        self.page = page
        self.url = url
        self.counts: list[TaskCount] = []

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """Count the steps inside as those of a task."""
        self.counts.append(TaskCount(name))
        yield

    async def click(self, text: str, role: str = "link", within: Locator | None = None) -> None:
        """Click the first link or button with this name."""
        place = self.page if within is None else within
        control = place.get_by_role(role, name=text)  # type: ignore[arg-type] # a text that is a role
        await control.first.click()
        self.counts[-1].clicks += 1

    async def open(self, text: str) -> None:
        """Unfold what is folded."""
        await self.page.locator("summary", has_text=text).first.click()
        self.counts[-1].clicks += 1

    async def fill(self, label: str, text: str) -> None:
        """Enter a text in the first field with this label."""
        await self._field(label).fill(text)
        self.counts[-1].fields += 1

    async def choose(self, label: str, option: str) -> None:
        await self._field(label).select_option(option)
        self.counts[-1].fields += 1

    def _field(self, label: str) -> Locator:
        """Return the first field with this label; sections have labels too."""
        return self.page.get_by_label(label).and_(self.page.locator("input, textarea, select")).first

    async def see(self, text: str | re.Pattern[str]) -> None:
        """Wait for a text on the page."""
        await expect(self.page.get_by_text(text).first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)

    def report(self) -> str:
        """Return a line for each task, and the sum."""
        lines = [f"{count.task}: {count.clicks} clicks, {count.fields} fields" for count in self.counts]
        clicks, fields = (sum(getattr(count, name) for count in self.counts) for name in ("clicks", "fields"))
        return "\n".join([f"{self.person}: {clicks} clicks, {fields} fields", *(f"  {line}" for line in lines), ""])


@asynccontextmanager
async def begin_walk(harness: ConsoleHarness, chromium_path: str, person: str) -> AsyncIterator[Walk]:
    """Yield the walk of a person who has signed in; the counts are added to the result."""
    async with open_visit(harness, chromium_path, viewport={"width": 1280, "height": 900}) as visit:
        walk = Walk(person, visit.page, harness.url)
        yield walk
        visit.errors[:] = without_advice(visit.errors)
        file_name = f"walk-{person.replace(' ', '-')}"
        await visit.page.screenshot(path=OUTPUT / f"{file_name}.png", full_page=True)
    report = walk.report()
    sys.stdout.write(report)
    (OUTPUT / f"{file_name}.txt").write_text(report, encoding="utf-8")


async def sign_in_as(walk: Walk, harness: ConsoleHarness, name: str, role: str) -> None:
    """Accept an invitation in the browser of a walk."""
    role_name = "administrator" if role == "administrator" else "annotator"
    invitation = await harness.appdb.users.add(name, role_name, None, now_us=harness.clock.microseconds())
    await walk.page.context.clear_cookies()
    await walk.page.goto(f"{walk.url}/invitation?invitation={invitation}")
    with walk.task("accept the invitation"):
        await walk.fill("Password", PASSWORD)
        await walk.fill("Repeat password", PASSWORD)
        await walk.click("Sign in", "button")
        await expect(walk.page).to_have_url(f"{walk.url}/", timeout=TIMEOUT_MILLISECONDS)


async def test_task_walk_of_an_office_manager(harness: ConsoleHarness, chromium_path: str) -> None:
    """Who has to be called back, what was agreed with a customer, and the figures of the week."""
    customer = "+49301234567"
    await harness.ingest_details([details(moment, call_to=QUEUE) for moment in some_calls()])
    await add_missed(harness, 20, customer)
    async with begin_walk(harness, chromium_path, "office manager") as walk:
        await sign_in_as(walk, harness, "Olga", "annotator")
        with walk.task("call back a missed caller"):
            await walk.click("Missed")
            await walk.click("Claim", "button")
            await walk.see("Claimed by Olga")
            await walk.click("Done", "button")
            await walk.see("None in this period.")
        with walk.task("note what was agreed"):
            await walk.click("Calls")
            await walk.fill("Number, name or call id", customer)
            await walk.click("Search", "button")
            await walk.see("Searching for")
            await walk.page.locator("tr.call a").first.click()
            walk.counts[-1].clicks += 1
            await walk.open("Add note")
            await walk.fill("Note", "offer until Friday")
            await walk.fill("Tags", "offer")
            await walk.click("Save", "button")
            await expect(walk.page.locator("blockquote.note")).to_contain_text("offer until Friday")
        with walk.task("download the report of the queues"):
            await walk.click("Reports")
            await walk.click("Queues")
            async with walk.page.expect_download() as download:
                await walk.click("CSV")
            assert (await download.value).suggested_filename.startswith("queues-")
        with walk.task("arrange and save a dashboard"):
            await walk.click("Dashboard")
            await walk.click("Edit tiles")
            await walk.click("Agents", within=walk.page.locator(".add-tiles"))
            await walk.fill("Name of the dashboard", "Front desk")
            await walk.click("Save", "button", within=walk.page.locator(".add-tiles"))
            await expect(walk.page.get_by_role("link", name="Front desk")).to_be_visible()
    (board,) = await harness.appdb.dashboards.all()
    assert (board.name, board.author, board.is_shared) == ("Front desk", "Olga", False)


@asynccontextmanager
async def open_receiver() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Yield the URL of the developer's own application, and the bodies that it got."""
    bodies: list[bytes] = []

    async def receive(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.json_response({"ok": True})

    application = web.Application()
    application.router.add_post("/calls", receive)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/calls", bodies
    finally:
        await runner.cleanup()


async def test_task_walk_of_a_developer(harness: ConsoleHarness, chromium_path: str) -> None:
    """A destination that is tested until it works, a token for the API, and a question in SQL."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    async with open_receiver() as (url, bodies), begin_walk(harness, chromium_path, "developer") as walk:
        await sign_in_as(walk, harness, "Dev", "administrator")
        with walk.task("send calls to an application"):
            await walk.click("Destinations")
            await walk.fill("Name", "CRM")
            await walk.fill("URL of its webhook", url)
            await walk.choose("Allow private addresses", "true")
            await walk.click("Add", "button")
            await walk.see("CRM")
        with walk.task("test it with a real sample, and read the attempt"):
            await walk.page.goto(f"{walk.url}/destinations/1")
            await walk.click("Send sample event", "button")
            await expect(walk.page.get_by_text("accepted").first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
            await walk.page.locator("#log ~ .scroll tbody a").first.click()
            walk.counts[-1].clicks += 1
            await walk.see("Request")
            await walk.see('"ok"')
        with walk.task("change its secret"):
            await walk.page.goto(f"{walk.url}/destinations/1")
            await walk.click("Edit settings and secrets")
            await walk.click("Add secret", "button")
            await walk.see("New secret")
        with walk.task("create a token for the API"):
            await walk.click("Users")
            token_form = walk.page.locator("#tokens ~ form")
            await token_form.get_by_label("Name").first.fill("crm")
            walk.counts[-1].fields += 1
            await token_form.get_by_role("button").first.click()
            walk.counts[-1].clicks += 1
            await walk.see("Token crm")
        with walk.task("ask a question in SQL and save it"):
            await walk.click("SQL")
            await walk.fill("Query", "SELECT status, count(*) FROM calls GROUP BY ALL")
            await walk.click("Run", "button")
            await walk.see("1 row")
            await walk.fill("Name of the question", "Front desk outcomes")
            await walk.click("Save this query", "button")
            await expect(walk.page.get_by_role("link", name="Front desk outcomes")).to_be_visible()
    assert len(bodies) == 1
    assert {token.name for token in await harness.appdb.tokens.all()} >= {"crm"}


async def test_task_walk_of_the_administrator_of_five_sites(
    harness: ConsoleHarness, chromium_path: str, tmp_path: Path
) -> None:
    """Five PBXs of four kinds, an issue, the people of a site, a screen in a hall, retention, and a PBX that goes."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    for name in ("Munich.csv", "Leipzig.csv"):
        (tmp_path / name).write_text("", encoding="utf-8")
    async with begin_walk(harness, chromium_path, "administrator of five sites") as walk:
        await sign_in_as(walk, harness, "Ada", "administrator")
        for site, kind, sn in SITES:
            with walk.task(f"add {site} ({kind})"):
                await add_site(walk, site, kind, sn, tmp_path)
        pbxs = {pbx.name: pbx for pbx in await harness.appdb.pbxs()}
        assert pbxs.keys() == {"office", *(site for site, _kind, _sn in SITES)}
        with walk.task("set number plan and time zone of a site"):
            await walk.click("PBXs")
            await walk.click("Berlin")
            await walk.fill("Time zone, if calls do not contain it", "Europe/Berlin")
            await walk.fill("Queues", "6400-6499")
            await walk.click("Save", "button", within=walk.page.locator("section:has(#number-plan)"))
            await walk.see("Settings saved.")
        await begin_difference(harness)
        with walk.task("fetch the calls that an issue says are missing"):
            await walk.click("Issues")
            await walk.see("Calls are missing")
            await walk.click("Back-fill the last 7 days", "button")
            await walk.see("Back-fill requested")
        await manage_people(walk)
        with walk.task("delete calls after a year"):
            await walk.click("Retention")
            form = walk.page.locator("form", has=walk.page.locator(f'input[value="{SN}"]'))
            await form.get_by_label("Keep calls").select_option("days")
            await form.get_by_role("textbox", name="Days").fill("365")
            walk.counts[-1].fields += 2
            await walk.click("Save", "button", within=form)
            await walk.see("Retention of office saved.")
        with walk.task("remove a PBX"):
            await walk.click("PBXs")
            await walk.click("Dresden")
            await walk.click("Remove PBX")
            await walk.click("Remove", "button")
            await expect(walk.page.get_by_role("link", name="Dresden")).to_have_count(0)
    assert "Dresden" not in {pbx.name for pbx in await harness.appdb.pbxs()}
    assert await harness.appdb.retention_overrides.all() == {SN: 365}
    assert await harness.appdb.sync_states.backfill_request(SN) is not None


async def add_site(walk: Walk, site: str, kind: str, sn: str, directory: Path) -> None:
    """Add a PBX by the wizard; one that cannot be reached is added all the same, and its checks say why."""
    await walk.click("PBXs")
    await walk.click("Add a PBX of any kind")
    await walk.page.locator(f'.kinds a[href*="/add-pbx/{kind}"]').first.click()
    walk.counts[-1].clicks += 1
    await walk.fill("Name", site)
    if sn:
        await walk.fill("Serial number", sn)
    if kind == "p-series-api":
        await walk.fill("API address", "https://127.0.0.1:1")
        await walk.fill("Client ID", "onhook")
        await walk.fill("Client secret", "the-client-secret")
    if kind == "asterisk":
        await walk.fill("Address", f"127.0.0.1:{len(walk.counts)}")
        await walk.fill("Manager user", "onhook")
        await walk.fill("Manager secret", "the-manager-secret")
        await walk.fill("File on this machine", str(directory / f"{site}.csv"))
    await walk.click("Add and check", "button")
    await walk.see("The PBX is added.")


async def begin_difference(harness: ConsoleHarness) -> None:
    """Have the monitor's alarm that calls of the first PBX are missing."""
    credentials = PbxCredentials(url="https://127.0.0.1:1", client_id="id", client_secret="a-client-secret")
    await harness.appdb.pbx_credentials.put(SN, credentials)
    await harness.appdb.alarms.raise_alarm(
        SN, "difference", "the PBX counts 312 records", hint="run `onhook backfill office`",
        now_us=harness.clock.microseconds(),
    )  # fmt: skip


async def manage_people(walk: Walk) -> None:
    """Invite a user of one site; give a screen a link to a dashboard, and revoke it."""
    with walk.task("invite a user of one site"):
        await walk.click("Users")
        await walk.fill("Name", "Berta")
        await walk.fill("Limit to PBXs", "Berlin")
        await walk.click("Invite", "button")
        await walk.see("Send this link to Berta")
    with walk.task("save a dashboard and make a link for a screen"):
        await walk.click("Dashboard")
        await walk.click("Edit tiles")
        await walk.fill("Name of the dashboard", "Hall")
        await walk.click("Save", "button", within=walk.page.locator(".add-tiles"))
        await walk.click("Wallboard links")
        await walk.fill("Name of the screen", "hall")
        await walk.fill("Last day", (datetime.now(UTC) + timedelta(days=9)).date().isoformat())
        await walk.click("Create link", "button")
        await walk.see("Open this link on the screen")
    with walk.task("revoke the link"):
        await walk.click("Revoke", "button")
        await walk.see("Link revoked.")
