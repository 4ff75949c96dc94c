"""Credentials of PBX APIs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import PbxCredentials, parse_pbx_credentials
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "3631A2124ABC"
API = parse_pbx_credentials("https://pbx.office.example:8088", "our-client", "our-client-secret")


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn=SN, secret=None, credentials=API, now_us=1)
    yield appdb
    await appdb.close()


async def test_pbx_credentials_are_stored_pinned_and_removed_with_the_pbx(appdb: AppDb) -> None:
    assert await appdb.pbx_credentials.require(SN, "Office") == API
    await appdb.pbx_credentials.pin(SN, "AB:" * 31 + "CD")
    assert (await appdb.pbx_credentials.all())[SN].fingerprint == "ab" * 31 + "cd"
    await appdb.remove_pbx("Office")
    assert await appdb.pbx_credentials.all() == {}
    with pytest.raises(NotFound, match="--client-id"):
        await appdb.pbx_credentials.require(SN, "Office")


async def test_pbx_tokens_are_kept_until_the_credentials_change(appdb: AppDb) -> None:
    """A change by a person is tried at once."""
    await appdb.pbx_credentials.save_tokens(SN, API, '{"halt_reason":"","current":1}')
    await appdb.pbx_credentials.put(SN, API)
    assert await appdb.pbx_credentials.tokens(SN, API) == '{"halt_reason":"","current":1}', "nothing is different"
    await appdb.pbx_credentials.save_tokens(SN, API, '{"halt_reason":"blocked"}')
    await appdb.pbx_credentials.put(SN, API)
    assert await appdb.pbx_credentials.tokens(SN, API) == "", "a person has acted"
    other = parse_pbx_credentials("https://pbx.office.example:8089", "our-client", "our-client-secret")
    await appdb.pbx_credentials.save_tokens(SN, API, '{"halt_reason":"","current":1}')
    await appdb.pbx_credentials.put(SN, other)
    await appdb.pbx_credentials.save_tokens(SN, API, '{"halt_reason":"","current":2}')
    assert await appdb.pbx_credentials.tokens(SN, API) is None
    assert await appdb.pbx_credentials.tokens(SN, other) == ""


@pytest.mark.parametrize(
    ("url", "stored_url"),
    [
        ("https://192.0.2.7:8088/", "https://192.0.2.7:8088"),
        ("https://office.example", "https://office.example:443"),
        ("http://127.0.0.1:8088", "http://127.0.0.1:8088"),
        ("https://[2001:db8::7]:8088", "https://[2001:db8::7]:8088"),
    ],
)
def test_pbx_credentials_address_is_stored_with_its_port(url: str, stored_url: str) -> None:
    """Plain HTTP only to this machine."""
    assert parse_pbx_credentials(url, "a", "b").url == stored_url


@pytest.mark.parametrize("url", ["", "ftp://a", "https://", "https://a/openapi", "http://192.0.2.7", "https://a:99999"])
def test_pbx_credentials_invalid_address_is_rejected(url: str) -> None:
    with pytest.raises(UsageError):
        parse_pbx_credentials(url, "a", "b")


def test_pbx_credentials_repr_shows_no_secret() -> None:
    assert "our-client-secret" not in repr(API)
    assert isinstance(API, PbxCredentials)
