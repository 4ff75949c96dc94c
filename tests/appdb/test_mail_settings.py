"""The mail server of the installation: storage, its password, and limits."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.mail_settings import MailSettings, parse_port, validate_mail_settings
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SETTINGS = MailSettings(host="mail.example.com", user="onhook", sender="Onhook <calls@example.com>")
PASSWORD = "correct horse"


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    yield opened_appdb
    await opened_appdb.close()


async def test_mail_settings_are_stored_with_the_usual_port_and_removed(appdb: AppDb) -> None:
    assert await appdb.mail_settings.get() is None
    with pytest.raises(NotFound):
        await appdb.mail_settings.require()
    stored = await appdb.mail_settings.put(SETTINGS, PASSWORD)
    assert stored == msgspec.structs.replace(SETTINGS, port=587)
    assert await appdb.mail_settings.require_with_password() == (stored, PASSWORD)
    other = await appdb.mail_settings.put(MailSettings(host="::1", tls="off", sender="a@example.com"))
    assert (other.port, await appdb.mail_settings.get_password()) == (25, "")
    await appdb.mail_settings.remove()
    assert await appdb.mail_settings.get() is None


async def test_mail_settings_password_stays_with_its_server_and_is_in_no_log(appdb: AppDb) -> None:
    stored = await appdb.mail_settings.put(SETTINGS, PASSWORD)
    await appdb.mail_settings.put(msgspec.structs.replace(stored, sender="other@example.com"))
    assert await appdb.mail_settings.get_password() == PASSWORD
    for changes in ({"host": "mail.example.org"}, {"port": 25}, {"user": "other"}, {"tls": "off"}):
        with pytest.raises(UsageError, match="password"):
            await appdb.mail_settings.put(msgspec.structs.replace(stored, **changes))
    assert (await appdb.mail_settings.require()).host == "mail.example.com"
    entries = await appdb.audit.latest(10)
    assert [entry.action.startswith(("add", "remove")) for entry in entries] == [True, True]
    assert "mail server mail.example.com" in entries[0].action
    assert PASSWORD not in repr(entries)
    assert PASSWORD in await appdb.secret_texts()


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"host": ""}, "host"),
        ({"host": "two words"}, "host"),
        ({"host": "0x7f.1"}, "host"),
        ({"port": 65_536}, "port"),
        ({"port": -1}, "port"),
        ({"user": "a\nb"}, "user"),
        ({"user": "u" * 501}, "user"),
        ({"sender": "calls"}, "sender"),
        ({"sender": "a@example.com\r\nBcc: b@example.com"}, "sender"),
        ({"ca_certificates": "none"}, "ca_certificates"),
        ({"ca_certificates": "x" * 50_001}, "ca_certificates"),
        ({"console_url": "calls.example.com"}, "console_url"),
        ({"console_url": "https://calls.example.com/path"}, "console_url"),
        ({"console_url": "https://u:p@calls.example.com"}, "console_url"),
        ({"console_url": "https://[::1"}, "console_url"),
        ({"mails_per_hour": 0}, "mails_per_hour"),
        ({"mails_per_hour": 10_001}, "mails_per_hour"),
    ],
)
async def test_mail_settings_that_are_invalid_are_refused_at_their_place(
    changes: dict[str, object], location: str
) -> None:
    with pytest.raises(UsageError) as error_info:
        validate_mail_settings(msgspec.structs.replace(SETTINGS, **changes))
    assert error_info.value.location == location


async def test_mail_settings_texts_are_trimmed() -> None:
    settings = validate_mail_settings(
        MailSettings(host=" Mail.example.com ", tls="tls", sender=" a@example.com", console_url="https://a.example:8/ ")
    )
    assert (settings.host, settings.port, settings.console_url) == ("Mail.example.com", 465, "https://a.example:8")
    assert (parse_port(" "), parse_port(" 25 ")) == (0, 25)
    with pytest.raises(UsageError):
        parse_port("x")


async def test_mail_settings_password_that_is_invalid_is_refused(appdb: AppDb) -> None:
    for password in ("", "a\nb", "p" * 501):
        with pytest.raises(UsageError) as error_info:
            await appdb.mail_settings.put(SETTINGS, password)
        assert error_info.value.location == "password"
        assert not password or password not in str(error_info.value)
    assert await appdb.mail_settings.get() is None
