"""`onhook doctor`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.runtime.harness import ONHOOK, Server, wait_until, webhook_body


def _lines(text: str, mark: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith(mark))


def test_a_sound_house_has_nothing_wrong(server: Server) -> None:
    """Every line of a running server is right."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    out = server.run_command("doctor")
    assert (_lines(out, "ERROR"), _lines(out, "WARNING")) == ("", "")
    assert all(
        word in out for word in ("the intake runs", "the hub runs", "every report could be read", "disk are free")
    )


def test_what_is_not_right_is_told_with_what_to_do(server: Server) -> None:
    """A stranger, a wrong signature, an unreadable report, rights that are too wide."""
    server.start()
    server.post(webhook_body(1, sn="3699STRANGER"))
    server.post(webhook_body(1), secret="wrong")
    assert server.post(b'{"type":30012,"sn":"3631A2124ABC","msg":"{\\"call_id\\":1}"}') == 200
    (server.directory / "ledger.db").chmod(0o644)
    wait_until(
        lambda: "3699STRANGER" in server.run_command("doctor") and "could not be read" in server.run_command("doctor")
    )
    looked = _lines(server.run_command("doctor"), "WARNING")
    assert "onhook pbx add NAME --sn 3699STRANGER" in looked
    assert "a wrong signature" in looked
    assert "onhook quarantine list" in looked
    assert "chmod go=" in looked


def test_what_keeps_it_from_working_fails(onhook: Command, server: Server) -> None:
    """A port in use, damaged settings."""
    server.start()
    Path("onhook.toml").write_text(f'intake = "{server.address("intake")}"\nconsole = "127.0.0.1:0"\n')
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 0
    assert "no data directory" in out
    Path("empty").mkdir(mode=0o700)
    (Path("empty") / "onhook.db").write_bytes(b"\xff" * 4096)
    code, out, _ = onhook("doctor", "--data", "empty")
    assert code == 1
    assert "could not listen" in _lines(out, "ERROR")
    assert "onhook restore" in _lines(out, "ERROR")


@pytest.mark.parametrize("words", ["doctor", "calls", "rebuild", "backup copy", "restore copy", "pbx list"])
@pytest.mark.parametrize("closed", ["data", "data/ledger.db", "."])
def test_what_one_may_not_use_gets_a_sentence(server: Server, tmp_path: Path, words: str, closed: str) -> None:
    """The data directory, the ledger, the directory above: never an error that should not have happened."""
    directory = tmp_path / "above" / "data"
    shutil.copytree(server.directory, directory)
    (directory / "ledger.db").touch()
    path = (tmp_path / "above" / closed).resolve()
    path.chmod(0)
    done = subprocess.run(
        [*_without_power(), str(ONHOOK), *words.split(), "--data", str(directory)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    path.chmod(0o700)
    if words == "doctor":
        assert (done.returncode, done.stderr) == (1, "")
        assert _lines(done.stdout, "ERROR")
    elif (words, closed) == ("pbx list", "data/ledger.db"):
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") == 1
    assert "should not have happened" not in done.stderr
    assert not (tmp_path / "copy").exists()


def _without_power() -> list[str]:
    """What takes from root the right to read everything."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to take that away: install util-linux")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
