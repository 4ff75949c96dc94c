"""Processes of the server, running and killed."""

import contextlib
import json
import os
import signal
import sqlite3
import stat
from pathlib import Path

import duckdb
import pytest

from onhook.simulator.office_plan import DEMO_HISTORY_CALLS
from tests.runtime.harness import SN, Server, call_id, call_ids, wait_until, webhook_body


def test_serve_call_is_stored_and_listed(server: Server) -> None:
    """A signed event is answered 200 and shown by `onhook calls`, with the server and without it."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: call_ids(server.calls()) == [call_id(1)])
    while_it_ran = server.calls()
    assert server.stop() == 0
    assert server.calls() == while_it_ran
    assert not (server.directory / "running.json").exists()


@pytest.mark.slow
def test_serve_process_that_ends_on_a_full_disk_is_restarted(server: Server) -> None:
    """Though its addresses cannot be written: the log says so, and events are stored."""
    server.start()
    (server.directory / "running.json.part").mkdir()
    server.kill("intake")
    wait_until(lambda: "cannot write running.json" in server.log_text())
    answers: list[int] = []

    def is_kept() -> bool:
        with contextlib.suppress(OSError):
            answers.append(server.post(webhook_body(1)))
        return answers == [200]

    wait_until(is_kept)


@pytest.mark.slow
def test_serve_pbx_added_while_running_is_accepted_at_once(server: Server) -> None:
    """The first event after `onhook pbx add` is stored, and the first after `remove` is rejected."""
    server.start()
    body = webhook_body(1, sn="3631A2124DEF")
    assert server.post(body, secret="another one") == 401
    server.run_command("pbx", "add", "Branch", "--sn", "3631A2124DEF", "--secret", "another one")
    assert server.post(body, secret="another one") == 200
    server.run_command("pbx", "secret", "add", "Branch", "--secret", "a newer one")
    assert server.post(body, secret="a newer one") == 200
    server.run_command("pbx", "remove", "Branch")
    assert server.post(body, secret="another one") == 401
    assert server.post(webhook_body(2)) == 200


@pytest.mark.slow
def test_serve_receiver_works_while_the_hub_is_down(server: Server) -> None:
    """The hub is restarted and processes what was acknowledged meanwhile."""
    server.start()
    for number in range(1, 4):
        server.kill("hub")
        assert server.post(webhook_body(number)) == 200
    wait_until(lambda: server.address("hub") is not None)
    wait_until(lambda: call_ids(server.calls()) == [call_id(1), call_id(2), call_id(3)])


@pytest.mark.slow
def test_serve_killed_receiver_is_restarted_on_its_port(server: Server) -> None:
    server.start()
    address = server.address("intake")
    server.kill("intake")
    wait_until(lambda: _is_answered(server, 1, address))


@pytest.mark.slow
def test_serve_killed_supervisor_stops_all_processes(server: Server) -> None:
    """And another start finds everything free."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    pids = [part["pid"] for name in ("intake", "hub") if (part := server.process_info(name))]
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not any(_lives(pid) for pid in pids))
    (server.directory / "running.json").unlink()
    server.start()
    assert call_ids(server.calls()) == [call_id(1)]


@pytest.mark.slow
def test_serve_second_server_gets_one_sentence(server: Server) -> None:
    """One data directory has one server."""
    server.start()
    second = server.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert second.returncode == 2
    assert second.stderr.startswith("onhook: a server is already running on this data directory (process ")
    assert second.stderr.count("\n") == 1
    (server.directory.parent / "copy").mkdir()
    label = '{"made_at":"2026-04-27T00:00:00Z","files":["ledger.db"]}'
    (server.directory.parent / "copy" / "backup.json").write_text(label)
    sqlite3.connect(server.directory.parent / "copy" / "ledger.db").close()
    assert "already running" in server.execute("restore", str(server.directory.parent / "copy"), "--replace").stderr
    assert (server.directory / "running.json").exists()
    assert server.calls() == []


@pytest.mark.slow
def test_serve_port_in_use_gets_one_sentence(server: Server, tmp_path: Path) -> None:
    """Of the receiver and of the console."""
    server.start()
    for name, part in (("intake", "intake"), ("console", "hub")):
        other = {"intake": "127.0.0.1:0", "console": "127.0.0.1:0", name: server.address(part) or ""}
        second = server.execute(
            "serve", "--data", str(tmp_path / name), "--intake", other["intake"], "--console", other["console"]
        )
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "in use" in second.stderr


@pytest.mark.slow
def test_serve_damaged_store_delays_no_event(server: Server) -> None:
    """The receiver works; the log says in one sentence what helps, and it helps, without a restart."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    server.stop()
    (server.directory / "calls.duckdb").write_bytes(b"this is no store" * 1_000)
    server.directory.joinpath("calls.duckdb.wal").unlink(missing_ok=True)
    server.start(ready_process="intake")
    wait_until(lambda: "onhook rebuild" in server.log_text())
    assert server.post(webhook_body(2)) == 200
    server.run_command("rebuild")
    # A hub that found the damage ends first.
    wait_until(lambda: server.execute("calls", "--limit", "1").returncode == 0)
    wait_until(lambda: call_ids(server.calls()) == [call_id(1), call_id(2)])


@pytest.mark.slow
def test_rebuild_gives_the_same_calls(server: Server) -> None:
    """While the server runs and without it."""
    server.start()
    for number in range(20):
        assert server.post(webhook_body(number)) == 200
    wait_until(lambda: len(server.calls()) == 20)
    before = server.calls()
    part = server.process_info("hub")
    server.run_command("rebuild")
    wait_until(lambda: server.process_info("hub") not in (None, part))
    assert server.calls() == before
    server.stop()
    server.run_command("rebuild")
    assert server.calls() == before


@pytest.mark.slow
def test_serve_removed_data_directory_ends_the_server(server: Server) -> None:
    """No event is answered 200 that is not stored; the error says what to do."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    address = server.address("intake")
    server.directory.rename(server.directory.with_name("away"))
    with contextlib.suppress(OSError):
        assert server.post(webhook_body(2), address_text=address) == 503
    assert server.process is not None
    assert server.process.wait(30) == 1
    server.process = None
    last = server.log_text().rstrip().splitlines()[-1]
    assert last.startswith("onhook: the data directory, or a file in it, was removed while the server was running")
    server.directory.with_name("away").rename(server.directory)
    assert call_id(1) in call_ids(server.calls())


@pytest.mark.slow
def test_serve_demo_makes_calls(server: Server) -> None:
    """A simulated PBX is registered and posts signed webhooks like any other."""
    server.start("--demo")
    wait_until(lambda: len(server.calls()) > 100)
    assert "Demo office" in server.run_command("pbx", "list")
    wait_until(lambda: len(server.calls()) >= DEMO_HISTORY_CALLS)
    server.stop()
    before = len(server.calls())
    server.start("--demo")
    wait_until(lambda: len(server.calls()) > before)
    assert len(server.calls()) < before + DEMO_HISTORY_CALLS / 4


@pytest.mark.slow
def test_serve_log_contains_no_secret(server: Server) -> None:
    """Neither a PBX's secret nor the administrator's token."""
    server.start()
    server.post(webhook_body(1))
    server.post(webhook_body(1), secret="wrong")
    server.kill("hub")
    wait_until(lambda: "exited, restarting" in server.log_text())
    token = (server.directory / "admin.token").read_text().strip()
    assert token
    assert token not in server.log_text()
    assert "0123456789abcdef" not in server.log_text()
    assert SN not in server.log_text()


@pytest.mark.slow
def test_serve_data_directory_is_for_its_owner_alone(server: Server) -> None:
    """Mode 0700, as for directories and sockets inside, and 0600 for every file."""
    server.start()
    paths = [server.directory, *server.directory.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {path: 0o600 if path.is_file() else 0o700 for path in modes}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ledger.db", "onhook.db"])
def test_serve_unreadable_database_ends_with_its_error(server: Server, name: str) -> None:
    """No banner, no process left, exit code 1."""
    for path in server.directory.glob(f"{name}*"):
        path.unlink()
    (server.directory / name).mkdir()
    result = server.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (result.returncode, result.stdout) == (1, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("onhook: ")
    assert name in last
    assert not (server.directory / "running.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"this is no store" * 10_000, None])
def test_serve_store_that_cannot_be_used_is_rebuilt(server: Server, content: bytes | None) -> None:
    """A damaged one, and one of another version: events are received meanwhile, and the calls are there again."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: call_ids(server.calls()) == [call_id(1)])
    server.stop()
    store = server.directory / "calls.duckdb"
    if content is None:
        with duckdb.connect(str(store)) as connection:
            connection.execute("UPDATE metadata SET version = version - 1")
    else:
        store.write_bytes(content)
    server.start()
    assert server.post(webhook_body(2)) == 200
    wait_until(lambda: _listed_ids(server) == [call_id(1), call_id(2)])
    assert "rebuilt the store" in server.log_text()


def _listed_ids(server: Server) -> list[str]:
    """Return the ids of the calls; none while the console answers 503."""
    result = server.execute("calls", "--format", "json")
    return [] if result.returncode else call_ids(json.loads(result.stdout))


@pytest.mark.slow
def test_serve_foreign_ledger_ends_at_once(server: Server) -> None:
    """A retry cannot help: one sentence, exit code 2."""
    (server.directory / "ledger.db").write_bytes(b"this is no ledger" * 1_000)
    result = server.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "ledger" in result.stderr


def _is_answered(server: Server, number: int, address: str | None) -> bool:
    try:
        return server.post(webhook_body(number), address_text=address) == 200
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
