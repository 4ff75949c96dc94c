"""Applications: credentials told once, rights, and addresses that are kept out."""

from pathlib import Path

import pytest

from onhook.appdb.api_behaviour import ApiBehaviour, parse_behaviour, validate_behaviour
from onhook.appdb.api_clients import APPS_MAX, BLOCKED_MAX, BLOCKED_MICROSECONDS, NETWORKS_MAX
from onhook.appdb.appdb import AppDb
from onhook.lib.errors import NotFound, UsageError

AT = 1_782_844_637_000_000


@pytest.fixture
def settings(tmp_path: Path) -> AppDb:
    return AppDb(tmp_path / "onhook.db")


def test_credentials_are_told_once(settings: AppDb, tmp_path: Path) -> None:
    """32 letters and digits each; what is kept is a hash, and nothing that is listed shows the secret."""
    app, secret = settings.apps.add("crm", at=AT)
    assert len(app.client_id) == len(secret) == 32
    assert (app.client_id + secret).isalnum()
    assert settings.apps.with_credentials(app.client_id, secret) == app
    assert settings.apps.with_credentials(app.client_id, "wrong") is None
    assert settings.apps.with_credentials("nobody", secret) is None
    assert secret not in repr(settings.apps.all())
    settings.close()
    assert secret.encode() not in (tmp_path / "onhook.db").read_bytes()


def test_an_application_keeps_what_it_was_given(settings: AppDb) -> None:
    """PBXs, networks in their usual form, and the manner of its PBX; found by name, in any case, and by id."""
    manner = parse_behaviour(date_format="dd/mm/yyyy", time_format="12", time_forms="display, no-rows-for-seconds")
    app, _ = settings.apps.add("CRM", at=AT, pbxs=["A", "B", "A"], networks=["192.0.2.7", "10.1.2.3/8"], manner=manner)
    assert app.pbxs == ("A", "B")
    assert app.networks == ("192.0.2.7/32", "10.0.0.0/8")
    assert app.manner == ApiBehaviour(
        date_format="DD/MM/YYYY", time_format="12", time_forms=("display", "no-rows-for-seconds")
    )
    assert settings.apps.get("crm") == settings.apps.get(app.client_id) == app
    assert [app.may_come_from(address) for address in ("10.9.9.9", "192.0.2.8", "::1", "x")] == [True] + [False] * 3


def test_a_renewed_secret_replaces_the_old_one(settings: AppDb) -> None:
    """The client id stays."""
    app, old = settings.apps.add("crm", at=AT)
    renewed, new = settings.apps.renew("crm")
    assert renewed.client_id == app.client_id
    assert settings.apps.with_credentials(app.client_id, old) is None
    assert settings.apps.with_credentials(app.client_id, new) is not None


def test_a_removed_application_is_unknown(settings: AppDb) -> None:
    """By its name, its id and its credentials."""
    app, secret = settings.apps.add("crm", at=AT)
    settings.apps.remove("crm")
    assert settings.apps.with_credentials(app.client_id, secret) is None
    with pytest.raises(NotFound, match="there is no application 'crm'"):
        settings.apps.get("crm")


def test_the_last_use_is_noted_to_the_minute(settings: AppDb) -> None:
    """Not at every request: the file would be written every time."""
    app, _ = settings.apps.add("crm", at=AT)
    settings.apps.used(app, AT)
    version = settings.version()
    settings.apps.used(settings.apps.get("crm"), AT + 59_000_000)
    assert settings.version() == version
    settings.apps.used(settings.apps.get("crm"), AT + 61_000_000)
    last_used = settings.apps.get("crm").last_used
    assert last_used is not None
    assert round(last_used.timestamp() * 1_000_000) == AT + 61_000_000


def test_an_address_is_kept_out_for_an_hour(settings: AppDb) -> None:
    """Or until somebody lets it in; one or all."""
    for address in ("192.0.2.7", "192.0.2.8"):
        settings.apps.block(address, AT)
    assert [one.address for one in settings.apps.blocked(AT)] == ["192.0.2.7", "192.0.2.8"]
    assert settings.apps.is_blocked("192.0.2.7", AT + BLOCKED_MICROSECONDS - 1)
    assert not settings.apps.is_blocked("192.0.2.7", AT + BLOCKED_MICROSECONDS)
    assert settings.apps.unblock("192.0.2.7") == 1
    assert settings.apps.unblock("192.0.2.7") == 0
    assert not settings.apps.is_blocked("192.0.2.7", AT)
    assert settings.apps.unblock() == 1


def test_only_so_many_addresses_are_kept_out(settings: AppDb) -> None:
    """The one that was there for longest comes in again."""
    for number in range(BLOCKED_MAX + 2):
        settings.apps.block(f"192.0.2.{number}", AT + number)
    blocked = settings.apps.blocked(AT + BLOCKED_MAX)
    assert len(blocked) == BLOCKED_MAX
    assert not settings.apps.is_blocked("192.0.2.0", AT)


def test_what_cannot_be_meant_is_refused(settings: AppDb) -> None:
    """With one sentence, and nothing is kept."""
    settings.apps.add("crm", at=AT)
    with pytest.raises(UsageError, match="there is an application 'CRM' already"):
        settings.apps.add("CRM", at=AT)
    with pytest.raises(UsageError, match="'office' is no address"):
        settings.apps.add("other", at=AT, networks=["office"])
    with pytest.raises(UsageError, match="more than 50 addresses"):
        settings.apps.add("other", at=AT, networks=["::1"] * (NETWORKS_MAX + 1))
    with pytest.raises(UsageError, match="cannot be a name"):
        settings.apps.add("\n", at=AT)
    assert len(settings.apps.all()) == 1


def test_a_house_has_so_many_applications(settings: AppDb) -> None:
    """And no more."""
    for number in range(APPS_MAX):
        settings.apps.add(f"app {number}", at=AT)
    with pytest.raises(UsageError, match="200 applications already"):
        settings.apps.add("one more", at=AT)


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
        ("profile", "p-1999"),
    ],
)
def test_a_manner_that_no_pbx_has_is_refused(name: str, text: str) -> None:
    """By name, with what there is."""
    with pytest.raises(UsageError, match=name):
        parse_behaviour(**{name: text})


@pytest.mark.parametrize(
    "manner", [ApiBehaviour(firmware="\n"), ApiBehaviour(time_forms=()), ApiBehaviour(versions=())]
)
def test_a_manner_of_a_program_is_checked_too(manner: ApiBehaviour) -> None:
    """What the types do not say."""
    with pytest.raises(UsageError):
        validate_behaviour(manner)
