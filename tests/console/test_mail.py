"""The page and the API of the mail server and the mails."""

import html

import aiohttp

from onhook.appdb.mails import MailContent, NewMail
from tests.console.conftest import ConsoleHarness
from tests.mail_server import MailServer

PASSWORD = "correct horse"
FORM = {"host": "127.0.0.1", "tls": "off", "sender": "Onhook <calls@example.com>", "allow_private": "yes"}
PATHS = ("/mail", "/api/v1/mail-settings", "/api/v1/mails")


async def post(client: aiohttp.ClientSession, path: str, form: dict[str, str]) -> str:
    async with client.post(path, data=form) as response:
        assert response.status == 200
        return html.unescape(await response.text())


async def test_mail_page_sets_tests_and_removes_the_server(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    async with MailServer(users={"onhook": PASSWORD}).listen() as server:
        form = FORM | {"port": str(server.port), "user": "onhook"}
        page = await post(client, "/mail", form | {"password": PASSWORD, "console_url": "https://calls.example.com"})
        assert "Mail server saved." in page
        assert PASSWORD not in page
        page = await post(client, "/mail/test", {"recipients": "ann@example.com"})
        assert "Test mail accepted. The server said: 2.0.0 queued" in page
        assert (server.mails[0].user, server.mails[0].recipients) == ("onhook", ["ann@example.com"])
        assert "Mail server saved." in await post(client, "/mail", form)
        assert await harness.appdb.mail_settings.get_password() == PASSWORD
        await post(client, "/mail", form | {"password": "another one"})
        page = await post(client, "/mail/test", {"recipients": ""})
        assert "Test mail not sent" in page
        assert "refuses the login of onhook: 535" in page
        assert "another one" not in page
    assert "is not an e-mail address" in await post(client, "/mail/test", {"recipients": "ann"})
    assert "Nothing is sent." in await post(client, "/mail/remove", {})
    assert "No mail server is set" in await post(client, "/mail/test", {})


async def test_mail_page_invalid_settings_are_kept_and_explained_and_a_password_is_not(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    for changes, message in (
        ({"port": "x"}, "'x' is not a port"),
        ({"tls": "maybe"}, "choose a kind of TLS"),
        ({"mails_per_hour": "many"}, "is not a number of mails"),
        ({"allow_private": ""}, "is not a public address"),
        ({"host": "169.254.169.254"}, "is not a public address"),
        ({"sender": ""}, "is not an e-mail address"),
    ):
        page = await post(client, "/mail", FORM | {"user": "kept-user", "password": PASSWORD} | changes)
        assert message.lower() in page.lower()
        assert 'value="kept-user"' in page
        assert PASSWORD not in page
    assert await harness.appdb.mail_settings.get() is None


async def test_mail_page_shows_pending_mails_and_has_them_tried_or_discarded(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    now_us = harness.clock.microseconds()
    for key in ("first", "second"):
        mail = NewMail(
            mail_key=key, kind="issues", recipient="a@example.com", subject=key, content=MailContent(text="secret text")
        )
        await harness.appdb.mails.add(mail, now_us=now_us)
    await harness.appdb.mails.claim(1, "example.com", due_us=now_us + 10**9)
    await harness.appdb.mails.defer(1, "451 try <later>")
    async with client.get("/mail") as response:
        text = await response.text()
    assert "2 mails are pending." in text
    assert "451 try &lt;later&gt;" in text
    assert "secret text" not in text
    assert "tried within seconds" in await post(client, "/mail/1/retry", {})
    assert await harness.appdb.mails.due(9, now_us=harness.clock.microseconds()) == [(2, 0), (1, 1)]
    assert "Mail discarded." in await post(client, "/mail/2/discard", {})
    assert "1 mail is pending." in await post(client, "/mail/remove", {})
    async with client.post("/api/v1/mails/1/discard") as response:
        assert (await response.json())["state"] == "discarded"
    async with client.post("/api/v1/mails/1/retry") as response:
        assert response.status == 404
    async with client.get("/api/v1/mails") as response:
        assert [mail["state"] for mail in (await response.json())["data"]] == ["discarded", "discarded"]


async def test_mail_api_sets_shows_and_removes_the_server_without_the_password(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    settings = {"host": "127.0.0.1", "user": "onhook", "sender": "a@example.com", "allow_private": True}
    async with client.get("/api/v1/mail-settings") as response:
        assert response.status == 404
    async with client.put("/api/v1/mail-settings", json=settings) as response:
        assert response.status == 400
    async with client.put("/api/v1/mail-settings", json=settings | {"password": PASSWORD}) as response:
        document = await response.json()
    assert (document["port"], document["tls"], "password" in document) == (587, "starttls", False)
    async with client.get("/api/v1/mail-settings") as response:
        assert await response.json() == document
    async with MailServer().listen() as server:
        plain = {"host": "127.0.0.1", "port": server.port, "tls": "off", "sender": "a@example.com"}
        async with client.put("/api/v1/mail-settings", json=plain | {"allow_private": True}) as response:
            assert response.status == 200
        async with client.post("/api/v1/mail-settings/test", json={"recipients": "b@example.com"}) as response:
            assert await response.json() == {"outcome": "sent", "detail": "2.0.0 queued"}
    async with client.post("/api/v1/mail-settings/test", json={}) as response:
        assert (await response.json())["outcome"] == "unreachable"
    async with client.delete("/api/v1/mail-settings") as response:
        assert response.status == 204
    assert await harness.appdb.mail_settings.get() is None


async def test_mail_page_and_api_are_for_administrators(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "annotator", now_us=harness.clock.microseconds())
    async with harness.client(reader) as client:
        for path in PATHS:
            assert (await client.get(path)).status == 403
        for path in ("/mail", "/mail/test", "/mail/remove", "/mail/1/retry", "/mail/1/discard"):
            assert (await client.post(path, data={})).status == 403
        assert (await client.post("/api/v1/mail-settings/test", json={})).status == 403


async def test_mail_page_and_api_change_the_recipients_of_mails_about_issues(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    page = await post(client, "/mail/recipients", {"address": "ops@example.com", "check": "yes", "alarm": "yes"})
    assert "ops@example.com gets mails about issues." in page
    async with client.get("/api/v1/mail-recipients") as response:
        (recipient,) = (await response.json())["data"]
    assert recipient == {"address": "ops@example.com", "topics": ["alarm", "check"], "mails_per_hour": 6}
    for changes, message in (
        ({"address": "ops"}, "is not an e-mail address"),
        ({"check": ""}, "choose of what to notify"),
        ({"mails_per_hour": "x"}, "is not a number of mails"),
        ({"mails_per_hour": "61"}, "the mails of an hour are 1 to 60"),
    ):
        page = await post(client, "/mail/recipients", {"address": "a@example.com", "check": "yes"} | changes)
        assert message.lower() in page.lower()
        assert "a@example.com" in page or "address" in changes
    async with client.put("/api/v1/mail-recipients", json={"address": "a@example.com"}) as response:
        assert (await response.json())["topics"] == ["destination", "alarm", "rejected", "check"]
    assert "gets no further mails" in await post(client, "/mail/recipients/remove", {"address": "ops@example.com"})
    async with client.delete("/api/v1/mail-recipients/a@example.com") as response:
        assert response.status == 204
    async with client.delete("/api/v1/mail-recipients/a@example.com") as response:
        assert response.status == 404
    assert await harness.appdb.issue_recipients.all() == []
