"""PBXs, secrets and tokens, on a real file."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import SECRETS_MAX
from onhook.cdr.number_plan import parse_number_plan
from onhook.lib.errors import NotFound, OnhookError, UsageError

SN = "3631A2124ABC"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


@pytest.fixture
def settings(path: Path) -> Iterator[AppDb]:
    opened = AppDb(path)
    yield opened
    opened.close()


def _add(settings: AppDb, **changes: Any) -> None:
    settings.add_pbx(**{"name": "Office", "sn": SN, "secret": "first-secret", "at": 1, **changes})


def test_a_pbx_is_found_as_it_was_declared(settings: AppDb, path: Path) -> None:
    """By name, whatever its case, and by serial number; also after the file was closed and opened again."""
    plan = parse_number_plan({"queue": "7000-7099"})
    _add(settings, zone="Europe/Berlin", plan=plan)
    again = AppDb(path)
    pbx = again.pbx("office")
    assert pbx == again.pbx(SN) == again.pbx_of(SN)
    assert (pbx.name, pbx.zone, pbx.plan, pbx.secrets, pbx.is_unsigned) == ("Office", "Europe/Berlin", plan, 1, False)
    again.close()


WRONG: dict[str, dict[str, Any]] = {
    "no name": {"name": " "},
    "name too long": {"name": "x" * 65},
    "name with a line end": {"name": "a\nb"},
    "no serial number": {"sn": ""},
    "blank in the serial number": {"sn": "36 31"},
    "serial number too long": {"sn": "x" * 65},
    "no secret, and not said to be unsigned": {"secret": None},
    "empty secret": {"secret": ""},
    "secret too short": {"secret": "7 chars"},
    "secret too long": {"secret": "x" * 257},
    "secret with NUL": {"secret": "a\0b and more"},
    "unknown zone": {"zone": "Mars/Olympus"},
    "same name in another case": {"name": "OFFICE", "sn": "other"},
    "same serial number": {"name": "Other"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_meant_is_refused_whole(settings: AppDb, changes: dict[str, Any]) -> None:
    """A usage error, which never shows the secret, and nothing of it is kept."""
    if "same" in str(changes) or changes.get("name") in ("OFFICE", "Other"):
        _add(settings)
    before = settings.pbxs()
    with pytest.raises(UsageError) as refused:
        _add(settings, **changes)
    assert settings.pbxs() == before
    assert not changes.get("secret") or changes["secret"] not in str(refused.value)


def test_a_secret_is_changed_without_a_gap(settings: AppDb) -> None:
    """Old and new count side by side; the last one of a PBX that must sign stays; texts are in no listing."""
    _add(settings)
    second = settings.add_secret("Office", "second-secret", at=2, label="rotated")
    assert [one.secrets for one in settings.credentials()] == [("second-secret", "first-secret")]
    settings.remove_secret("Office", settings.secrets("Office")[0].secret_id)
    assert [one.secrets for one in settings.credentials()] == [("second-secret",)]
    with pytest.raises(UsageError, match="no other secret"):
        settings.remove_secret("Office", second.secret_id)
    shown = f"{settings.pbxs()}{settings.secrets('Office')}{settings.credentials()}"
    assert "rotated" in shown
    assert "second-secret" not in shown


def test_secrets_are_bounded_and_different(settings: AppDb) -> None:
    """Each costs a try per report."""
    _add(settings, secret="secret-0")
    for number in range(1, SECRETS_MAX):
        settings.add_secret("Office", f"secret-{number}", at=2)
    for text in ("secret-0", "one more secret"):
        with pytest.raises(UsageError):
            settings.add_secret("Office", text, at=3)


def test_a_change_changes_what_was_said_and_nothing_else(settings: AppDb) -> None:
    """A name, a zone, a plan; the secrets stay."""
    _add(settings, zone="Europe/Berlin")
    changed = settings.change_pbx("Office", {"name": "Head office", "zone": None})
    assert (changed.name, changed.zone, changed.secrets, changed.sn) == ("Head office", None, 1, SN)
    _add(settings, name="Branch", sn="other")
    with pytest.raises(UsageError):
        settings.change_pbx("Branch", {"name": "head OFFICE"})


def test_a_removed_pbx_takes_its_secrets_along(settings: AppDb) -> None:
    """And one that was never there is not found."""
    _add(settings)
    settings.remove_pbx("Office")
    assert settings.credentials() == []
    with pytest.raises(NotFound):
        settings.remove_pbx("Office")
    _add(settings, secret="another-secret")
    assert [one.secrets for one in settings.credentials()] == [("another-secret",)]


def test_a_token_opens_and_only_its_hash_is_kept(settings: AppDb, path: Path) -> None:
    """The text is nowhere in the file; a wrong, an empty and a removed one open nothing."""
    text = settings.add_token("wallboard", "reader", at=1)
    token = settings.token_for(text)
    assert token is not None
    assert (token.name, token.role) == ("wallboard", "reader")
    stored = path.read_bytes() + path.with_name("onhook.db-wal").read_bytes()
    assert b"wallboard" in stored
    assert text.encode() not in stored
    assert [settings.token_for(wrong) for wrong in ("", text[:-1], text + "x", "x" * 10_000, "\ud800")] == [None] * 5
    settings.remove_token("wallboard")
    assert settings.token_for(text) is None


def test_the_last_use_is_noted_to_the_minute(settings: AppDb) -> None:
    """So that a page that asks every second does not write every second."""
    text = settings.add_token("wallboard", "reader", at=1)
    used: list[int | None] = []
    for at in (60_000_001, 100_000_000, 130_000_000):
        settings.token_for(text, at=at)
        last_used = settings.tokens()[0].last_used
        used.append(None if last_used is None else round(last_used.timestamp() * 1e6))
    assert used == [60_000_001, 60_000_001, 130_000_000]


def test_on_a_full_disk_who_comes_is_still_known(settings: AppDb) -> None:
    """That the last use cannot be noted keeps nobody from reading."""
    text = settings.add_token("wallboard", "reader", at=1)
    settings._database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OnhookError):
        settings.remove_token("wallboard")
    assert settings.token_for(text, at=60_000_001) is not None


def test_the_administrators_file_always_opens(settings: AppDb, tmp_path: Path) -> None:
    """It is written once, kept while it is true, and written anew when it is missing or wrong."""
    file = tmp_path / "admin.token"
    first = settings.ensure_admin_token(file, at=1)
    assert file.read_text().strip() == first == settings.ensure_admin_token(file, at=2)
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    second = settings.ensure_admin_token(file, at=3)
    assert settings.token_for(first) is None
    file.write_text("something else")
    third = settings.ensure_admin_token(file, at=4)
    assert len({first, second, third}) == 3
    assert [(one.name, one.role) for one in settings.tokens()] == [("admin", "administrator")]


REFUSED: dict[str, Callable[[AppDb], object]] = {
    "a role that is none": lambda settings: settings.add_token("x", "king", at=1),
    "a name that is taken": lambda settings: settings.add_token("admin", "reader", at=1),
    "removing one that is not there": lambda settings: settings.remove_token("nobody"),
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED.keys())
def test_tokens_that_cannot_be_meant_are_refused(settings: AppDb, act: Callable[[AppDb], object]) -> None:
    """With a sentence."""
    settings.add_token("admin", "administrator", at=1)
    with pytest.raises(OnhookError):
        act(settings)


def test_a_file_of_a_newer_version_is_left_alone(settings: AppDb, path: Path) -> None:
    """What we do not know we do not touch."""
    settings.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OnhookError, match="newer Onhook"):
        AppDb(path)


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    """With what to do."""
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(OnhookError, match="onhook restore"):
        AppDb(path)
