"""`onhook destination`."""

import asyncio
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import DeliveryCommit, NewDelivery
from onhook.appdb.destination_spec import format_standard_webhooks_secret
from onhook.appdb.destinations import Destination
from onhook.delivery.destinations.recipes import get_recipe
from tests.cli.conftest import Command
from tests.server_certificates import create_server_certificate

ADD = ("destination", "add", "CRM", "--url", "https://crm.example.com/calls")


def _destinations(directory: Path) -> list[Destination]:
    async def read() -> list[Destination]:
        async with AppDb(directory / "onhook-data" / "onhook.db") as appdb:
            return await appdb.destinations.all()

    return asyncio.run(read())


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
    destination = asyncio.run(appdb.destinations.get("crm"))
    asyncio.run(appdb.close())
    assert (destination.timeout_seconds, destination.headers, destination.secrets) == (10.0, {"X-Key": "k"}, 1)
    assert onhook("destination", "remove", "CRM")[0] == 0
    assert onhook("destination", "pause", "CRM")[0] == 1


def test_destination_filter_extra_is_stored(onhook: Command, tmp_path: Path) -> None:
    onhook(*ADD, "--extra", "account_code=4711")
    (destination,) = _destinations(tmp_path)
    assert destination.filter.extra == "account_code=4711"


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (("add", "X", "--url", "https://x/", "--extra", "4711"), "write NAME=VALUE, such as account_code=4711"),
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
def test_destination_private_address_is_refused(
    onhook: Command, tmp_path: Path, words: tuple[str, ...], url: str
) -> None:
    onhook(*ADD)
    code, _, error = onhook("destination", *words, "--url", url)
    assert code == 2
    assert "not a public address" in error
    assert [destination.url for destination in _destinations(tmp_path)] == [ADD[-1]]


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
    number = asyncio.run(appdb.destinations.get("BI")).destination_id
    trouble = NewDelivery(
        notification_id="e",
        seq=1,
        call=("SN", "1.1"),
        body=b'{"type":30012}',
        due_at=1,
        pending_since=1,
        state="failed",
    )
    asyncio.run(appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=number, revision=1, cursors={}, finished_replays=(), new_deliveries=[trouble], updates=(),
            attempts_succeeded=0, attempts_failed=0, failing_since=None, retry_after=0, retry_all_now=False, now_us=1,
        )
    ))  # fmt: skip
    asyncio.run(appdb.close())
    for verb in ("discard", "retry"):
        code, _, error = onhook("destination", verb, "CRM", "--delivery", "1")
        assert code == 1
        assert "has no delivery 1" in error
    assert "failed" in onhook("destination", "deliveries", "BI")[1]
    (tmp_path / "onhook-data" / "ledger.db").touch()
    assert "`onhook destination deliveries BI --state failed`" in onhook("destination", "list")[1]
    assert '"type":30012' in onhook("destination", "delivery", "1")[1]
    assert onhook("destination", "discard", "BI", "--failed")[1] == "1 failed notification is discarded.\n"


def test_destination_change_standard_webhooks_shows_the_secret_in_its_form_once(onhook: Command) -> None:
    secret = onhook(*ADD)[1].rpartition(" ")[2].strip()
    code, out, _ = onhook("destination", "change", "CRM", "--standard-webhooks")
    assert code == 0
    assert format_standard_webhooks_secret(secret) in out
    assert "whsec_" not in onhook("destination", "change", "CRM", "--standard-webhooks")[1]


def test_destination_certificates_are_read_from_a_file_and_removed_by_an_empty_one(
    onhook: Command, tmp_path: Path
) -> None:
    pem = create_server_certificate(tmp_path, "crm.example.com").authority_pem
    (tmp_path / "ca.pem").write_text(pem)
    assert onhook(*ADD, "--ca-file", "ca.pem")[0] == 0
    assert _destinations(tmp_path)[0].ca_certificates == pem
    assert onhook("destination", "change", "CRM", "--ca-file", "", "--fingerprint", "AB:" * 31 + "AB")[0] == 0
    (destination,) = _destinations(tmp_path)
    assert (destination.ca_certificates, destination.fingerprint) == ("", "ab" * 32)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_destination_file_without_certificates_is_refused(onhook: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "ca.pem").write_text(text)
    for file, message in (("ca.pem", "no certificates in PEM"), ("missing.pem", "cannot read certificates")):
        code, _, error = onhook(*ADD, "--ca-file", file)
        assert (code, message in error) == (2, True)


def test_destination_proxy_is_stored_and_never_shown_with_its_password(onhook: Command, tmp_path: Path) -> None:
    code, out, error = onhook(*ADD, "--proxy", "http://onhook:geheim@127.0.0.1:3128")
    assert (code, "geheim" in out + error) == (0, False)
    assert _destinations(tmp_path)[0].proxy == "http://onhook:geheim@127.0.0.1:3128"
    code, out, error = onhook("destination", "change", "CRM", "--proxy", "http://onhook:geheim@x y:3128")
    assert (code, "geheim" in out + error) == (2, False)


def test_destination_test_sample_is_sent(onhook: Command) -> None:
    """To an address without a listener: the result is the command's."""
    onhook("destination", "add", "X", "--url", "http://127.0.0.1:9/", "--allow-private")
    code, out, _ = onhook("destination", "test", "X", "--sample")
    assert (code, out.startswith("Test failed after ")) == (1, True)


def test_destination_of_another_kind_has_its_fields_and_no_new_secret(onhook: Command, tmp_path: Path) -> None:
    """A change of one field keeps the others."""
    address = ("--kind", "postgresql", "--url", "postgresql://onhook@127.0.0.1:9/calls", "--allow-private")
    code, out, error = onhook("destination", "add", "BI", *address, "--schema-name", "pbx", "--secret", "geheimgeheim")
    assert (code, error) == (0, "")
    assert "ecret" not in out
    assert onhook("destination", "change", "BI", "--tls", "off")[0] == 0
    (destination,) = _destinations(tmp_path)
    assert (destination.kind, destination.fields) == ("postgresql", {"schema_name": "pbx", "tls": "off"})
    assert destination.secrets == 1
    code, out, _ = onhook("destination", "test", "BI")
    assert (code, "cannot connect to 127.0.0.1:9: Connection refused" in out) == (1, True)


def test_destination_of_a_recipe_has_its_settings(onhook: Command, tmp_path: Path) -> None:
    words = ("--recipe", "discord", "--url", "http://127.0.0.1:9/api/webhooks", "--allow-private", "--id-pointer", "")
    code, _, error = onhook("destination", "add", "Chat", *words)
    assert (code, error) == (0, "")
    (destination,) = _destinations(tmp_path)
    assert (destination.kind, destination.notifies_of, destination.fields["id_pointer"]) == ("http", "calls", "")
    assert destination.fields["request_path"] == get_recipe("discord").fields["request_path"]
    code, _, error = onhook("destination", "add", "X", "--recipe", "pigeon", "--url", "https://x.example.com/")
    assert (code, "no recipe 'pigeon'" in error, "hubspot" in error) == (2, True, True)


def test_destination_of_templates_keeps_them(onhook: Command, tmp_path: Path) -> None:
    address = ("--kind", "http", "--url", "http://127.0.0.1:9/v1", "--allow-private", "--secret", "geheimgeheim")
    templates = ("--body", '{"to": "{{ call.call_to }}"}', "--header", "X-Key: {{ secret }}", "--id-pointer", "/id")
    code, out, error = onhook("destination", "add", "CRM", *address, *templates)
    assert (code, error, "geheim" in out) == (0, "", False)
    (destination,) = _destinations(tmp_path)
    assert destination.fields == {"body": '{"to": "{{ call.call_to }}"}', "id_pointer": "/id"}
    code, _, error = onhook("destination", "change", "CRM", "--body", "{{ call.nothing }}")
    assert (code, "'nothing' is undefined (body)" in error) == (2, True)


@pytest.mark.parametrize(
    ("words", "expected_text"),
    [
        (("--url", "https://x/"), "postgresql://onhook@db.example.com/calls"),
        (("--url", "postgresql://u:geheim@x/"), "must not contain a password"),
        (("--url", "postgresql://x/", "--notifies-of", "alarms"), "cannot notify of alarms"),
        (("--url", "postgresql://x/", "--schema-name", "a b"), "schema_name"),
        (("--url", "postgresql://x/", "--method", "GET"), "for webhooks only"),
        (("--url", "postgresql://10.0.0.1/"), "--allow-private"),
    ],
)
def test_destination_of_another_kind_with_an_error_says_what_to_do(
    onhook: Command, words: tuple[str, ...], expected_text: str
) -> None:
    code, _, error = onhook("destination", "add", "BI", "--kind", "postgresql", *words)
    assert code == 2
    assert expected_text in error
    assert "geheim" not in error
