"""`onhook user`."""

import asyncio
import re
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.lib.clock import SystemClock
from onhook.lib.totp import code_of_step
from tests.cli.conftest import Command


def test_user_is_added_listed_invited_and_removed(onhook: Command) -> None:
    """An invitation is printed as a link, and is valid until the next one."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    links = [
        onhook("user", "add", "alice", "--pbx", "office", "--number", "1001")[1],
        onhook("user", "invite", "alice")[1],
    ]
    texts = [re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/invitation\?invitation=(\S+)\n", link) for link in links]
    first, second = [match[1] for match in texts if match is not None]
    (line,) = onhook("user", "list")[1].splitlines()[1:]
    assert [word in line for word in ("alice", "reader", "Office; 1001", "invited", "+00:00")] == [True] * 5

    async def accept() -> list[bool]:
        now_us = SystemClock().microseconds()
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            await appdb.users.accept_invitation(second, "a long password", now_us=now_us)
            return [user.has_password for user in await appdb.users.all()]

    assert first != second
    assert asyncio.run(accept()) == [True]
    assert "set" in onhook("user", "list")[1]
    assert onhook("user", "remove", "alice")[1] == 'User "alice" removed.\n'
    assert "alice" not in onhook("user", "list")[1]


def test_user_errors_say_what_to_do(onhook: Command) -> None:
    assert onhook("user", "add", "alice")[0] == 0
    for words, sentence in (
        (("add", "alice"), "there is already a user named 'alice'"),
        (("add", "bob", "--pbx", "Nowhere"), "Nowhere"),
        (("add", "root", "--role", "administrator", "--number", "1001"), "administrator"),
        (("invite", "carol"), "carol"),
        (("remove", "carol"), "carol"),
    ):
        code, _, error = onhook("user", *words)
        assert (code in (1, 2), sentence in error) == (True, True), error


def test_user_and_token_are_limited_to_departments_and_sites(onhook: Command) -> None:
    assert onhook("user", "add", "alice", "--department", "Sales", "--department", "Support")[0] == 0
    assert onhook("token", "add", "board", "--site", "Berlin", "--number", "1001")[0] == 0
    (line,) = onhook("user", "list")[1].splitlines()[1:]
    assert "department Sales, Support" in line
    assert "1001; site Berlin" in onhook("token", "list")[1]


def test_user_and_token_have_a_mask(onhook: Command) -> None:
    assert onhook("user", "add", "alice", "--mask", "last3")[0] == 0
    assert onhook("token", "add", "statistics", "--mask", "hash", "--number", "1001")[0] == 0
    (line,) = onhook("user", "list")[1].splitlines()[1:]
    assert "everything; numbers masked: last3" in line
    assert "1001; numbers masked: hash" in onhook("token", "list")[1]
    assert onhook("user", "add", "bob", "--mask", "half")[0] == 2
    code, _, error = onhook("user", "add", "root", "--role", "administrator", "--mask", "hash")
    assert (code, "administrator cannot be limited" in error) == (2, True)


def test_user_is_changed(onhook: Command) -> None:
    """What is not given stays; an empty text lifts a limit."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("user", "add", "alice", "--number", "1001", "--permission", "share")[0] == 0
    assert onhook("user", "change", "alice", "--role", "annotator", "--pbx", "Office")[1] == 'User "alice" changed.\n'
    (line,) = onhook("user", "list")[1].splitlines()[1:]
    assert [text in line for text in ("annotator", "Office; 1001", "share", "invited")] == [True] * 4
    options = ("--number", "", "--mask", "hash", "--permission", "", "--disable", "--name", "alicia")
    assert onhook("user", "change", "alice", *options)[0] == 0
    (line,) = onhook("user", "list")[1].splitlines()[1:]
    assert [text in line for text in ("alicia", "Office; numbers masked: hash", "share", "disabled")] == [
        *(True, True, False, True)
    ]
    assert onhook("user", "change", "alicia", "--enable")[0] == 0
    for words, sentence in (
        (("alicia",), "nothing is to be changed"),
        (("alicia", "--permission", "fly"), "there is no permission 'fly'"),
        (("alicia", "--role", "administrator"), "an administrator cannot be limited"),
        (("bob", "--role", "reader"), "there is no user 'bob'"),
    ):
        code, _output, error = onhook("user", "change", *words)
        assert (code in (1, 2), sentence in error) == (True, True), error


def test_user_last_administrator_stays(onhook: Command) -> None:
    link = onhook("user", "add", "alice", "--role", "administrator")[1]

    async def accept() -> None:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            invitation = link.strip().partition("=")[2]
            await appdb.users.accept_invitation(invitation, "a long password", now_us=SystemClock().microseconds())

    asyncio.run(accept())
    for words in (("remove", "alice"), ("change", "alice", "--disable"), ("change", "alice", "--role", "reader")):
        code, _output, error = onhook("user", *words)
        assert (code, "alice is the last administrator who can sign in" in error) == (2, True)


def test_user_second_factor_is_reset(onhook: Command) -> None:
    """The way back for an administrator whose telephone is lost."""
    assert onhook("user", "add", "alice")[0] == 0

    async def add_app() -> None:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            now_us = SystemClock().microseconds()
            secret = await appdb.second_factors.begin_enrolment("alice", now_us=now_us)
            await appdb.second_factors.confirm_enrolment(
                "alice", code_of_step(secret, now_us // 30_000_000), now_us=now_us
            )

    async def has_app() -> bool:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            return (await appdb.users.get("alice")).has_second_factor

    asyncio.run(add_app())
    assert onhook("user", "reset-factor", "ALICE")[1] == 'Second factor of user "alice" removed.\n'
    assert not asyncio.run(has_app())
    assert onhook("user", "reset-factor", "carol")[0] == 1
