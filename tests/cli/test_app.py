"""`onhook app`."""

import asyncio
import json
from pathlib import Path

from onhook.appdb.appdb import AppDb
from tests.cli.conftest import Command


def test_app_is_added_listed_and_removed(onhook: Command) -> None:
    """Credentials are printed once, in two formats; the list shows no secret."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    words = ("--pbx", "office", "--address", "192.0.2.0/24", "--date-format", "DD/MM/YYYY", "--format", "json")
    code, out, _ = onhook("app", "add", "crm", *words)
    credentials = json.loads(out)
    assert (code, list(credentials)) == (0, ["name", "client_id", "client_secret"])
    code, text, _ = onhook("app", "add", "wallboard")
    assert [line.split()[0] for line in text.splitlines()] == ["client_id", "client_secret"]
    _, output, _ = onhook("app", "list")
    assert credentials["client_id"] in output
    assert "192.0.2.0/24" in output
    assert credentials["client_secret"] not in output
    _, renewed, _ = onhook("app", "renew", "crm", "--format", "json")
    assert json.loads(renewed)["client_id"] == credentials["client_id"]
    assert json.loads(renewed)["client_secret"] != credentials["client_secret"]
    assert onhook("app", "remove", "crm")[1] == 'App "crm" removed.\n'
    assert "crm" not in onhook("app", "list")[1]


def test_app_is_changed(onhook: Command) -> None:
    """What is not named stays; `all` and `any` remove a limit."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("app", "add", "crm", "--pbx", "office", "--address", "192.0.2.7", "--allow-control")[0] == 0
    assert onhook("app", "change", "crm", "--address", "any")[1] == 'App "crm" changed.\n'
    appdb = AppDb(Path("onhook-data/onhook.db"))
    app = asyncio.run(appdb.apps.get("crm"))
    assert (app.pbxs, app.networks, app.allow_control) == (("3631A2124ABC",), (), True)
    assert onhook("app", "change", "crm", "--pbx", "all", "--no-control")[0] == 0
    app = asyncio.run(appdb.apps.get("crm"))
    assert (app.pbxs, app.allow_control) == ((), False)
    asyncio.run(appdb.close())


def test_app_invalid_option_is_one_sentence(onhook: Command) -> None:
    assert onhook("app", "add", "crm")[0] == 0
    for words, code, expected_text in (
        (("add", "crm"), 2, "there is already an app 'crm'"),
        (("add", "other", "--pbx", "unknown"), 1, "there is no PBX 'unknown'"),
        (("add", "other", "--time-forms", "minutes"), 2, "invalid time_forms: 'minutes'"),
        (("add", "other", "--address", "office"), 2, "'office' is not an address or network"),
        (("add", "other", "--allow-control"), 2, "only an app of one PBX can control calls"),
        (("remove", "other"), 1, "there is no app 'other'"),
        (("unblock", "192.0.2.7"), 1, "'192.0.2.7' is not blocked"),
    ):
        exit_code, _, error = onhook("app", *words)
        assert exit_code == code
        assert expected_text in error
        assert error.count("\n") == 1


def test_app_unblock_one_address_or_all(onhook: Command) -> None:
    onhook("app", "add", "crm")
    appdb = AppDb(Path("onhook-data/onhook.db"))
    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::/64"):
        asyncio.run(appdb.apps.block(address, "crm", 4_000_000_000_000_000))
    asyncio.run(appdb.close())
    assert onhook("app", "unblock", "192.0.2.7")[1] == "Unblocked addresses: 1.\n"
    assert onhook("app", "unblock")[1] == "Unblocked addresses: 2.\n"
