"""`onhook doctor`."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from onhook.ledger.sqlite import SqliteLedger
from tests.cli.conftest import Command
from tests.factories import SN
from tests.runtime.harness import ONHOOK, Server, command_environment, wait_until, webhook_body
from tests.test_projector import entry, event


def _lines(text: str, mark: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(mark))


@pytest.mark.slow
def test_doctor_warnings_say_what_to_do(server: Server) -> None:
    """An unknown PBX, one that knows a secret, an invalid signature, an event that cannot be parsed, permissions."""
    server.start()
    server.post(webhook_body(1, sn="3699UNKNOWN"), secret="wrong")
    server.post(webhook_body(1, sn="3699REPLACED"))
    assert server.post(b'{"type":30012,"sn":"3631A2124ABC","msg":"{\\"call_id\\":1}"}') == 200
    (server.directory / "ledger.db").chmod(0o644)
    wait_until(
        lambda: "3699UNKNOWN" in server.run_command("doctor") and "could not be parsed" in server.run_command("doctor")
    )
    # Later than the accepted event, after which the PBX would be in order.
    server.post(webhook_body(1), secret="wrong")
    wait_until(lambda: "an invalid signature" in server.run_command("doctor"))
    looked = _lines(server.run_command("doctor"), "WARNING")
    assert "onhook pbx add NAME --sn 3699UNKNOWN" in looked
    assert "onhook pbx change 3631A2124ABC --add-sn 3699REPLACED" in looked
    assert "an invalid signature" in looked
    assert "onhook quarantine list" in looked
    assert "chmod go=" in looked


READERS = (
    "doctor",
    "calls",
    "records",
    "export calls.csv",
    "quarantine list",
    "pbx list",
    "destination list",
    "coverage",
    "rebuild",
)


@pytest.mark.parametrize("words", READERS)
def test_commands_that_read_create_no_data_file(onhook: Command, tmp_path: Path, words: str) -> None:
    """Without onhook.db beside a ledger with events: an error that says what to do, and nothing is created."""
    data = tmp_path / "onhook-data"
    data.mkdir(mode=0o700)
    asyncio.run(_append_event(data / "ledger.db"))
    code, out, error = onhook(*words.split())
    assert code == 1
    assert "onhook restore" in out + error
    assert sorted(path.name for path in data.iterdir() if path.suffix in {".db", ".duckdb"}) == ["ledger.db"]


def test_doctor_of_a_store_to_be_built_creates_none(onhook: Command, tmp_path: Path) -> None:
    """As after a restore."""
    assert onhook("pbx", "add", "Office", "--sn", SN, "--secret", "0123456789abcdef")[0] == 0
    asyncio.run(_append_event(tmp_path / "onhook-data" / "ledger.db"))
    code, out, _ = onhook("doctor")
    assert "calls.duckdb does not exist yet: `onhook serve` builds it from the ledger" in _lines(out, "OK")
    assert not (tmp_path / "onhook-data" / "calls.duckdb").exists()
    assert code in (0, 1)  # the ports may be in use


@pytest.mark.slow
def test_serve_without_its_settings_says_so(server: Server) -> None:
    """On its output, on the page, in the API and by `doctor`."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    server.stop()
    for path in filter(Path.is_file, server.directory.glob("onhook.db*")):
        path.unlink()
    server.start()
    wait_until(lambda: "ERROR: the settings are lost" in server.log_text())
    assert "onhook pbx add Office --sn SERIAL" not in server.log_text().rpartition("Onhook is running")[2]
    assert "the settings are lost" in _lines(server.run_command("doctor", exit_code=1), "ERROR")


@pytest.mark.slow
def test_doctor_server_that_lost_a_file_is_an_error(server: Server) -> None:
    """The server names the file; one that was stopped in order is a warning."""
    server.start()
    server.stop()
    assert "no server is running" in _lines(server.run_command("doctor"), "WARNING")
    server.start()
    wait_until(lambda: server.log_text().count("Onhook is running") == 2)
    (server.directory / "onhook.db").unlink()
    assert server.process is not None
    assert server.process.wait(30) == 1
    server.process = None
    assert "(onhook.db); the server has stopped" in server.log_text()
    assert "has ended without being stopped" in _lines(server.run_command("doctor", exit_code=1), "ERROR")


@pytest.mark.slow
def test_doctor_error_fails(onhook: Command, server: Server) -> None:
    """A port in use, a damaged database."""
    server.start()
    Path("onhook.toml").write_text(f'intake = "{server.address("intake")}"\nconsole = "127.0.0.1:0"\n')
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 0
    assert "does not exist yet" in out
    Path("empty").mkdir(mode=0o700)
    (Path("empty") / "onhook.db").write_bytes(b"\xff" * 4096)
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 1
    assert "could not listen" in _lines(out, "ERROR")
    assert "onhook restore" in _lines(out, "ERROR")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["doctor", "calls", "rebuild", "backup copy", "restore copy", "pbx list"])
@pytest.mark.parametrize("closed", ["data", "data/ledger.db", "."])
def test_commands_without_permission_print_one_sentence(
    server: Server, tmp_path: Path, words: str, closed: str
) -> None:
    """On the data directory, the ledger, the directory above: never an internal error."""
    directory = tmp_path / "above" / "data"
    shutil.copytree(server.directory, directory)
    (directory / "ledger.db").touch()
    path = (tmp_path / "above" / closed).resolve()
    path.chmod(0)
    result = subprocess.run(
        [*_without_power(), str(ONHOOK), *words.split(), "--data", str(directory)],
        cwd=tmp_path,
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    path.chmod(0o700)
    if words == "doctor":
        assert (result.returncode, result.stderr) == (1, "")
        assert _lines(result.stdout, "ERROR")
    elif (words, closed) == ("pbx list", "data/ledger.db"):
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode in (1, 2)
        assert result.stderr.count("\n") == 1
    assert "internal error" not in result.stderr
    assert not (tmp_path / "copy").exists()


async def _append_event(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.append([entry(event(1, "1001"))])
    await ledger.close()


def _without_power() -> list[str]:
    """Return the command that removes root's permission to read everything."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root can read everything, and there is no setpriv: install util-linux")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
