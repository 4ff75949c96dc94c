"""`onhook app`."""

import json
from pathlib import Path

from onhook.appdb.appdb import AppDb
from tests.cli.conftest import Command


def test_an_application_comes_and_goes(onhook: Command) -> None:
    """Credentials are shown once, in two forms; the list shows none of the secrets."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    words = ("--pbx", "office", "--address", "192.0.2.0/24", "--date-format", "DD/MM/YYYY", "--format", "json")
    code, out, _ = onhook("app", "add", "crm", *words)
    credentials = json.loads(out)
    assert (code, list(credentials)) == (0, ["name", "client_id", "client_secret"])
    code, text, _ = onhook("app", "add", "wallboard")
    assert [line.split()[0] for line in text.splitlines()] == ["client_id", "client_secret"]
    _, listed, _ = onhook("app", "list")
    assert credentials["client_id"] in listed
    assert "192.0.2.0/24" in listed
    assert credentials["client_secret"] not in listed
    _, renewed, _ = onhook("app", "renew", "crm", "--format", "json")
    assert json.loads(renewed)["client_id"] == credentials["client_id"]
    assert json.loads(renewed)["client_secret"] != credentials["client_secret"]
    assert onhook("app", "remove", "crm")[1] == "crm may come no more.\n"
    assert "crm" not in onhook("app", "list")[1]


def test_what_cannot_be_is_told(onhook: Command) -> None:
    """One sentence each."""
    assert onhook("app", "add", "crm")[0] == 0
    for words, code, says in (
        (("add", "crm"), 2, "there is an application 'crm' already"),
        (("add", "other", "--pbx", "nobody"), 1, "there is no PBX 'nobody'"),
        (("add", "other", "--time-forms", "minutes"), 2, "time_forms cannot be 'minutes'"),
        (("add", "other", "--address", "office"), 2, "'office' is no address or network"),
        (("remove", "other"), 1, "there is no application 'other'"),
        (("unblock", "192.0.2.7"), 1, "'192.0.2.7' is not kept out"),
    ):
        got, _, error = onhook("app", *words)
        assert got == code
        assert says in error
        assert error.count("\n") == 1


def test_addresses_are_let_in_again(onhook: Command) -> None:
    """One by name, all without."""
    onhook("app", "add", "crm")
    appdb = AppDb(Path("onhook-data/onhook.db"))
    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::/64"):
        appdb.apps.block(address, 4_000_000_000_000_000)
    appdb.close()
    assert onhook("app", "unblock", "192.0.2.7")[1] == "1 addresses may come again.\n"
    assert onhook("app", "unblock")[1] == "2 addresses may come again.\n"
