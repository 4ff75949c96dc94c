"""Commands that read a server over the network, by its address and a token."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.cli import server_url
from tests.cli.conftest import Command
from tests.runtime.harness import Server, call_id, wait_until, webhook_body


@pytest.fixture(autouse=True)
def forget_server() -> Iterator[None]:
    """A command ends its process; here the next one is in the same."""
    yield
    server_url._SERVER.set(None)


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    (tmp_path / "token").write_text("token-of-a-reader\n")
    return str(tmp_path / "token")


@pytest.mark.slow
def test_calls_of_a_server_are_read_by_its_address_and_a_token(server: Server, onhook: Command, tmp_path: Path) -> None:
    """There is no data directory here."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: bool(server.calls()))
    url, admin_token = f"http://{server.address('hub')}", str(server.directory / "admin.token")
    code, output, _error = onhook(
        "--url", url, "--token-file", admin_token, "calls", "--pbx", "Office", "--format", "json"
    )
    assert (code, [call["call_id"] for call in json.loads(output)]) == (0, [call_id(1)])
    assert onhook("--url", url, "--token-file", admin_token, "export", str(tmp_path / "calls.csv"))[0] == 0
    assert call_id(1) in (tmp_path / "calls.csv").read_text()
    (tmp_path / "wrong").write_text("wrong")
    assert onhook("--url", url, "--token-file", str(tmp_path / "wrong"), "records")[0] == 1
    assert not (tmp_path / "onhook-data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("backup", "copy"), "a server answers only the commands calls, export, quarantine, records, sql"),
        (("pbx", "list"), "run the others on a machine of the installation"),
    ],
)
def test_command_that_no_server_answers_is_refused(
    onhook: Command, token_file: str, arguments: tuple[str, ...], message: str
) -> None:
    code, _output, error = onhook("--url", "https://calls.example.com", "--token-file", token_file, *arguments)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    "url", ["", "calls.example.com", "ftp://calls.example.com", "https://a:b@c/", "https://c/x", "https://c:0"]
)
def test_address_that_is_none_of_a_console_is_refused(onhook: Command, token_file: str, url: str) -> None:
    code, _output, error = onhook("--url", url, "--token-file", token_file, "calls")
    assert code == 2
    assert "is not the address of a console" in error


def test_address_without_a_token_is_refused(onhook: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for options in ((), ("--token-file", "missing"), ("--token-file", "empty")):
        code, _output, error = onhook("--url", "https://calls.example.com", *options, "calls")
        assert code == 2
        assert "there is no token in the file" in error


def test_certificate_of_a_server_is_verified() -> None:
    server = server_url.ServerUrl(url="https://calls.example.com", token="t")
    connection = server.connect(1.0)
    context = connection._context  # type: ignore[attr-defined] # it has no public name
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
