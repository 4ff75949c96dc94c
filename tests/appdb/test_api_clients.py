"""Apps: credentials, permissions, blocked addresses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb import api_clients
from onhook.appdb.api_behaviour import ApiBehaviour, parse_behaviour, validate_behaviour
from onhook.appdb.api_clients import APPS_MAX, BLOCKED_MICROSECONDS, BLOCKED_OF_ADDRESS_MAX, NETWORKS_MAX
from onhook.appdb.appdb import AppDb
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

AT = 1_782_844_637_000_000


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as opened:
        yield opened


@pytest.mark.usefixtures("sqlite_file")
async def test_app_credentials_are_shown_once(appdb: AppDb, tmp_path: Path) -> None:
    """32 letters and digits each; the secret is stored as a hash, and no listing shows it."""
    app, secret = await appdb.apps.add("crm", now_us=AT)
    assert len(app.client_id) == len(secret) == 32
    assert (app.client_id + secret).isalnum()
    assert await appdb.apps.find_by_credentials(app.client_id, secret) == app
    assert await appdb.apps.find_by_credentials(app.client_id, "wrong") is None
    assert await appdb.apps.find_by_credentials("unknown", secret) is None
    assert secret not in repr(await appdb.apps.all())
    await appdb.close()
    assert secret.encode() not in (tmp_path / "onhook.db").read_bytes()


async def test_app_settings_are_stored(appdb: AppDb) -> None:
    """PBXs, networks in canonical form, and the behaviour; found by name, in any case, and by client id."""
    behaviour = parse_behaviour(date_format="dd/mm/yyyy", time_format="12", time_forms="display, no-rows-for-seconds")
    app, _ = await appdb.apps.add(
        "CRM", now_us=AT, pbxs=["A", "B", "A"], networks=["192.0.2.7", "10.1.2.3/8"], behaviour=behaviour
    )
    assert app.pbxs == ("A", "B")
    assert app.networks == ("192.0.2.7/32", "10.0.0.0/8")
    assert app.behaviour == ApiBehaviour(
        date_format="DD/MM/YYYY", time_format="12", time_forms=("display", "no-rows-for-seconds")
    )
    assert await appdb.apps.get("crm") == await appdb.apps.get(app.client_id) == app
    assert [app.allows_address(address) for address in ("10.9.9.9", "192.0.2.8", "::1", "x")] == [True] + [False] * 3


async def test_app_renewed_secret_replaces_the_old_one(appdb: AppDb) -> None:
    """The client id stays."""
    app, old = await appdb.apps.add("crm", now_us=AT)
    renewed, new = await appdb.apps.renew_secret("crm")
    assert renewed.client_id == app.client_id
    assert await appdb.apps.find_by_credentials(app.client_id, old) is None
    assert await appdb.apps.find_by_credentials(app.client_id, new) is not None


async def test_app_removed_is_not_found(appdb: AppDb) -> None:
    """By its name, its client id and its credentials."""
    app, secret = await appdb.apps.add("crm", now_us=AT)
    await appdb.apps.remove("crm")
    assert await appdb.apps.find_by_credentials(app.client_id, secret) is None
    with pytest.raises(NotFound, match="there is no app 'crm'"):
        await appdb.apps.get("crm")


async def test_app_last_use_is_stored_to_the_minute(appdb: AppDb) -> None:
    app, _ = await appdb.apps.add("crm", now_us=AT)
    await appdb.apps.record_use(app, AT)
    version = await appdb.version()
    await appdb.apps.record_use(await appdb.apps.get("crm"), AT + 59_000_000)
    assert await appdb.version() == version
    await appdb.apps.record_use(await appdb.apps.get("crm"), AT + 61_000_000)
    last_used = (await appdb.apps.get("crm")).last_used_at
    assert last_used is not None
    assert round(last_used.timestamp() * 1_000_000) == AT + 61_000_000


async def test_blocked_address_is_unblocked_after_an_hour_or_by_hand(appdb: AppDb) -> None:
    for address in ("192.0.2.7", "192.0.2.8"):
        await appdb.apps.block(address, "crm", AT)
    assert [blocked_address.address for blocked_address in await appdb.apps.blocked_addresses(AT)] == [
        "192.0.2.7",
        "192.0.2.8",
    ]
    assert await appdb.apps.is_blocked("192.0.2.7", "crm", AT + BLOCKED_MICROSECONDS - 1)
    assert not await appdb.apps.is_blocked("192.0.2.7", "crm", AT + BLOCKED_MICROSECONDS)
    assert not await appdb.apps.is_blocked("192.0.2.7", "erp", AT)
    assert await appdb.apps.unblock("192.0.2.7") == 1
    assert await appdb.apps.unblock("192.0.2.7") == 0
    assert not await appdb.apps.is_blocked("192.0.2.7", "crm", AT)
    assert await appdb.apps.unblock() == 1


async def test_blocked_address_with_many_client_ids_is_blocked_for_all(appdb: AppDb) -> None:
    """An outsider who invents client ids causes no further writes."""
    for number in range(BLOCKED_OF_ADDRESS_MAX):
        assert not await appdb.apps.is_blocked("192.0.2.7", "crm", AT)
        await appdb.apps.block("192.0.2.7", f"invented {number}", AT)
    assert await appdb.apps.is_blocked("192.0.2.7", "crm", AT)
    assert not await appdb.apps.is_blocked("192.0.2.8", "crm", AT)


async def test_blocked_addresses_over_the_limit_unblock_the_oldest(
    appdb: AppDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 20
    monkeypatch.setattr(api_clients, "BLOCKED_MAX", limit)
    for number in range(limit + 2):
        await appdb.apps.block(f"192.0.2.{number}", "crm", AT + number)
    blocked = await appdb.apps.blocked_addresses(AT + limit)
    assert len(blocked) == limit
    assert not await appdb.apps.is_blocked("192.0.2.0", "crm", AT)


async def test_app_invalid_settings_are_rejected(appdb: AppDb) -> None:
    """With one sentence; nothing is stored."""
    await appdb.apps.add("crm", now_us=AT)
    with pytest.raises(UsageError, match="there is already an app 'CRM'"):
        await appdb.apps.add("CRM", now_us=AT)
    with pytest.raises(UsageError, match="'office' is not an address"):
        await appdb.apps.add("other", now_us=AT, networks=["office"])
    with pytest.raises(UsageError, match="more than 50 addresses"):
        await appdb.apps.add("other", now_us=AT, networks=["::1"] * (NETWORKS_MAX + 1))
    with pytest.raises(UsageError, match="is not a valid name"):
        await appdb.apps.add("\n", now_us=AT)
    assert len(await appdb.apps.all()) == 1


async def test_app_over_the_limit_is_rejected(appdb: AppDb) -> None:
    for number in range(APPS_MAX):
        await appdb.apps.add(f"app {number}", now_us=AT)
    with pytest.raises(UsageError, match="already 200 apps"):
        await appdb.apps.add("one more", now_us=AT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("date_format", "YY/MM/DD"),
        ("time_format", "25"),
        ("time_forms", "seconds,minutes"),
        ("time_forms", ""),
        ("versions", "v3.0"),
        ("firmware", ""),
        ("model", "x" * 41),
        ("payload_format", "p-1999"),
    ],
)
def test_behaviour_unknown_value_is_rejected(name: str, text: str) -> None:
    """The error names it and the choices."""
    with pytest.raises(UsageError, match=name):
        parse_behaviour(**{name: text})


@pytest.mark.parametrize(
    "behaviour", [ApiBehaviour(firmware="\n"), ApiBehaviour(time_forms=()), ApiBehaviour(versions=())]
)
def test_behaviour_set_by_a_program_is_validated_too(behaviour: ApiBehaviour) -> None:
    """What the types do not express."""
    with pytest.raises(UsageError):
        validate_behaviour(behaviour)
