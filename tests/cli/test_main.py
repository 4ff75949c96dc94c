"""The command line as a whole: errors, help, interruptions."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onhook.cli.main import COMMANDS, load_command
from onhook.ops.instance_lock import START_SECONDS_MAX
from tests.cli.conftest import Command
from tests.cli.test_import_file import OF_THE_PAGE, write_csv
from tests.runtime.harness import ONHOOK, SECRET, SN, Server, command_environment, wait_until

PBX = ("--sn", "3631A2124ABC", "--secret", "0123456789abcdef")

MISTAKES: list[tuple[str, ...]] = [
    ("nonsense",),
    ("--nonsense",),
    ("pbx",),
    ("pbx", "nonsense"),
    ("pbx", "add"),
    ("pbx", "add", "Office"),
    ("pbx", "add", "Office", "--sn", "3631A2124ABC"),
    ("pbx", "add", "Office", "--sn", "36 31", "--secret", "x"),
    ("pbx", "add", "", *PBX),
    ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "7 chars"),
    ("calls", "--number", "\udcff\udcfe"),
    ("calls", "--data", "/etc/passwd"),
    ("calls", "--data", "/etc/passwd/x"),
    ("serve", "--data", "/etc/passwd"),
    ("doctor", "--data", "/etc/passwd"),
    ("calls", "--data", "~nosuchuser/x"),
    ("quarantine", "retry", str(2**64)),
    ("quarantine", "show", str(2**64)),
    ("serve", "--intake", "a..b:31801"),
    ("serve", "--console", "x" * 300 + ":31801"),
    ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", ""),
    ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "x" * 257),
    ("pbx", "add", "Office", *PBX, "--unsigned"),
    ("pbx", "add", "Office", *PBX, "--zone", "Mars/Olympus"),
    ("pbx", "add", "Office", *PBX, "--ivr", "6299-6200"),
    ("pbx", "add", "Office", *PBX, "--queue", "many"),
    ("pbx", "add", "Office", *PBX, "--secret-file", "secret.txt"),
    ("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret-file", "missing.txt"),
    ("pbx", "change", "Office"),
    ("pbx", "secret", "add", "Office"),
    ("pbx", "secret", "remove", "Office", "first"),
    ("calls", "--limit", "0"),
    ("calls", "--limit", "many"),
    ("calls", "--format", "xml"),
    ("calls", "extra"),
    ("calls", "--zone", "Mars/Olympus"),
    ("calls", "--number", ""),
    ("records", "--nonsense", "1"),
    ("export",),
    ("export", "calls"),
    ("export", "calls.pdf"),
    ("export", "nowhere/calls.csv"),
    ("quarantine", "show"),
    ("quarantine", "show", "0"),
    ("quarantine", "show", "first"),
    ("quarantine", "retry"),
    ("quarantine", "retry", "1", "--all"),
    ("simulate",),
    ("simulate", "--to", "nowhere", "--sn", "1"),
    ("simulate", "--to", "http://127.0.0.1:1/", "--sn", "1", "--payload-format", "p-1999"),
    ("simulate", "--to", "http://127.0.0.1:1/", "--sn", "1", "--faults", "nonsense=1"),
    ("simulate", "--to", "http://127.0.0.1:1/", "--sn", "1", "--duplicates", "2"),
    ("simulate", "--to", "http://127.0.0.1:1/", "--sn", "1", "--rate", "-1"),
    ("simulate", "--to", "http://127.0.0.1:1/", "--sn", "1", "--start", "someday"),
    ("token", "add"),
    ("token", "add", "wallboard", "--role", "king"),
    ("backup",),
    ("restore",),
    ("serve", "--intake", "nowhere"),
    ("serve", "--intake", "127.0.0.1:99999"),
    ("serve", "--console", "192.0.2.1:8030", "--console-open"),
    ("serve", "--zone", "Mars/Olympus"),
    ("serve", "--data", "/proc/nowhere"),
    ("intake", "--intake", "30012"),
]


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_main_usage_error_is_one_sentence_and_code_2(onhook: Command, words: tuple[str, ...]) -> None:
    """On standard error, and nothing on standard output."""
    code, out, error = onhook(*words)
    assert (code, out) == (2, "")
    assert error.startswith("onhook: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


OUT_OF_RANGE: list[tuple[str, str]] = [
    ("calls --format xml", "--format cannot be 'xml': write table, json or csv: see `onhook calls --help`"),
    ("calls --limit abc", "--limit cannot be 'abc': write a whole number: see `onhook calls --help`"),
    ("calls --limit 0", "--limit cannot be '0': write 1 or more: see `onhook calls --help`"),
    ("quarantine show first", "SEQ cannot be 'first': write a whole number: see `onhook quarantine show --help`"),
    (
        f"quarantine show {2**63}",
        f"SEQ cannot be '{2**63}': write {2**63 - 1} or less: see `onhook quarantine show --help`",
    ),
    (
        "token add wallboard --role king",
        "--role cannot be 'king': write administrator, annotator or reader: see `onhook token add --help`",
    ),
    ("simulate --to x --sn 1 --rate fast", "--rate cannot be 'fast': write a number: see `onhook simulate --help`"),
    ("quarantine retry", "no event is named: give the numbers of events, or --all"),
    ("quarantine retry 1 --all", "both numbers and --all are given: leave one of the two out"),
    ("pbx secret add Office", "no secret is given: give it with --secret or --secret-file"),
]


@pytest.mark.parametrize(("words", "sentence"), OUT_OF_RANGE, ids=str)
def test_main_usage_error_has_no_text_of_a_library(onhook: Command, words: str, sentence: str) -> None:
    """It has the value, and the possible ones."""
    assert onhook(*words.split()) == (2, "", f"onhook: {sentence}\n")


MISSING: list[tuple[str, ...]] = [
    ("calls",),
    ("records", "--format", "csv"),
    ("export", "calls.csv"),
    ("quarantine", "list"),
    ("rebuild",),
    ("backup", "copy"),
    ("restore", "copy"),
    ("pbx", "remove", "Office"),
    ("pbx", "change", "Office", "--zone", "UTC"),
    ("pbx", "list"),
    ("pbx", "secret", "remove", "Office", "1"),
    ("token", "list"),
    ("token", "remove", "wallboard"),
]


@pytest.mark.parametrize("words", MISSING, ids=" ".join)
def test_main_missing_data_is_one_sentence_and_code_1(onhook: Command, words: tuple[str, ...]) -> None:
    """And no output file is left."""
    code, out, error = onhook(*words)
    assert (code, out) == (1, "")
    assert error.startswith("onhook: ")
    assert error.count("\n") == 1
    assert not list(Path().glob("calls.csv*"))
    if words[0] not in ("rebuild", "backup", "restore"):
        assert "there is no data yet" in error
        assert not Path("onhook-data").exists()


def test_main_unknown_setting_is_named(onhook: Command) -> None:
    """In the file as in the environment."""
    Path("onhook.toml").write_text('consol = "127.0.0.1:1"\n')
    code, _, error = onhook("calls")
    assert code == 2
    assert "unknown setting 'consol' (onhook.toml)" in error
    Path("onhook.toml").write_text("console = \n")
    assert onhook("calls")[0] == 2


def test_main_without_a_command_prints_help(onhook: Command) -> None:
    """All commands."""
    code, out, _ = onhook()
    assert code == 0
    assert all(word in out for word in ("serve", "pbx", "records", "doctor", "Example: onhook serve --demo"))


def test_version_command_and_option_print_the_same(onhook: Command) -> None:
    code, text, error = onhook("--version")
    assert (code, error) == (0, "")
    assert text.startswith("onhook ")
    assert onhook("version") == (0, text, "")


def test_serve_imports_no_store() -> None:
    """Commands are imported lazily."""
    script = (
        "import sys, onhook.cli.main, onhook.cli.serve; print(*{'duckdb', 'pyarrow', 'litestar'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize("words", ["token list", "pbx list", "records --format json", "records --format csv", "calls"])
def test_main_closed_pipe_is_no_failure(server: Server, words: str) -> None:
    """`onhook records | true` ends silently."""
    (server.directory / "ledger.db").touch()
    result = subprocess.run(
        ["bash", "-c", f"(sleep 0.2; {ONHOOK} {words} --data {server.directory}; echo $? >&2) | true"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert result.stderr.split() == ["0"]


@pytest.mark.slow
def test_serve_ctrl_c_stops_the_server(server: Server) -> None:
    """Exit code 0, and no traceback."""
    server.start()
    assert server.process is not None
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    server.process = None
    assert "Traceback" not in server.log_text()


@pytest.mark.slow
def test_simulate_ctrl_c_stops_and_prints_the_result(server: Server) -> None:
    server.start()
    words = ["simulate", "--to", f"http://{server.address('intake')}/", "--sn", SN, "--secret", SECRET, "--rate", "50"]
    simulating = subprocess.Popen([str(ONHOOK), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(server.calls()) > 0)
    finally:
        simulating.send_signal(signal.SIGINT)
        out, error = simulating.communicate(timeout=30)
    assert "acknowledged" in out
    assert (simulating.returncode, error) == (0, "")


@pytest.mark.slow
def test_main_ctrl_c_ends_a_command_with_130(server: Server, tmp_path: Path) -> None:
    """Silently; here one that waits for a secret from a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = [str(ONHOOK), "pbx", "secret", "add", "Office", "--secret-file", str(pipe), "--data", str(server.directory)]
    waiting = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with pipe.open("w"):  # returns when the command has opened its end
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=30) == (b"", b"")
    assert waiting.returncode == 130


def test_main_traceback_is_printed_with_onhook_trace(onhook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an internal error, and for no other."""
    monkeypatch.setenv("ONHOOK_TRACE", "true")
    code, _, error = onhook("pbx", "remove", "unknown")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("onhook: there is no data yet")
    monkeypatch.setattr("onhook.cli.main.typer.main.get_command", _fail)
    code, _, error = onhook("pbx", "list")
    assert code == 1
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("onhook: internal error (ZeroDivisionError")


@pytest.mark.parametrize("text", ["[" * 20_000, "trace = [", 'data = "a\\u0000b"'])
def test_main_error_handler_does_not_fail(onhook: Command, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Whatever the settings are, there is one sentence."""
    Path("onhook.toml").write_text(text)
    assert onhook("calls")[0] == 2
    monkeypatch.setattr("onhook.cli.main.typer.main.get_command", _fail)
    code, _, error = onhook("calls")
    assert (code, error.count("\n")) == (1, 1)


def _fail(_: object) -> None:
    raise ZeroDivisionError


STREAMS: list[tuple[str, int]] = [
    ("calls > /dev/full", 1),
    ("calls --format json > /dev/full", 1),
    ("calls --format csv > /dev/full", 1),
    ("version > /dev/full", 1),
    ("--help > /dev/full", 1),
    ("calls >&-", 2),
    ("version >&-", 2),
    ("calls <&-", 0),
    ("calls 2>&-", 0),
    ("calls --number $'\\xff\\xfe'", 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), STREAMS, ids=str)
def test_main_output_that_cannot_be_written_is_one_sentence(
    server: Server, tmp_path: Path, words: str, code: int
) -> None:
    """A full disk, a closed stream, arguments that are not text."""
    file = write_csv(tmp_path / "calls.csv", list(OF_THE_PAGE), list(OF_THE_PAGE.values()))
    server.run_command("import", str(file), "--pbx", "Office")
    result = _shell(server, words)
    assert result.returncode == code
    assert result.stderr.count("\n") == (1 if code else 0)
    assert "internal error" not in result.stderr


@pytest.mark.slow
def test_main_ascii_terminal_gets_replacements(server: Server) -> None:
    server.run_command("pbx", "add", "Zürich", "--sn", "3631A2124DEF", "--unsigned")
    result = _shell(server, "pbx list", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Z?rich" in result.stdout


def _shell(server: Server, words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{ONHOOK} {words}"],
        env=command_environment(server.directory) | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.slow
def test_serve_sign_in_link_is_printed_on_a_terminal_only(server: Server) -> None:
    """The token is not in redirected output."""
    terminal, screen = pty.openpty()
    words = [
        str(ONHOOK),
        "serve",
        "--intake",
        "127.0.0.1:0",
        "--console",
        "127.0.0.1:0",
        "--data",
        str(server.directory),
    ]
    server.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)
    output = b""
    while b"Registered PBXs: 1" not in output:
        assert select.select([terminal], [], [], START_SECONDS_MAX)[0], output
        output += os.read(terminal, 4096)
    token = (server.directory / "admin.token").read_text().strip()
    assert f"/sign-in?token={token}".encode() in output
    os.close(screen)


@pytest.mark.slow
def test_token_link_signs_in_where_the_output_of_serve_is_redirected(server: Server) -> None:
    """The output of serve names the command that prints the link."""
    server.start()
    wait_until(lambda: "Console" in server.log_text())
    words = next(line for line in server.log_text().splitlines() if "Console" in line).split("`")[1].split()
    result = server.execute(*words[1:3])
    token = (server.directory / "admin.token").read_text().strip()
    assert result.stdout == f"http://{server.address('hub')}/sign-in?token={token}\n"
    assert token not in server.log_text()
    server.stop()
    assert "onhook serve" in server.execute(*words[1:3]).stderr


def _helps(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the words of a command, and of all below it."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from _helps(below, (*words, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_list_of_commands_says_what_the_help_says(name: str) -> None:
    """The list is printed without importing the commands."""
    text = " ".join(load_command(name).help.split())
    assert text.startswith(COMMANDS[name].summary.rstrip("."))


def test_help_imports_no_command() -> None:
    script = "import sys; sys.argv[1:] = ['--help']; from onhook.cli.main import main; main(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    imported = {name for name in modules.stdout.split() if name.startswith("onhook.cli.")}
    assert imported == {"onhook.cli.main", "onhook.cli.plain_values"}


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_imports_neither_options_nor_engines(word: str) -> None:
    script = f"import sys; sys.argv[1:] = [{word!r}]; from onhook.cli.entry import main; main(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert {"typer", "msgspec", "asyncio", "duckdb", "onhook.config"}.isdisjoint(modules.stdout.split())


def test_reading_by_the_server_imports_no_engine() -> None:
    """Commands for calls ask the server, while it runs."""
    script = "import sys, onhook.cli.calls, onhook.cli.via_server; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert {"duckdb", "litestar", "aiohttp", "phonenumbers", "onhook.appdb.appdb"}.isdisjoint(modules.stdout.split())


def test_calls_parses_its_options_without_pydantic(tmp_path: Path) -> None:
    arguments = ["calls", "--data", str(tmp_path), "--limit", "5", "--format", "json", "--since", "today"]
    script = f"import sys; sys.argv[1:] = {arguments!r}; from onhook.cli.main import main; main(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert "there is no data yet" in modules.stderr
    assert "pydantic" not in modules.stdout.split()


@pytest.mark.slow
def test_help_default_is_written_without_parentheses(onhook: Command) -> None:
    """Of every command: Typer writes a text default as `[default: (all)]`."""
    all_words = [words for name in COMMANDS for words in _helps(load_command(name), (name,))]
    helps = {words: onhook(*words, "--help")[1] for words in all_words}
    assert "[default: 0.0.0.0:30012]" in " ".join(helps["serve",].replace("│", " ").split())
    assert [words for words, text in helps.items() if "[default: (" in " ".join(text.replace("│", " ").split())] == []
