"""`onhook destination`."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import DeliveryCommit, NewDelivery
from tests.cli.conftest import Command

ADD = ("destination", "add", "CRM", "--url", "https://crm.example.com/calls")


def test_a_secret_is_shown_once(onhook: Command) -> None:
    """When it was made; one that was given is never shown."""
    code, out, _ = onhook(*ADD, "--status", "!answered", "--notifies-of", "calls")
    assert code == 0
    made = out.rpartition(" ")[2].strip()
    assert len(made) == 32
    _, out, _ = onhook("destination", "add", "BI", "--url", "https://bi.example.com/", "--secret", "geheimgeheim")
    assert "geheim" not in out
    assert onhook(*ADD)[0] == 2


def test_what_people_do_to_it(onhook: Command, tmp_path: Path) -> None:
    """Changed, paused, resumed, given another secret, removed; each says so."""
    onhook(*ADD, "--header", "X-Key: k", "--notifies-of", "records")
    for words, says in (
        (("change", "CRM", "--timeout", "10", "--every-call"), "is changed"),
        (("pause", "CRM"), "is paused"),
        (("resume", "CRM"), "goes on"),
        (("retry", "CRM"), "0 notifications"),
        (("secret", "add", "CRM", "--label", "new"), "is there"),
        (("secret", "remove", "CRM", "1"), "signs no more"),
    ):
        code, out, error = onhook("destination", *words)
        assert (code, error) == (0, "")
        assert says in out
    appdb = AppDb(tmp_path / "onhook-data" / "onhook.db")
    one = appdb.destinations.get("crm")
    appdb.close()
    assert (one.timeout_seconds, one.headers, one.secrets) == (10.0, {"X-Key": "k"}, 1)
    assert onhook("destination", "remove", "CRM")[0] == 0
    assert onhook("destination", "pause", "CRM")[0] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "X", "--url", "ftp://x/"), "not a webhook's URL"),
        (("add", "X", "--url", "https://x/", "--header", "nothing"), "a header has no value"),
        (("add", "X", "--url", "https://x/", "--timeout", "900"), "timeout_seconds"),
        (("change", "CRM"), "nothing is to be changed"),
        (("discard", "CRM"), "not said what to discard"),
        (("add", "X", "--url", "https://x/", "--kind", "pigeon"), "unknown kind of destination 'pigeon'"),
        (("show", "ghost"), "'ghost': `onhook destination list`"),
    ],
)
def test_mistakes_get_one_sentence(onhook: Command, words: tuple[str, ...], says: str) -> None:
    """On standard error, with what to do."""
    onhook(*ADD)
    code, _, error = onhook("destination", *words)
    assert code in (1, 2)
    assert says in error
    assert error.count("\n") == 1


def test_a_delivery_is_acted_on_by_its_own_subscription_alone(onhook: Command, tmp_path: Path) -> None:
    """A number of another one's is not found there, and stays."""
    onhook(*ADD)
    onhook("destination", "add", "BI", "--url", "https://bi.example.com/")
    appdb = AppDb(tmp_path / "onhook-data" / "onhook.db")
    number = appdb.destinations.get("BI").destination_id
    trouble = NewDelivery(
        notification_id="e",
        seq=1,
        call=("SN", "1.1"),
        body=b'{"type":30012}',
        due_at=1,
        pending_since=1,
        state="failed",
    )
    appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=number, revision=1, cursors={}, finished_replays=(), new_deliveries=[trouble], updates=(),
            attempts_succeeded=0, attempts_failed=0, failing_since=None, retry_after=0, retry_all_now=False, now_us=1,
        )
    )  # fmt: skip
    appdb.close()
    for verb in ("discard", "retry"):
        code, _, error = onhook("destination", verb, "CRM", "--delivery", "1")
        assert code == 1
        assert "has no delivery 1" in error
    assert "failed" in onhook("destination", "deliveries", "BI")[1]
    (tmp_path / "onhook-data" / "ledger.db").touch()
    assert "`onhook destination deliveries BI --state failed`" in onhook("destination", "list")[1]
    assert '"type":30012' in onhook("destination", "delivery", "1")[1]
    assert onhook("destination", "discard", "BI", "--failed")[1] == "1 failed notification is discarded.\n"
