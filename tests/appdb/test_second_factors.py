"""Second factors, sign-ins that wait for them, and the roles that need them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pending_sign_ins import PENDING_OF_USER_MAX, PENDING_SECONDS
from onhook.appdb.second_factors import (
    ENROLMENT_MICROSECONDS,
    RECOVERY_CODES,
    TRIES_FORGOTTEN_MICROSECONDS,
    TRIES_MAX,
    TooManyCodes,
    WrongCode,
)
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.lib.errors import NotAllowed, NotFound, UsageError
from onhook.lib.timestamps import to_datetime
from onhook.lib.totp import STEP_SECONDS, code_of_step

STEP_US = STEP_SECONDS * 1_000_000
NOW = 1_777_000_020_000_000
PASSWORD = "three short words"


@pytest.fixture
async def appdb(each_engine: str, tmp_path: Path) -> AsyncIterator[AppDb]:
    assert each_engine
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.users.add_first("Alice", PASSWORD, now_us=NOW)
        yield appdb


def code_at(secret: str, now_us: int) -> str:
    return code_of_step(secret, now_us // STEP_US)


async def add_app(appdb: AppDb, name: str = "Alice") -> tuple[str, list[str]]:
    """Return the secret of an app whose code of NOW is used up, and the recovery codes."""
    secret = await appdb.second_factors.begin_enrolment(name, now_us=NOW)
    return secret, await appdb.second_factors.confirm_enrolment(name, code_at(secret, NOW), now_us=NOW)


async def test_enrolment_counts_once_the_app_has_given_a_code(appdb: AppDb) -> None:
    factors = appdb.second_factors
    first = await factors.begin_enrolment("Alice", now_us=NOW)
    secret = await factors.begin_enrolment("Alice", now_us=NOW)
    for code in ("", "000", code_at(first, NOW), code_at(secret, NOW + 5 * STEP_US)):
        with pytest.raises(WrongCode):
            await factors.confirm_enrolment("Alice", code, now_us=NOW)
    assert not (await appdb.users.get("Alice")).has_second_factor
    with pytest.raises(UsageError, match="too long"):
        await factors.confirm_enrolment("Alice", code_at(secret, NOW), now_us=NOW + ENROLMENT_MICROSECONDS)
    codes = await factors.confirm_enrolment("Alice", code_at(secret, NOW), now_us=NOW)
    assert len(set(codes)) == RECOVERY_CODES == await factors.count_recovery_codes("Alice")
    assert (await appdb.users.get("Alice")).has_second_factor
    with pytest.raises(UsageError, match="already"):
        await factors.begin_enrolment("Alice", now_us=NOW)
    with pytest.raises(UsageError):
        await factors.confirm_enrolment("Alice", code_at(secret, NOW), now_us=NOW)


async def test_code_is_accepted_once_and_no_earlier_one_after_it(appdb: AppDb) -> None:
    """That of the enrolment is used up too."""
    secret, _codes = await add_app(appdb)
    factors, later = appdb.second_factors, NOW + STEP_US
    for code in (code_at(secret, NOW), "12 34 56"):
        with pytest.raises(WrongCode):
            await factors.use_code("Alice", code, now_us=NOW)
    code = code_at(secret, later)
    assert await factors.use_code("Alice", f" {code[:3]} {code[3:]} ", now_us=later) == "code"
    for replayed in (code, code_at(secret, NOW)):
        with pytest.raises(WrongCode, match="used before"):
            await factors.use_code("Alice", replayed, now_us=later)


async def test_code_entered_at_two_hubs_at_once_is_accepted_by_one(appdb: AppDb, tmp_path: Path) -> None:
    secret, codes = await add_app(appdb)
    async with AppDb(tmp_path / "onhook.db") as other:
        for code, now_us in ((code_at(secret, NOW + STEP_US), NOW + STEP_US), (codes[0], NOW)):
            tries = [hub.second_factors.use_code("Alice", code, now_us=now_us) for hub in (appdb, other) * 2]
            results = await asyncio.gather(*tries, return_exceptions=True)
            assert [isinstance(result, WrongCode) for result in results].count(False) == 1, results


async def test_recovery_code_is_accepted_once_and_of_its_user_alone(appdb: AppDb) -> None:
    _secret, codes = await add_app(appdb)
    factors = appdb.second_factors
    await appdb.users.add("Bob", "reader", None, now_us=NOW)
    _secret, bobs = await add_app(appdb, "Bob")
    with pytest.raises(WrongCode):
        await factors.use_code("Alice", bobs[0], now_us=NOW)
    assert await factors.use_code("Alice", codes[3].upper().replace("-", " "), now_us=NOW) == "recovery code"
    with pytest.raises(WrongCode):
        await factors.use_code("Alice", codes[3], now_us=NOW)
    assert await factors.count_recovery_codes("Alice") == RECOVERY_CODES - 1
    new_codes = await factors.renew_recovery_codes("Alice")
    with pytest.raises(WrongCode):
        await factors.use_code("Alice", codes[4], now_us=NOW)
    assert await factors.use_code("Alice", new_codes[4], now_us=NOW) == "recovery code"
    assert await factors.count_recovery_codes("Bob") == RECOVERY_CODES


async def test_wrong_codes_of_an_account_are_limited_at_all_hubs_together(appdb: AppDb, tmp_path: Path) -> None:
    secret, codes = await add_app(appdb)
    async with AppDb(tmp_path / "onhook.db") as other:
        for number in range(TRIES_MAX):
            with pytest.raises(WrongCode, match="this code is wrong"):
                await (appdb, other)[number % 2].second_factors.use_code("Alice", "000000x", now_us=NOW)
        later = NOW + STEP_US
        for hub in (appdb, other):
            for code in (code_at(secret, later), codes[0]):
                with pytest.raises(TooManyCodes):
                    await hub.second_factors.use_code("Alice", code, now_us=later)
        later = NOW + TRIES_FORGOTTEN_MICROSECONDS
        assert await other.second_factors.use_code("Alice", code_at(secret, later), now_us=later) == "code"


async def test_concurrent_tries_evade_no_limit(appdb: AppDb) -> None:
    await add_app(appdb)
    tries = [appdb.second_factors.use_code("Alice", str(number), now_us=NOW) for number in range(3 * TRIES_MAX)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(result) for result in results].count(WrongCode) == TRIES_MAX
    assert [type(result) for result in results].count(TooManyCodes) == 2 * TRIES_MAX


async def test_right_code_begins_the_tries_anew(appdb: AppDb) -> None:
    _secret, codes = await add_app(appdb)
    for code in codes[:3]:
        for _ in range(TRIES_MAX - 1):
            with pytest.raises(WrongCode):
                await appdb.second_factors.use_code("Alice", "x", now_us=NOW)
        assert await appdb.second_factors.use_code("Alice", code, now_us=NOW) == "recovery code"


async def test_factor_goes_with_its_user_and_keeps_to_a_new_name(appdb: AppDb) -> None:
    await appdb.users.add("Bob", "reader", None, now_us=NOW)
    secret, _codes = await add_app(appdb, "Bob")
    await appdb.users.change("Bob", new_name="Carol", role="reader", scope=None)
    later = NOW + STEP_US
    assert await appdb.second_factors.use_code("Carol", code_at(secret, later), now_us=later) == "code"
    await appdb.users.remove("Carol")
    await appdb.users.add("Carol", "reader", None, now_us=NOW)
    assert not (await appdb.users.get("Carol")).has_second_factor


async def test_reset_removes_the_factor_and_ends_the_sessions(appdb: AppDb) -> None:
    await add_app(appdb)
    user = await appdb.users.get("Alice")
    version = user.password_version
    session_id = await appdb.sessions.start_for_user("Alice", version, address="", now_us=NOW, factor="code")
    pending_id = await appdb.pending_sign_ins.add("Alice", version, credential="password", next_path="/", now_us=NOW)
    await appdb.second_factors.reset("Alice")
    assert await appdb.sessions.find([session_id], NOW) is None
    assert await appdb.pending_sign_ins.find(pending_id, NOW) is None
    assert not (await appdb.users.get("Alice")).has_second_factor
    entry = (await appdb.audit.latest(1))[0]
    assert entry.action == "remove authenticator app of Alice"


async def test_audit_log_has_no_secret_of_a_factor(appdb: AppDb) -> None:
    secret, codes = await add_app(appdb)
    entries = repr(await appdb.audit.latest(100))
    assert "add authenticator app of Alice" in entries
    assert secret not in entries
    assert not any(code in entries for code in codes)
    assert secret in await appdb.secret_texts()


async def test_pending_sign_in_ends_by_time_password_and_use(appdb: AppDb) -> None:
    user = await appdb.users.get("Alice")
    pending = appdb.pending_sign_ins

    async def add() -> str:
        return await pending.add("Alice", user.password_version, credential="password", next_path="/calls", now_us=NOW)

    first = await add()
    stored = await pending.find(first, NOW)
    assert stored is not None
    assert (stored.user_name, stored.credential, stored.next_path) == ("Alice", "password", "/calls")
    assert await pending.find(first, NOW + PENDING_SECONDS * 1_000_000) is None
    assert await appdb.sessions.find([first], NOW) is None  # it is no session
    for text in ("", "A" * 43, first + "A"):
        assert await pending.find(text, NOW) is None
    assert await pending.end(first)
    assert not await pending.end(first)
    ids = [await add() for _ in range(PENDING_OF_USER_MAX + 1)]
    assert [await pending.find(text, NOW) is not None for text in ids].count(True) == PENDING_OF_USER_MAX
    await appdb.users.change_password(
        "Alice", "four other short words", password_version=user.password_version, now_us=NOW + 1
    )
    assert [text for text in ids if await pending.find(text, NOW) is not None] == []
    with pytest.raises(NotAllowed):
        await pending.add("Nemo", 1, credential="password", next_path="/", now_us=NOW)


async def test_role_that_needs_a_factor_marks_sessions_without_one(appdb: AppDb) -> None:
    assert await appdb.sign_in_settings.get() == SignInSettings()
    await appdb.users.accept_invitation(await appdb.users.add("Bob", "reader", None, now_us=NOW), PASSWORD, now_us=NOW)
    ids = {}
    for name, factor in (("Alice", ""), ("Alice", "code"), ("Bob", "")):
        version = (await appdb.users.get(name)).password_version
        ids[name, factor] = await appdb.sessions.start_for_user(name, version, address="", now_us=NOW, factor=factor)

    async def needing() -> list[tuple[str, str]]:
        sessions = {key: await appdb.sessions.find([text], NOW) for key, text in ids.items()}
        return [key for key, session in sessions.items() if session is not None and session.needs_factor]

    assert await needing() == []
    await appdb.sign_in_settings.put(SignInSettings(factor_roles=("reader", "administrator", "reader")))
    assert (await appdb.sign_in_settings.get()).factor_roles == ("administrator", "reader")
    assert await needing() == [("Alice", ""), ("Bob", "")]
    await appdb.sign_in_settings.put(SignInSettings(factor_roles=("administrator",)))
    assert await needing() == [("Alice", "")]
    await appdb.second_factors.remove_app("Alice")
    assert await needing() == [("Alice", ""), ("Alice", "code")]
    await appdb.sign_in_settings.put(SignInSettings())
    assert await needing() == []


# Passkeys


async def add_passkey(appdb: AppDb, user_name: str, credential_id: bytes, name: str = "key") -> None:
    await appdb.passkeys.add(
        user_name,
        name,
        credential_id=credential_id,
        user_handle=await appdb.passkeys.get_handle(user_name),
        public_key=b"\x00public\xff",
        sign_count=3,
        rp_id="calls.example.com",
        now_us=1_000_000,
    )


async def test_passkey_is_found_by_its_credential_until_its_user_removes_it(appdb: AppDb) -> None:
    await add_passkey(appdb, "Alice", b"\x00first")
    await add_passkey(appdb, "Alice", b"second", name="telephone")
    with pytest.raises(UsageError, match="already"):
        await add_passkey(appdb, "Alice", b"second")
    first, second = await appdb.passkeys.of_user("Alice")
    assert (first.name, first.public_key, first.sign_count) == ("key", b"\x00public\xff", 3)
    assert first.user_handle == second.user_handle
    assert await appdb.passkeys.find(b"\x00first") == first
    await appdb.passkeys.record_use(first.passkey_id, 4, now_us=2_000_000)
    used = await appdb.passkeys.find(b"\x00first")
    assert used is not None
    assert (used.sign_count, used.last_used_at) == (4, to_datetime(2_000_000))
    with pytest.raises(NotFound):
        await appdb.passkeys.remove("another", first.passkey_id)
    await appdb.passkeys.remove("Alice", first.passkey_id)
    assert await appdb.passkeys.find(b"\x00first") is None
    assert await appdb.passkeys.of_user("Alice") == [second]
    assert await appdb.passkeys.list_unreadable() == []
