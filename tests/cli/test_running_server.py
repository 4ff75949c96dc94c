"""Commands beside a running server, which answers them. The tests share one, in this order."""

import http.client
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.config import parse_address
from onhook.lib.text import UNKNOWN
from tests.cli.conftest import Command
from tests.cli.test_calls import FILTERS
from tests.cli.test_sql import QUERY
from tests.runtime.harness import SECRET, Server, create_server, wait_until, webhook_body


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server with one PBX and one call."""
    with create_server(tmp_path_factory.mktemp("running") / "data") as server:
        server.add_pbx()
        server.start()
        assert server.post(webhook_body(1)) == 200
        wait_until(lambda: len(server.calls()) == 1)
        yield server


@pytest.fixture
def ask(running_server: Server, onhook: Command) -> Command:
    """Return the command line with the data directory of the running server."""
    return lambda *words: onhook(*words, "--data", str(running_server.directory))


def lines(text: str, mark: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(mark))


def test_doctor_has_no_error(ask: Command) -> None:
    code, out, _ = ask("doctor")
    assert (code, lines(out, "ERROR"), lines(out, "WARNING")) == (0, "", "")
    assert all(
        word in out
        for word in ("the intake is running", "the hub is running", "all events were parsed", "disk space are free")
    )


def test_calls_filters_are_those_of_the_api(ask: Command) -> None:
    for option, value, is_match in FILTERS:
        code, out, error = ask("calls", option, value, "--format", "json")
        assert (code, len(json.loads(out))) == (0, is_match), (option, value, error)
    assert ask("calls", "--min-wait-duration", "long")[0] == 2


def test_sql_is_answered_with_the_age_of_the_data(ask: Command) -> None:
    code, out, error = ask("sql", "SELECT 1 AS number, NULL AS nothing")
    assert (code, out.split()) == (0, ["number", "nothing", "1", UNKNOWN])
    assert "seconds old" in error
    wait_until(lambda: json.loads(ask("sql", QUERY, "--format", "json")[1])["data"] != [])
    printed = ask("sql", QUERY, "--format", "csv")[1]
    assert printed.splitlines() == ["call_from,call_to,talk_duration", "1001,1002,20"]
    code, _, error = ask("sql", "SELECT * FROM quarantine")
    assert (code, "there is no table 'quarantine'" in error) == (2, True)


def test_export_is_complete(ask: Command, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    assert ask("export", str(path))[0] == 0
    assert len(path.read_text().splitlines()) == 2


def test_quarantine_hint_is_a_command(ask: Command) -> None:
    code, _, error = ask("quarantine", "retry", "999999")
    assert (code, "`onhook quarantine list`" in error) == (1, True)


def test_token_has_effect_at_once(ask: Command, running_server: Server) -> None:
    """As soon as it is added, until it is removed."""
    text = ask("token", "add", "wallboard")[1].strip()
    assert _status(running_server, text) == 200
    ask("token", "remove", "wallboard")
    assert _status(running_server, text) == 401


def _status(server: Server, token: str) -> int:
    address = parse_address(server.address("hub"), "running.json")
    connection = http.client.HTTPConnection(address.host, address.port, timeout=10)
    connection.request("GET", "/api/v1/records", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_simulate_unknown_pbx_prints_what_to_do(onhook: Command, running_server: Server) -> None:
    """After the figures, where every response is 401."""
    url, secret = f"http://{running_server.address('intake')}/", "a secret of no registered PBX"
    few = ("--count", "2", "--start", "2026-04-01")
    code, out, error = onhook("simulate", "--to", url, "--sn", "3699UNKNOWN", "--secret", secret, *few)
    assert (code, "responses  6 x 401" in out, error.count("\n")) == (1, True, 1)
    assert "onhook pbx add NAME --sn 3699UNKNOWN" in error
    assert secret not in error


def test_doctor_bundle_has_what_a_bug_report_needs_and_no_secret(
    ask: Command, running_server: Server, tmp_path: Path
) -> None:
    """Whatever was logged: the last lines are in the data directory, also where stderr goes nowhere."""
    signing_secret = "geheim-geheim-geheim"
    options = ("--allow-private", "--secret", signing_secret)
    assert ask("destination", "add", "CRM", "--url", "http://127.0.0.1:9/?key=hush", *options)[0] == 0
    token = (running_server.directory / "admin.token").read_text().strip()
    with (running_server.directory / "hub.log").open("a") as log:
        log.write(f'{{"event":"careless","text":"{SECRET} {token} {signing_secret} +49 30901820 to 1001"}}\n')
    path = tmp_path / "bundle.zip"
    assert ask("doctor", "--bundle", str(path))[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"versions.json", "checks.txt", "settings.json", "files.json", "onhook.db.sql", "store.sql"} <= texts.keys()
    assert "careless" in texts["hub.log"]
    assert "CREATE TABLE pbxs" in texts["onhook.db.sql"]
    assert json.loads(texts["versions.json"])["duckdb"]
    for secret in (SECRET, token, signing_secret, "hush", "30901820", "1001"):
        masked_names = ("checks.txt", "settings.json", "hub.log")
        assert [name for name in masked_names if secret in texts[name]] == []
    code, _, error = ask("doctor", "--bundle", str(path))
    assert (code, "choose another file" in error) == (1, True)
