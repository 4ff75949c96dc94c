"""PBXs, secrets and tokens, in a real file."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import SECRETS_MAX
from onhook.cdr.number_plan import parse_number_plan
from onhook.lib.errors import NotFound, OnhookError, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "3631A2124ABC"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


@pytest.fixture
async def appdb(path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(path) as opened:
        yield opened


async def _add(appdb: AppDb, **changes: Any) -> None:
    await appdb.add_pbx(**{"name": "Office", "sn": SN, "secret": "first-secret", "now_us": 1, **changes})


async def test_pbx_added_is_found(appdb: AppDb, path: Path) -> None:
    """By name, in any case, and by serial number; also after the file was closed and opened again."""
    plan = parse_number_plan({"queue": "7000-7099"})
    await _add(appdb, zone="Europe/Berlin", number_plan=plan)
    reopened_appdb = AppDb(path)
    pbx = await reopened_appdb.pbx("office")
    assert pbx == await reopened_appdb.pbx(SN) == await reopened_appdb.find_pbx_by_sn(SN)
    assert (pbx.name, pbx.zone, pbx.number_plan, pbx.secrets, pbx.is_unsigned) == (
        "Office",
        "Europe/Berlin",
        plan,
        1,
        False,
    )
    await reopened_appdb.close()


WRONG: dict[str, dict[str, Any]] = {
    "no name": {"name": " "},
    "name too long": {"name": "x" * 65},
    "name with a line end": {"name": "a\nb"},
    "no serial number": {"sn": ""},
    "blank in the serial number": {"sn": "36 31"},
    "serial number too long": {"sn": "x" * 65},
    "no secret, and not unsigned": {"secret": None},
    "empty secret": {"secret": ""},
    "secret too short": {"secret": "7 chars"},
    "secret too long": {"secret": "x" * 257},
    "secret of blanks": {"secret": " " * 8},
    "secret with NUL": {"secret": "a\0b and more"},
    "unknown zone": {"zone": "Mars/Olympus"},
    "same name in another case": {"name": "OFFICE", "sn": "other"},
    "same serial number": {"name": "Other"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
async def test_pbx_invalid_settings_are_rejected(appdb: AppDb, changes: dict[str, Any]) -> None:
    """A usage error that never shows the secret; nothing is stored."""
    if "same" in str(changes) or changes.get("name") in ("OFFICE", "Other"):
        await _add(appdb)
    before = await appdb.pbxs()
    with pytest.raises(UsageError) as refused:
        await _add(appdb, **changes)
    assert await appdb.pbxs() == before
    assert not changes.get("secret") or changes["secret"] not in str(refused.value)


async def test_secret_old_and_new_are_valid_together(appdb: AppDb) -> None:
    """The last one of a PBX that must sign cannot be removed; texts are in no listing."""
    await _add(appdb)
    second = await appdb.add_secret("Office", "second-secret", now_us=2, label="rotated")
    assert [webhook_credential.secrets for webhook_credential in await appdb.webhook_credentials()] == [
        ("second-secret", "first-secret")
    ]
    await appdb.remove_secret("Office", (await appdb.secrets("Office"))[0].secret_id)
    assert [webhook_credential.secrets for webhook_credential in await appdb.webhook_credentials()] == [
        ("second-secret",)
    ]
    with pytest.raises(UsageError, match="no other secret"):
        await appdb.remove_secret("Office", second.secret_id)
    listings = str([await appdb.pbxs(), await appdb.secrets("Office"), await appdb.webhook_credentials()])
    assert "rotated" in listings
    assert "second-secret" not in listings


async def test_secrets_are_unique_and_limited(appdb: AppDb) -> None:
    """Each costs a try per event."""
    await _add(appdb, secret="secret-0")
    for number in range(1, SECRETS_MAX):
        await appdb.add_secret("Office", f"secret-{number}", now_us=2)
    for text in ("secret-0", "one more secret"):
        with pytest.raises(UsageError):
            await appdb.add_secret("Office", text, now_us=3)


async def test_pbx_change_changes_named_values_only(appdb: AppDb) -> None:
    """A name, a zone, a number plan; the secrets stay."""
    await _add(appdb, zone="Europe/Berlin")
    changed = await appdb.change_pbx("Office", {"name": "Head office", "zone": None})
    assert (changed.name, changed.zone, changed.secrets, changed.sn) == ("Head office", None, 1, SN)
    await _add(appdb, name="Branch", sn="other")
    with pytest.raises(UsageError):
        await appdb.change_pbx("Branch", {"name": "head OFFICE"})


async def test_pbx_removed_is_removed_with_its_secrets(appdb: AppDb) -> None:
    """An unknown one is not found."""
    await _add(appdb)
    await appdb.remove_pbx("Office")
    assert await appdb.webhook_credentials() == []
    with pytest.raises(NotFound):
        await appdb.remove_pbx("Office")
    await _add(appdb, secret="another-secret")
    assert [webhook_credential.secrets for webhook_credential in await appdb.webhook_credentials()] == [
        ("another-secret",)
    ]


@pytest.mark.usefixtures("sqlite_file")
async def test_token_is_found_and_stored_as_a_hash(appdb: AppDb, path: Path) -> None:
    """The text is nowhere in the file; a wrong, an empty and a removed token are not found."""
    text = await appdb.tokens.add("wallboard", "reader", now_us=1)
    token = await appdb.tokens.find(text, now_us=2)
    assert token is not None
    assert (token.name, token.role) == ("wallboard", "reader")
    stored = path.read_bytes() + path.with_name("onhook.db-wal").read_bytes()
    assert b"wallboard" in stored
    assert text.encode() not in stored
    assert [
        await appdb.tokens.find(wrong, now_us=2) for wrong in ("", text[:-1], text + "x", "x" * 10_000, "\ud800")
    ] == [None] * 5
    await appdb.tokens.remove("wallboard")
    assert await appdb.tokens.find(text, now_us=2) is None


async def test_token_last_use_is_stored_to_the_minute(appdb: AppDb) -> None:
    text = await appdb.tokens.add("wallboard", "reader", now_us=1)
    use_times: list[int | None] = []
    for now_us in (60_000_001, 100_000_000, 130_000_000):
        await appdb.tokens.find(text, now_us=now_us, is_use=True)
        last_used = (await appdb.tokens.all())[0].last_used_at
        use_times.append(None if last_used is None else round(last_used.timestamp() * 1e6))
    assert use_times == [60_000_001, 60_000_001, 130_000_000]


@pytest.mark.usefixtures("sqlite_file")
async def test_token_is_found_on_a_full_disk(appdb: AppDb) -> None:
    """Although the last use cannot be stored."""
    text = await appdb.tokens.add("wallboard", "reader", now_us=1)
    await appdb._database.write("PRAGMA query_only = ON")
    with pytest.raises(OnhookError):
        await appdb.tokens.remove("wallboard")
    assert await appdb.tokens.find(text, now_us=60_000_001, is_use=True) is not None


async def test_admin_token_file_is_always_valid(appdb: AppDb, tmp_path: Path) -> None:
    """Written once, unchanged while it is valid, and written again when it is missing or wrong."""
    file = tmp_path / "admin.token"
    first = await appdb.tokens.ensure_admin(file, now_us=1)
    assert file.read_text().strip() == first == await appdb.tokens.ensure_admin(file, now_us=2)
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    second = await appdb.tokens.ensure_admin(file, now_us=3)
    assert await appdb.tokens.find(first, now_us=4) is None
    file.write_text("something else")
    third = await appdb.tokens.ensure_admin(file, now_us=4)
    assert len({first, second, third}) == 3
    assert [(token.name, token.role) for token in await appdb.tokens.all()] == [("admin", "administrator")]


async def test_admin_token_of_another_machine_stays(appdb: AppDb, tmp_path: Path) -> None:
    """Each is valid on all machines; a machine that has lost its file replaces its own one."""
    first, second = [
        await appdb.tokens.ensure_admin(tmp_path / f"{node}.token", now_us=1, node=node) for node in ("a", "b")
    ]
    (tmp_path / "b.token").unlink()
    third = await appdb.tokens.ensure_admin(tmp_path / "b.token", now_us=2, node="b")
    assert [await appdb.tokens.is_admin(text, now_us=3) for text in (first, second, third)] == [True, False, True]
    assert [token.name for token in await appdb.tokens.all()] == ["admin@a", "admin@b"]


REFUSED: dict[str, Callable[[AppDb], Awaitable[object]]] = {
    "an unknown role": lambda appdb: appdb.tokens.add("x", "king", now_us=1),
    "a name in use": lambda appdb: appdb.tokens.add("admin", "reader", now_us=1),
    "removing an unknown one": lambda appdb: appdb.tokens.remove("unknown"),
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED.keys())
async def test_token_invalid_settings_are_rejected(appdb: AppDb, act: Callable[[AppDb], Awaitable[object]]) -> None:
    await appdb.tokens.add("admin", "administrator", now_us=1)
    with pytest.raises(OnhookError):
        await act(appdb)


@pytest.mark.usefixtures("sqlite_file")
async def test_appdb_of_a_newer_version_is_left_alone(appdb: AppDb, path: Path) -> None:
    await appdb.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OnhookError, match="newer Onhook"):
        await AppDb(path).open()


@pytest.mark.usefixtures("sqlite_file")
async def test_appdb_that_is_not_a_database_is_reported(path: Path) -> None:
    """With what to do."""
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(OnhookError, match="onhook restore"):
        await AppDb(path).open()
