"""`onhook subscribe`."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import DeliveryCommit, NewDelivery
from tests.cli.conftest import Command

ADD = ("subscribe", "add", "CRM", "--url", "https://crm.example.com/calls")


def test_a_secret_is_shown_once(onhook: Command) -> None:
    """When it was made; one that was given is never shown."""
    code, out, _ = onhook(*ADD, "--status", "!answered", "--per", "call")
    assert code == 0
    made = out.rpartition(" ")[2].strip()
    assert len(made) == 32
    _, out, _ = onhook("subscribe", "add", "BI", "--url", "https://bi.example.com/", "--secret", "geheimgeheim")
    assert "geheim" not in out
    assert onhook(*ADD)[0] == 2


def test_what_people_do_to_it(onhook: Command, tmp_path: Path) -> None:
    """Changed, paused, resumed, given another secret, removed; each says so."""
    onhook(*ADD, "--header", "X-Key: k", "--about", "calls")
    for words, says in (
        (("change", "CRM", "--timeout", "10", "--every-call"), "is changed"),
        (("pause", "CRM"), "is paused"),
        (("resume", "CRM"), "goes on"),
        (("retry", "CRM"), "0 events"),
        (("secret", "add", "CRM", "--label", "new"), "is there"),
        (("secret", "remove", "CRM", "1"), "signs no more"),
    ):
        code, out, error = onhook("subscribe", *words)
        assert (code, error) == (0, "")
        assert says in out
    settings = AppDb(tmp_path / "onhook-data" / "onhook.db")
    one = settings.subscriptions.get("crm")
    settings.close()
    assert (one.timeout_seconds, one.headers, one.secrets) == (10.0, {"X-Key": "k"}, 1)
    assert onhook("subscribe", "remove", "CRM")[0] == 0
    assert onhook("subscribe", "pause", "CRM")[0] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "X", "--url", "ftp://x/"), "not a webhook's URL"),
        (("add", "X", "--url", "https://x/", "--header", "nothing"), "a header has no value"),
        (("add", "X", "--url", "https://x/", "--timeout", "900"), "timeout_seconds"),
        (("change", "CRM"), "nothing is to be changed"),
        (("drop", "CRM"), "not said what to drop"),
        (("show", "ghost"), "no subscription 'ghost'"),
    ],
)
def test_mistakes_get_one_sentence(onhook: Command, words: tuple[str, ...], says: str) -> None:
    """On standard error, with what to do."""
    onhook(*ADD)
    code, _, error = onhook("subscribe", *words)
    assert code in (1, 2)
    assert says in error
    assert error.count("\n") == 1


def test_a_delivery_is_acted_on_by_its_own_subscription_alone(onhook: Command, tmp_path: Path) -> None:
    """A number of another one's is not found there, and stays."""
    onhook(*ADD)
    onhook("subscribe", "add", "BI", "--url", "https://bi.example.com/")
    settings = AppDb(tmp_path / "onhook-data" / "onhook.db")
    number = settings.subscriptions.get("BI").subscription_id
    trouble = NewDelivery(
        event_id="e", seq=1, call=("SN", "1.1"), body=b'{"type":30012}', due_at=1, owed_at=1, state="parked"
    )
    settings.deliveries.settle(
        DeliveryCommit(
            subscription_id=number, revision=1, cursors={}, ended=(), troubles=[trouble], retried=(), delivered=0,
            failed=0, failing_since=None, not_before=0, hastens=False, at=1,
        )
    )  # fmt: skip
    settings.close()
    for verb in ("drop", "retry"):
        code, _, error = onhook("subscribe", verb, "CRM", "--delivery", "1")
        assert code == 1
        assert "has no delivery 1" in error
    assert "parked" in onhook("subscribe", "deliveries", "BI")[1]
    (tmp_path / "onhook-data" / "ledger.db").touch()
    assert "1 event is parked for BI: `onhook subscribe" in onhook("subscribe", "list")[1]
    assert '"type":30012' in onhook("subscribe", "delivery", "1")[1]
    assert onhook("subscribe", "drop", "BI", "--parked")[1] == "1 parked event is owed no more.\n"
