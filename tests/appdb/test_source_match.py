"""Sources of PBXs that cannot sign."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.appdb.source_match import ADDRESSES_MAX, SourceMatch, parse_source_match
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

PATH = "/3kFz0qLrB7xN9sVe"


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    appdb = AppDb(tmp_path / "onhook.db")
    yield appdb
    await appdb.close()


async def add(appdb: AppDb, place: SourceMatch, *, secret: str | None = None) -> None:
    await appdb.add_pbx(
        name="Old office", sn="369451090405", secret=secret, dialect="newcdr", source_match=place, now_us=1
    )


async def test_source_match_is_stored_changed_and_removed_with_the_pbx(appdb: AppDb) -> None:
    """The receiver reads it with the credentials."""
    await add(appdb, parse_source_match(["192.0.2.7", "198.51.100.0/24"], PATH))
    (credentials,) = await appdb.webhook_credentials()
    assert credentials.source_match == await appdb.source_matches.get("369451090405")
    assert credentials.source_match == SourceMatch(("192.0.2.7", "198.51.100.0/24"), PATH)
    await appdb.source_matches.put("369451090405", SourceMatch(("192.0.2.8",)))
    assert await appdb.source_matches.all() == {"369451090405": SourceMatch(("192.0.2.8",))}
    await appdb.source_matches.put("369451090405", SourceMatch())
    assert not await appdb.source_matches.get("369451090405")
    await appdb.source_matches.put("369451090405", SourceMatch(("192.0.2.8",)))
    await appdb.remove_pbx("Old office")
    assert await appdb.source_matches.all() == {}


async def test_source_match_is_required_for_an_unsigned_dialect(appdb: AppDb) -> None:
    """Without one any sender could report; a secret would have no effect."""
    with pytest.raises(UsageError, match="its source must identify it"):
        await add(appdb, SourceMatch())
    with pytest.raises(UsageError, match="a PBX of the dialect newcdr cannot sign"):
        await add(appdb, SourceMatch(("192.0.2.7",)), secret="a-secret-of-its-own")
    with pytest.raises(UsageError, match="signs its events"):
        await appdb.add_pbx(
            name="Office", sn="3631A2124ABC", secret="first-secret", source_match=SourceMatch((), PATH), now_us=1
        )


async def test_dialect_without_api_rejects_api_credentials(appdb: AppDb) -> None:
    api = parse_pbx_credentials("https://192.0.2.7:8088", "us", "our-client-secret")
    with pytest.raises(UsageError, match="is not supported"):
        await appdb.add_pbx(name="Old", sn="1", secret=None, dialect="newcdr", credentials=api, now_us=1)


@pytest.mark.parametrize(
    ("addresses", "path"),
    [
        (["192.0.2.7/24"], None),
        (["office.example.com"], None),
        (["0.0.0.0/0"], None),
        (["192.0.2.7"] * (ADDRESSES_MAX + 1), None),
        ([], "/short"),
        ([], "3kFz0qLrB7xN9sVe3kFz"),
        ([], "/3kFz0qLrB7x?9sVe3k"),
        ([], "/" + "a" * 201),
    ],
)
def test_source_match_invalid_is_rejected(addresses: list[str], path: str | None) -> None:
    """With one sentence that does not show the path."""
    with pytest.raises(UsageError) as refused:
        parse_source_match(addresses, path)
    assert path is None or path not in str(refused.value)


def test_source_match_repr_shows_no_path() -> None:
    assert PATH not in repr(SourceMatch(("192.0.2.7",), PATH))
