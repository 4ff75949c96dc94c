"""`onhook destination`."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import DeliveryCommit, NewDelivery
from tests.cli.conftest import Command

ADD = ("destination", "add", "CRM", "--url", "https://crm.example.com/calls")


def test_destination_generated_secret_is_shown_once(onhook: Command) -> None:
    """A given one is never shown."""
    code, out, _ = onhook(*ADD, "--status", "!answered", "--notifies-of", "calls")
    assert code == 0
    secret = out.rpartition(" ")[2].strip()
    assert len(secret) == 32
    _, out, _ = onhook("destination", "add", "BI", "--url", "https://bi.example.com/", "--secret", "geheimgeheim")
    assert "geheim" not in out
    assert onhook(*ADD)[0] == 2


def test_destination_is_changed_paused_resumed_and_removed(onhook: Command, tmp_path: Path) -> None:
    """Each command prints its result."""
    onhook(*ADD, "--header", "X-Key: k", "--notifies-of", "records")
    for words, expected_text in (
        (("change", "CRM", "--timeout", "10", "--every-call"), 'Destination "CRM" changed'),
        (("pause", "CRM"), "paused"),
        (("resume", "CRM"), "resumed"),
        (("retry", "CRM"), "0 notifications"),
        (("secret", "add", "CRM", "--label", "new"), "added"),
        (("secret", "remove", "CRM", "1"), "removed"),
    ):
        code, out, error = onhook("destination", *words)
        assert (code, error) == (0, "")
        assert expected_text in out
    appdb = AppDb(tmp_path / "onhook-data" / "onhook.db")
    destination = appdb.destinations.get("crm")
    appdb.close()
    assert (destination.timeout_seconds, destination.headers, destination.secrets) == (10.0, {"X-Key": "k"}, 1)
    assert onhook("destination", "remove", "CRM")[0] == 0
    assert onhook("destination", "pause", "CRM")[0] == 1


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (("add", "X", "--url", "ftp://x/"), "not the URL of a webhook"),
        (("add", "X", "--url", "https://x/", "--header", "nothing"), "a header has no value"),
        (("add", "X", "--url", "https://x/", "--timeout", "900"), "timeout_seconds"),
        (("change", "CRM"), "there is nothing to change"),
        (("discard", "CRM"), "no delivery is given"),
        (("add", "X", "--url", "https://x/", "--kind", "pigeon"), "--kind cannot be 'pigeon'"),
        (("show", "ghost"), "'ghost': `onhook destination list`"),
    ],
)
def test_destination_invalid_option_is_one_sentence(
    onhook: Command, words: tuple[str, ...], expected_text: str
) -> None:
    """On standard error, with what to do."""
    onhook(*ADD)
    code, _, error = onhook("destination", *words)
    assert code in (1, 2)
    assert expected_text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "http://0177.0.0.1/", "http://localhost:8000/"])
@pytest.mark.parametrize("words", [("add", "X"), ("change", "CRM")])
def test_destination_private_address_is_refused(onhook: Command, words: tuple[str, ...], url: str) -> None:
    onhook(*ADD)
    code, _, error = onhook("destination", *words, "--url", url)
    assert code == 2
    assert "not a public address" in error
    assert "http://" not in onhook("destination", "list")[1]


def test_destination_name_without_address_is_a_note(onhook: Command) -> None:
    code, _, error = onhook("destination", "add", "X", "--url", "https://crm.invalid/")
    assert (code, error[:38]) == (0, "Note: crm.invalid has no address now: ")


def test_destination_revoked_permission_is_a_note(onhook: Command) -> None:
    onhook("destination", "add", "X", "--url", "http://127.0.0.1:9/", "--allow-private")
    code, _, error = onhook("destination", "change", "X", "--no-private")
    assert code == 0
    assert "Note: 127.0.0.1 is not a public address" in error


def test_destination_delivery_of_another_destination_is_not_found(onhook: Command, tmp_path: Path) -> None:
    """And stays."""
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
