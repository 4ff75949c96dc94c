"""The processes of the house, alive and dead."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from onhook.simulator.office_plan import DEMO_HISTORY_CALLS
from tests.runtime.harness import SN, Server, call_id, call_ids, wait_until, webhook_body


def test_a_call_is_kept_and_seen_while_it_runs_and_after(house: Server) -> None:
    """A signed report is answered 200 and stands in `onhook calls`, with the server and without it."""
    house.start()
    assert house.post(webhook_body(1)) == 200
    wait_until(lambda: call_ids(house.calls()) == [call_id(1)])
    while_it_ran = house.calls()
    assert house.stop() == 0
    assert house.calls() == while_it_ran
    assert not (house.directory / "running.json").exists()


@pytest.mark.slow
def test_a_part_that_ends_while_the_disk_is_full_is_started_again(house: Server) -> None:
    """That its addresses cannot be written down is no reason to leave it: the log says so, and reports are kept."""
    house.start()
    (house.directory / "running.json.part").mkdir()
    house.kill("intake")
    wait_until(lambda: "cannot write running.json" in house.log_text())
    answers: list[int] = []

    def is_kept() -> bool:
        with contextlib.suppress(OSError):
            answers.append(house.post(webhook_body(1)))
        return answers == [200]

    wait_until(is_kept)


def test_a_pbx_added_while_it_runs_counts_at_once(house: Server) -> None:
    """The first report after `onhook pbx add` has returned is kept, and the first after `remove` is refused."""
    house.start()
    body = webhook_body(1, sn="3631A2124DEF")
    assert house.post(body, secret="another one") == 401
    house.run_command("pbx", "add", "Branch", "--sn", "3631A2124DEF", "--secret", "another one")
    assert house.post(body, secret="another one") == 200
    house.run_command("pbx", "secret", "add", "Branch", "--secret", "a newer one")
    assert house.post(body, secret="a newer one") == 200
    house.run_command("pbx", "remove", "Branch")
    assert house.post(body, secret="another one") == 401
    assert house.post(webhook_body(2)) == 200


def test_intake_goes_on_while_the_hub_is_down(house: Server) -> None:
    """A hub that dies is started again and catches up with what was acknowledged meanwhile."""
    house.start()
    for number in range(1, 4):
        house.kill("hub")
        assert house.post(webhook_body(number)) == 200
    wait_until(lambda: house.address("hub") is not None)
    wait_until(lambda: call_ids(house.calls()) == [call_id(1), call_id(2), call_id(3)])


def test_an_intake_that_dies_comes_back_on_its_port(house: Server) -> None:
    """A PBX finds the intake where it was."""
    house.start()
    address = house.address("intake")
    house.kill("intake")
    wait_until(lambda: _is_answered(house, 1, address))


@pytest.mark.slow
def test_nobody_outlives_the_supervisor(house: Server) -> None:
    """When the supervisor is killed, its processes stop by themselves, and another start finds everything free."""
    house.start()
    assert house.post(webhook_body(1)) == 200
    pids = [part["pid"] for name in ("intake", "hub") if (part := house.process_info(name))]
    assert house.process is not None
    house.process.send_signal(signal.SIGKILL)
    house.process.wait()
    wait_until(lambda: not any(_lives(pid) for pid in pids))
    (house.directory / "running.json").unlink()
    house.start()
    assert call_ids(house.calls()) == [call_id(1)]


def test_a_second_server_gets_one_sentence(house: Server) -> None:
    """One data directory has one server."""
    house.start()
    second = house.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert second.returncode == 2
    assert second.stderr.startswith("onhook: a server is already running on this data directory (process ")
    assert second.stderr.count("\n") == 1
    (house.directory.parent / "copy").mkdir()
    label = '{"made_at":"2026-04-27T00:00:00Z","files":["ledger.db"]}'
    (house.directory.parent / "copy" / "backup.json").write_text(label)
    sqlite3.connect(house.directory.parent / "copy" / "ledger.db").close()
    assert "already running" in house.execute("restore", str(house.directory.parent / "copy"), "--replace").stderr
    assert (house.directory / "running.json").exists()
    assert house.calls() == []


def test_a_port_in_use_gets_one_sentence(house: Server, tmp_path: Path) -> None:
    """Neither the intake's port nor the console's is shared with another server."""
    house.start()
    for name, part in (("intake", "intake"), ("console", "hub")):
        other = {"intake": "127.0.0.1:0", "console": "127.0.0.1:0", name: house.address(part) or ""}
        second = house.execute(
            "serve", "--data", str(tmp_path / name), "--intake", other["intake"], "--console", other["console"]
        )
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "in use" in second.stderr


@pytest.mark.slow
def test_a_damaged_store_holds_up_no_report(house: Server) -> None:
    """The intake goes on; the log says in one sentence what helps, and it helps, without a restart."""
    house.start()
    assert house.post(webhook_body(1)) == 200
    house.stop()
    (house.directory / "calls.duckdb").write_bytes(b"this is no store" * 1_000)
    house.directory.joinpath("calls.duckdb.wal").unlink(missing_ok=True)
    house.start(ready_process="intake")
    wait_until(lambda: "onhook rebuild" in house.log_text())
    assert house.post(webhook_body(2)) == 200
    house.run_command("rebuild")
    wait_until(lambda: house.address("hub") is not None)
    wait_until(lambda: call_ids(house.calls()) == [call_id(1), call_id(2)])


@pytest.mark.slow
def test_rebuild_makes_the_same_calls_while_it_runs_and_after(house: Server) -> None:
    """The store can always be made again from the ledger."""
    house.start()
    for number in range(20):
        assert house.post(webhook_body(number)) == 200
    wait_until(lambda: len(house.calls()) == 20)
    before = house.calls()
    part = house.process_info("hub")
    house.run_command("rebuild")
    wait_until(lambda: house.process_info("hub") not in (None, part))
    assert house.calls() == before
    house.stop()
    house.run_command("rebuild")
    assert house.calls() == before


@pytest.mark.slow
def test_a_data_directory_that_is_removed_ends_the_server(house: Server) -> None:
    """No report is answered 200 that is kept nowhere; the server ends by itself and says what to do."""
    house.start()
    assert house.post(webhook_body(1)) == 200
    address = house.address("intake")
    house.directory.rename(house.directory.with_name("away"))
    with contextlib.suppress(OSError):
        assert house.post(webhook_body(2), address_text=address) == 503
    assert house.process is not None
    assert house.process.wait(30) == 1
    house.process = None
    last = house.log_text().rstrip().splitlines()[-1]
    assert last.startswith("onhook: the data directory, or a file in it, was removed while the server ran")
    house.directory.with_name("away").rename(house.directory)
    assert call_id(1) in call_ids(house.calls())


def test_the_demo_calls_by_itself(house: Server) -> None:
    """A made-up PBX is declared and posts signed webhooks like any other."""
    house.start("--demo")
    wait_until(lambda: len(house.calls()) > 100)
    assert "Demo office" in house.run_command("pbx", "list")
    wait_until(lambda: len(house.calls()) >= DEMO_HISTORY_CALLS)
    house.stop()
    before = len(house.calls())
    house.start("--demo")
    wait_until(lambda: len(house.calls()) > before)
    assert len(house.calls()) < before + DEMO_HISTORY_CALLS / 4


def test_no_secret_is_logged(house: Server) -> None:
    """Neither a PBX's secret nor the administrator's token stands in what the server writes to a file."""
    house.start()
    house.post(webhook_body(1))
    house.post(webhook_body(1), secret="wrong")
    house.kill("hub")
    wait_until(lambda: "exited, restarting" in house.log_text())
    token = (house.directory / "admin.token").read_text().strip()
    assert token
    assert token not in house.log_text()
    assert "0123456789abcdef" not in house.log_text()
    assert SN not in house.log_text()


def test_the_data_directory_is_for_its_owner_alone(house: Server) -> None:
    """Mode 0700, and 0600 for every file inside."""
    house.start()
    assert house.directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in house.directory.iterdir()}
    assert modes == dict.fromkeys(modes, 0o600)


@pytest.mark.parametrize("name", ["ledger.db", "onhook.db"])
def test_what_cannot_start_ends_with_its_sentence(house: Server, name: str) -> None:
    """A ledger or settings that cannot be opened: no banner, no process left, exit code 1."""
    for path in house.directory.glob(f"{name}*"):
        path.unlink()
    (house.directory / name).mkdir()
    done = house.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("onhook: ")
    assert name in last
    assert not (house.directory / "running.json").exists()


def test_a_ledger_that_is_none_ends_at_once(house: Server) -> None:
    """Another try cannot help: one sentence, exit code 2."""
    (house.directory / "ledger.db").write_bytes(b"this is no ledger" * 1_000)
    done = house.execute("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "ledger" in done.stderr


def _is_answered(house: Server, number: int, address: str | None) -> bool:
    try:
        return house.post(webhook_body(number), address_text=address) == 200
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
