"""The inbox of missed calls: claim, done, reminders, calls that tick themselves; scope, mask and permission."""

import re
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.cdr.access_scope import AccessScope
from onhook.console.queries import missed_inbox
from onhook.lib.timestamps import to_microseconds
from tests.console.conftest import ConsoleHarness, open_console_harness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import SN, details

CALLER, OTHER = "+4930901820", "+4940123456"


async def add_missed(harness: ConsoleHarness, minutes: int, caller: str, call_to: str = "1002") -> str:
    """Add an inbound call that was missed so many minutes ago; return its id."""
    started_at = harness.clock.now().replace(microsecond=0) - timedelta(minutes=minutes)
    call_id = f"{int(started_at.timestamp())}.{minutes}"
    await harness.ingest_details(
        [
            details(
                started_at,
                call_id=call_id,
                call_from=caller,
                call_to=call_to,
                src_trunk_name="SIP",
                type="Inbound",
                status="NO ANSWER",
                talk_duration=0,
            )
        ]
    )
    return call_id


async def add_call_back(harness: ConsoleHarness, minutes: int, number: str) -> None:
    """Add an outgoing call of Alice to a number, in which she talked."""
    started_at = harness.clock.now().replace(microsecond=0) - timedelta(minutes=minutes)
    await harness.ingest_details([details(started_at, call_to=number, dst_trunk_name="SIP", type="Outbound")])


async def rows_of(client: aiohttp.ClientSession, query: str = "") -> list[str]:
    """Return the texts of the rows."""
    text = await (await client.get(f"/missed{query}")).text()
    rows = re.findall(r"<tr data-key=.*?</tr>", text, re.DOTALL)
    visible = [re.sub(r"<select.*?</select>|<button.*?</button>", "", row, flags=re.DOTALL) for row in rows]
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in visible]


async def act(client: aiohttp.ClientSession, action: str, *call_ids: str, **form: str) -> int:
    calls = [("call", f"{SN}\n{call_id}") for call_id in call_ids]
    body = [*calls, ("action", action), *form.items()]
    async with client.post("/missed", data=body, allow_redirects=False) as answer:
        return answer.status


async def test_missed_inbox_calls_of_one_caller_are_claimed_and_done(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Who works on a call is shown, and how soon it was done; both are in the audit log."""
    older, newer, _other = [
        await add_missed(harness, minutes, caller) for minutes, caller in ((50, CALLER), (40, CALLER), (30, OTHER))
    ]
    first, second = await rows_of(client)
    assert OTHER in first
    assert "2 calls" in second
    assert "Open" in second
    now_us = harness.clock.microseconds()
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=now_us)
    async with harness.client(token) as carol:
        assert await act(carol, "claim", older, newer) == 303
        assert "Claimed by Carol" in (await rows_of(client))[1]
        assert len(await rows_of(carol, "?show=mine")) == 1
        assert await rows_of(client, "?show=mine") == []
        assert await act(client, "claim", older) == 400
        assert await act(carol, "done", older, newer) == 303
    assert len(await rows_of(client)) == 1
    (row,) = await rows_of(client, "?show=done")
    assert "Done by Carol after 40:" in row
    actions = [(entry.actor, entry.action) for entry in await harness.appdb.audit.latest(5)]
    assert ("Carol", f"change work on missed call {older} and 1 more") in actions
    assert await act(client, "reopen", older, newer) == 303
    assert len(await rows_of(client)) == 2
    assert await act(client, "release", older, newer) == 303
    assert "Open" in (await rows_of(client))[1]


async def test_missed_inbox_returned_calls_tick_themselves(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Claimed or not; by whom and how soon is shown."""
    first = await add_missed(harness, 50, CALLER)
    await add_missed(harness, 40, OTHER)
    assert await act(client, "remind", first, remind="15") == 303
    await add_call_back(harness, 30, "0" + CALLER.removeprefix("+49"))
    (open_row,) = await rows_of(client)
    assert OTHER in open_row
    (done_row,) = await rows_of(client, "?show=done")
    # The calls were added one after another.
    assert re.search("Returned Alice 1001 after 20:0[0-9]", done_row)
    text = await (await client.get("/missed?show=done")).text()
    assert "2 inbound calls were missed: 1 returned, 1 not returned, 0 without a number." in text
    assert "within 20:0" in text


async def test_missed_inbox_says_the_type_that_was_chosen(client: aiohttp.ClientSession) -> None:
    for call_type, beginning in (("", "0 inbound calls"), ("inbound", "0 inbound calls"), ("outbound", "0 calls")):
        page = await (await client.get("/missed", params={"type": call_type} if call_type else {})).text()
        assert f">{beginning} were missed: 0 returned, 0 not returned, 0 without a number." in page


async def test_missed_inbox_reminder_that_is_due_is_first(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    first = await add_missed(harness, 50, CALLER)
    await add_missed(harness, 40, OTHER)
    for remind in ("15", "60", "tomorrow"):
        assert await act(client, "remind", first, remind=remind) == 303
        assert "reminder" in (await rows_of(client))[1]
    assert await act(client, "remind", first, remind="soon") == 400
    past_us = to_microseconds(harness.clock.now() - timedelta(minutes=1))
    await harness.appdb.missed_call_work.remind(
        [(SN, first)], "admin", remind_at_us=past_us, now_us=harness.clock.microseconds()
    )
    assert "Reminder is due" in (await rows_of(client))[0]


async def test_missed_inbox_respects_scope_mask_and_role(harness: ConsoleHarness) -> None:
    """An annotator works on the calls of the scope; a reader changes nothing; numbers are masked for who sees masked
    ones.
    """
    first = await add_missed(harness, 50, CALLER, call_to="1002")
    second = await add_missed(harness, 40, OTHER, call_to="1003")
    now_us = harness.clock.microseconds()
    scope = AccessScope(numbers=("1002",), mask="last3")
    annotator = await harness.appdb.tokens.add("Carol", "annotator", now_us=now_us, scope=scope)
    async with harness.client(annotator) as carol:
        (row,) = await rows_of(carol)
        assert CALLER not in row
        assert CALLER[:-3] in row
        assert await act(carol, "claim", second) == 404
        assert await act(carol, "done", first, second) == 404
        assert await act(carol, "claim") == 400
        assert await act(carol, "claim", *(f"2.{n}" for n in range(201))) == 400
        assert await act(carol, "claim", first) == 303
    reader = await harness.appdb.tokens.add("Dave", "reader", now_us=now_us)
    async with harness.client(reader) as dave:
        assert len(await rows_of(dave)) == 2
        assert 'value="claim"' not in await (await dave.get("/missed")).text()
        assert await act(dave, "claim", first) == 403
    async with harness.client("") as anonymous:
        assert (await anonymous.get("/missed")).status == 401


async def test_missed_inbox_callers_who_are_shown_alike_are_apart(harness: ConsoleHarness) -> None:
    """By last three digits that are masked: who is done with one of them is not done with the other."""
    alike = CALLER[:-3] + "123"
    first, repeated, other = [
        await add_missed(harness, minutes, caller) for minutes, caller in ((50, CALLER), (40, CALLER), (30, alike))
    ]
    now_us, scope = harness.clock.microseconds(), AccessScope(mask="last3")
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=now_us, scope=scope)
    async with harness.client(token) as carol:
        rows = await rows_of(carol)
        assert [CALLER[:-3] + "***" in row for row in rows] == [True, True]
        assert await act(carol, "done", first, repeated) == 303
        (entry,) = (await (await carol.get("/api/v1/missed-calls")).json())["data"]
        assert [call["call_id"] for call in entry["calls"]] == [other]


async def test_missed_inbox_is_worked_through_by_keyboard(harness: ConsoleHarness, chromium_path: str) -> None:
    """A call that was missed meanwhile appears without a click."""
    await add_missed(harness, 50, CALLER)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls")
        await page.keyboard.press("g")
        await page.keyboard.press("m")
        await expect(page).to_have_url(f"{harness.url}/missed")
        await page.get_by_role("button", name="Claim").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#missed tbody tr")).to_contain_text("Claimed by")
        await page.get_by_role("button", name="Done").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("None in this period.")).to_be_visible()
        await add_missed(harness, 1, OTHER)
        await expect(page.locator("#missed tbody tr")).to_contain_text(OTHER)


async def test_missed_inbox_invalid_period_has_its_form(client: aiohttp.ClientSession) -> None:
    """Also other filters, which have names that people know."""
    query = "since=soon&did_number=4930&show=done"
    answer = await client.get(f"/missed?{query}", headers={"Accept": "text/html"})
    text = await answer.text()
    assert (answer.status, 'id="error-since"' in text) == (400, True)
    for name, value in (("since", "soon"), ("did_number", "4930"), ("show", "done")):
        assert re.search(rf'name="{name}"[^>]* value="{value}"', text), name
    assert '<label>DID number<input name="did_number"' in text
    assert "did_number</" not in text


async def test_missed_inbox_claim_of_another_user_is_explained_on_the_list(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    call_id = await add_missed(harness, 50, CALLER)
    await harness.appdb.missed_call_work.claim([(SN, call_id)], "Ann", now_us=harness.clock.microseconds())
    form = {"call": f"{SN}\n{call_id}", "action": "claim"}
    answer = await client.post("/missed?since=1d", data=form)
    text = await answer.text()
    assert (answer.status, 'role="alert"' in text, "Ann has claimed" in text) == (400, True, True)
    assert ('action="/missed?since=1d"' in text, "Claimed by Ann" in text) == (True, True)
    done = await client.post("/missed?since=1d", data=form | {"action": "done"}, allow_redirects=False)
    assert (done.status, done.headers["Location"]) == (303, "/missed?since=1d")


async def test_missed_inbox_says_that_it_is_cut_and_has_all_claims_of_a_user(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_inbox, "LISTED_MAX", 2)
    user = "admin"
    oldest = await add_missed(harness, 50, CALLER)
    for minutes in (30, 20):
        await add_missed(harness, minutes, f"{OTHER}{minutes}")
    page = await (await client.get("/missed")).text()
    assert ("are listed" in page, page.count("<tr data-key")) == (True, 2)
    inbox = await (await client.get("/api/v1/missed-calls?since=45m")).json()
    assert inbox["is_cut"], "as many as are listed: there may be more"
    await harness.appdb.missed_call_work.claim([(SN, oldest)], user, now_us=harness.clock.microseconds())
    principal = (await (await client.get("/api/v1/missed-calls?show=mine")).json())["data"]
    assert [[call["call_id"] for call in entry["calls"]] for entry in principal] == [[oldest]]
    page = await (await client.get("/missed?show=mine")).text()
    assert ("are listed" in page, page.count("<tr data-key")) == (False, 1)
    assert (await (await client.get("/api/v1/missed-calls?show=mine&since=45m")).json())["data"] == []
    assert (await (await client.get("/api/v1/missed-calls?show=mine&number=1&since=1d")).json())["data"] == []
    second = await add_missed(harness, 45, f"{OTHER}45")
    await harness.appdb.missed_call_work.claim([(SN, second)], user, now_us=harness.clock.microseconds())
    assert (await (await client.get("/api/v1/missed-calls?show=mine")).json())["is_cut"], "claims are cut as well"


@pytest.mark.slow
async def test_missed_inbox_counts_are_as_new_as_its_rows(harness: ConsoleHarness, chromium_path: str) -> None:
    """Of an open page; what has not changed is not replaced."""
    await add_missed(harness, 50, CALLER)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/missed")
        await expect(page.get_by_text("1 inbound calls were missed")).to_be_visible()
        await page.evaluate("document.querySelector('#missed thead').isSame = true")
        await add_missed(harness, 1, OTHER)
        await expect(page.locator("#missed tbody tr")).to_have_count(2)
        await expect(page.get_by_text("2 inbound calls were missed")).to_be_visible()
        assert await page.evaluate("document.querySelector('#missed thead').isSame")


async def change(client: aiohttp.ClientSession, action: str, *call_ids: str, **members: object) -> tuple[int, object]:
    """Return status and body of a change by the API."""
    calls = [{"sn": SN, "call_id": call_id} for call_id in call_ids]
    async with client.post("/api/v1/missed-calls", json={"calls": calls, "action": action, **members}) as answer:
        return answer.status, await answer.json()


async def states(client: aiohttp.ClientSession, query: str = "") -> list[tuple[str, int]]:
    """Return state and number of calls of each entry."""
    inbox = await (await client.get(f"/api/v1/missed-calls{query}")).json()
    assert inbox["missed"] == inbox["returned"] + inbox["unreturned"] + inbox["anonymous"]
    return [(entry["state"], len(entry["calls"])) for entry in inbox["data"]]


async def test_missed_inbox_is_worked_through_by_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Claimed by the name of the token, done, reopened, released; what was returned says by which call."""
    older, newer = [await add_missed(harness, minutes, CALLER) for minutes in (50, 40)]
    other = await add_missed(harness, 30, OTHER)
    assert await states(client) == [("open", 1), ("open", 2)]
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=harness.clock.microseconds())
    async with harness.client(token) as carol:
        assert await change(carol, "claim", older, newer) == (200, {"calls": 2})
        assert await states(carol, "?show=mine") == [("claimed", 2)]
        assert (await change(client, "claim", older))[0] == 400
        assert (await change(carol, "done", other, "1.1"))[0] == 404
        assert await change(carol, "done", older, newer, older) == (200, {"calls": 2})
    (entry,) = (await (await client.get("/api/v1/missed-calls?show=done")).json())["data"]
    assert (entry["state"], entry["done_by"], entry["calls"][0]["call_from"]) == ("done", "Carol", CALLER)
    assert 40 * 60 <= entry["seconds"] < 41 * 60
    assert (await change(client, "reopen", older, newer))[0] == 200
    assert (await change(client, "release", older, newer))[0] == 200
    assert await states(client) == [("open", 1), ("open", 2)]
    await add_call_back(harness, 20, CALLER)
    (entry,) = (await (await client.get("/api/v1/missed-calls?show=done")).json())["data"]
    assert (entry["state"], entry["returned_by"], entry["returned_call"]["sn"]) == ("returned", "Alice<1001>", SN)


async def test_missed_inbox_api_checks_reminders_and_roles(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    first = await add_missed(harness, 50, CALLER)
    now = harness.clock.now()
    soon = (now + timedelta(hours=1)).isoformat()
    assert (await change(client, "remind", first, remind_at=soon))[0] == 200
    (entry,) = (await (await client.get("/api/v1/missed-calls")).json())["data"]
    assert (entry["remind_at"][:13], entry["is_due"], entry["state"]) == (soon[:13], False, "claimed")
    for wrong in (None, (now - timedelta(hours=1)).isoformat(), (now + timedelta(days=91)).isoformat()):
        assert (await change(client, "remind", first, remind_at=wrong))[0] == 400
    assert (await change(client, "burn", first))[0] == 400
    assert (await change(client, "claim"))[0] == 400
    now_us = harness.clock.microseconds()
    scope = AccessScope(numbers=("1003",))
    for name, role, limit, status in (("Dave", "reader", None, 403), ("Eve", "annotator", scope, 404)):
        token = await harness.appdb.tokens.add(name, role, now_us=now_us, scope=limit)
        async with harness.client(token) as user:
            assert (await change(user, "done", first))[0] == status
            assert len(await states(user)) == (0 if limit else 1)


async def remind_in_the_past(harness: ConsoleHarness, call_id: str, user: str, minutes: int = 1) -> None:
    past_us = to_microseconds(harness.clock.now() - timedelta(minutes=minutes))
    work = harness.appdb.missed_call_work
    await work.remind([(SN, call_id)], user, remind_at_us=past_us, now_us=harness.clock.microseconds())


async def test_reminders_are_those_of_the_user_until_returned(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """In scope, masked for who sees masked numbers, and with the time of the next one."""
    first, second = await add_missed(harness, 50, CALLER), await add_missed(harness, 40, OTHER)
    now_us = harness.clock.microseconds()
    scope = AccessScope(mask="last3")
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=now_us, scope=scope)
    await remind_in_the_past(harness, first, "Carol")
    async with harness.client(token) as carol:
        assert await act(carol, "remind", second, remind="15") == 303
        reminders = await (await carol.get("/reminders")).json()
        ((reminder,), seconds) = reminders["data"], reminders["seconds"]
        assert (CALLER in reminder["text"], CALLER[:-3] in reminder["text"]) == (False, True)
        assert reminder["href"].startswith(f"/calls/{SN}/")
        assert 0 < seconds <= 15 * 60
        nothing: dict[str, object] = {"data": [], "seconds": None}
        assert await (await client.get("/reminders")).json() == nothing
        await add_call_back(harness, 30, CALLER)
        assert (await (await carol.get("/reminders")).json())["data"] == []
        await remind_in_the_past(harness, second, "Carol")
        assert len((await (await carol.get("/reminders")).json())["data"]) == 1
        assert await act(carol, "done", second) == 303
        assert await (await carol.get("/reminders")).json() == nothing


async def test_reminders_of_returned_calls_hide_no_later_one(
    harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay stored: a user with more of them than are looked at has the latest. One of long ago is looked at no
    longer.
    """
    monkeypatch.setattr(missed_inbox, "REMINDERS_MAX", 1)
    returned, open_call = await add_missed(harness, 50, CALLER), await add_missed(harness, 40, OTHER)
    await add_call_back(harness, 30, CALLER)
    token = await harness.appdb.tokens.add("Carol", "annotator", now_us=harness.clock.microseconds())
    await remind_in_the_past(harness, returned, "Carol", minutes=5)
    await remind_in_the_past(harness, open_call, "Carol", minutes=2)
    async with harness.client(token) as carol:
        ((reminder,), _seconds) = (await (await carol.get("/reminders")).json()).values()
        assert OTHER in reminder["text"]
        await remind_in_the_past(harness, open_call, "Carol", minutes=60 * 24 * missed_inbox.DUE_DAYS_MAX + 1)
        await remind_in_the_past(harness, returned, "Carol", minutes=60 * 24 * missed_inbox.DUE_DAYS_MAX + 1)
        assert (await (await carol.get("/reminders")).json())["data"] == []


async def test_reminders_of_an_open_console_are_of_no_user(tmp_path: Path) -> None:
    """Also where a user has the name that stands for it."""
    async with open_console_harness(tmp_path, console_open=True) as harness, harness.client("") as anonymous:
        await remind_in_the_past(harness, await add_missed(harness, 50, CALLER), "open console")
        assert await (await anonymous.get("/reminders")).json() == {"data": [], "seconds": None}


@pytest.mark.slow
async def test_reminder_that_becomes_due_appears_on_an_open_page(harness: ConsoleHarness, chromium_path: str) -> None:
    """On any page, for its user alone, and it leaves when the call is done."""
    first = await add_missed(harness, 50, CALLER)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/about")
        reminders = page.locator("#reminders")
        await expect(reminders).to_be_hidden()
        await page.goto(f"{harness.url}/missed")
        await page.get_by_role("button", name="Remind me").click()
        await expect(page.locator("#missed tbody tr")).to_contain_text("reminder")
        (claim,) = (await harness.appdb.missed_call_work.find([(SN, first)])).values()
        due_us = to_microseconds(harness.clock.now() + timedelta(seconds=8))
        await harness.appdb.missed_call_work.remind(
            [(SN, first)], claim.claimed_by, remind_at_us=due_us, now_us=harness.clock.microseconds()
        )
        await page.goto(f"{harness.url}/calls")
        await expect(reminders).to_be_hidden()
        await expect(reminders).to_contain_text(CALLER, timeout=60_000)
        await page.screenshot(path=OUTPUT / "reminder.png")
        await reminders.get_by_role("link", name=CALLER).click()
        await expect(page).to_have_url(re.compile(f"/calls/{SN}/"))
