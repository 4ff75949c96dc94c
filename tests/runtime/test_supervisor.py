"""The processes of the house, alive and dead."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from onhook.simulator.office_plan import DEMO_HISTORY_CALLS
from tests.runtime.harness import SN, House, call_id, call_ids, report, wait_until


def test_a_call_is_kept_and_seen_while_it_runs_and_after(house: House) -> None:
    """A signed report is answered 200 and stands in `onhook calls`, with the server and without it."""
    house.start()
    assert house.post(report(1)) == 200
    wait_until(lambda: call_ids(house.calls()) == [call_id(1)])
    while_it_ran = house.calls()
    assert house.stop() == 0
    assert house.calls() == while_it_ran
    assert not (house.directory / "running.json").exists()


@pytest.mark.slow
def test_a_part_that_ends_while_the_disk_is_full_is_started_again(house: House) -> None:
    """That its addresses cannot be written down is no reason to leave it: the log says so, and reports are kept."""
    house.start()
    (house.directory / "running.json.part").mkdir()
    house.kill("intake")
    wait_until(lambda: "commands cannot be told what runs" in house.text_of_log())
    answers: list[int] = []

    def is_kept() -> bool:
        with contextlib.suppress(OSError):
            answers.append(house.post(report(1)))
        return answers == [200]

    wait_until(is_kept)


def test_a_pbx_added_while_it_runs_counts_at_once(house: House) -> None:
    """The first report after `onhook pbx add` has returned is kept, and the first after `remove` is refused."""
    house.start()
    body = report(1, sn="3631A2124DEF")
    assert house.post(body, secret="another one") == 401
    house.onhook("pbx", "add", "Branch", "--sn", "3631A2124DEF", "--secret", "another one")
    assert house.post(body, secret="another one") == 200
    house.onhook("pbx", "secret", "add", "Branch", "--secret", "a newer one")
    assert house.post(body, secret="a newer one") == 200
    house.onhook("pbx", "remove", "Branch")
    assert house.post(body, secret="another one") == 401
    assert house.post(report(2)) == 200


def test_intake_goes_on_while_the_hub_is_down(house: House) -> None:
    """A hub that dies is started again and catches up with what was acknowledged meanwhile."""
    house.start()
    for number in range(1, 4):
        house.kill("hub")
        assert house.post(report(number)) == 200
    wait_until(lambda: house.address("hub") is not None)
    wait_until(lambda: call_ids(house.calls()) == [call_id(1), call_id(2), call_id(3)])


def test_an_intake_that_dies_comes_back_on_its_port(house: House) -> None:
    """A PBX finds the intake where it was."""
    house.start()
    address = house.address("intake")
    house.kill("intake")
    wait_until(lambda: _is_answered(house, 1, address))


@pytest.mark.slow
def test_nobody_outlives_the_supervisor(house: House) -> None:
    """When the supervisor is killed, its processes stop by themselves, and another start finds everything free."""
    house.start()
    assert house.post(report(1)) == 200
    pids = [part["pid"] for name in ("intake", "hub") if (part := house.part(name))]
    assert house.serving is not None
    house.serving.send_signal(signal.SIGKILL)
    house.serving.wait()
    wait_until(lambda: not any(_lives(pid) for pid in pids))
    (house.directory / "running.json").unlink()
    house.start()
    assert call_ids(house.calls()) == [call_id(1)]


def test_a_second_server_gets_one_sentence(house: House) -> None:
    """One data directory has one server."""
    house.start()
    second = house.run("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert second.returncode == 2
    assert second.stderr.startswith("onhook: a server is already running on this data directory (process ")
    assert second.stderr.count("\n") == 1
    (house.directory.parent / "copy").mkdir()
    label = '{"made_at":"2026-04-27T00:00:00Z","files":["ledger.db"]}'
    (house.directory.parent / "copy" / "backup.json").write_text(label)
    sqlite3.connect(house.directory.parent / "copy" / "ledger.db").close()
    assert "already running" in house.run("restore", str(house.directory.parent / "copy"), "--replace").stderr
    assert (house.directory / "running.json").exists()
    assert house.calls() == []


def test_a_port_in_use_gets_one_sentence(house: House, tmp_path: Path) -> None:
    """Neither the intake's port nor the console's is shared with another server."""
    house.start()
    for name, part in (("intake", "intake"), ("console", "hub")):
        other = {"intake": "127.0.0.1:0", "console": "127.0.0.1:0", name: house.address(part) or ""}
        second = house.run(
            "serve", "--data", str(tmp_path / name), "--intake", other["intake"], "--console", other["console"]
        )
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "listen" in second.stderr


@pytest.mark.slow
def test_a_damaged_store_holds_up_no_report(house: House) -> None:
    """The intake goes on; the log says in one sentence what helps, and it helps, without a restart."""
    house.start()
    assert house.post(report(1)) == 200
    house.stop()
    (house.directory / "calls.duckdb").write_bytes(b"this is no store" * 1_000)
    house.directory.joinpath("calls.duckdb.wal").unlink(missing_ok=True)
    house.start(waits_for="intake")
    wait_until(lambda: "onhook rebuild" in house.text_of_log())
    assert house.post(report(2)) == 200
    house.onhook("rebuild")
    wait_until(lambda: house.address("hub") is not None)
    wait_until(lambda: call_ids(house.calls()) == [call_id(1), call_id(2)])


@pytest.mark.slow
def test_rebuild_makes_the_same_calls_while_it_runs_and_after(house: House) -> None:
    """The store can always be made again from the ledger."""
    house.start()
    for number in range(20):
        assert house.post(report(number)) == 200
    wait_until(lambda: len(house.calls()) == 20)
    before = house.calls()
    part = house.part("hub")
    house.onhook("rebuild")
    wait_until(lambda: house.part("hub") not in (None, part))
    assert house.calls() == before
    house.stop()
    house.onhook("rebuild")
    assert house.calls() == before


@pytest.mark.slow
def test_a_data_directory_that_is_removed_ends_the_server(house: House) -> None:
    """No report is answered 200 that is kept nowhere; the server ends by itself and says what to do."""
    house.start()
    assert house.post(report(1)) == 200
    address = house.address("intake")
    house.directory.rename(house.directory.with_name("away"))
    with contextlib.suppress(OSError):
        assert house.post(report(2), at=address) == 503
    assert house.serving is not None
    assert house.serving.wait(30) == 1
    house.serving = None
    last = house.text_of_log().rstrip().splitlines()[-1]
    assert last.startswith("onhook: the data directory, or a file in it, was removed while the server ran")
    house.directory.with_name("away").rename(house.directory)
    assert call_id(1) in call_ids(house.calls())


def test_the_demo_calls_by_itself(house: House) -> None:
    """A made-up PBX is declared and posts signed webhooks like any other."""
    house.start("--demo")
    wait_until(lambda: len(house.calls()) > 100)
    assert "Demo office" in house.onhook("pbx", "list")
    wait_until(lambda: len(house.calls()) >= DEMO_HISTORY_CALLS)
    house.stop()
    before = len(house.calls())
    house.start("--demo")
    wait_until(lambda: len(house.calls()) > before)
    assert len(house.calls()) < before + DEMO_HISTORY_CALLS / 4


def test_no_secret_is_logged(house: House) -> None:
    """Neither a PBX's secret nor the administrator's token stands in what the server writes to a file."""
    house.start()
    house.post(report(1))
    house.post(report(1), secret="wrong")
    house.kill("hub")
    wait_until(lambda: "started again" in house.text_of_log())
    token = (house.directory / "admin.token").read_text().strip()
    assert token
    assert token not in house.text_of_log()
    assert "0123456789abcdef" not in house.text_of_log()
    assert SN not in house.text_of_log()


def test_the_data_directory_is_for_its_owner_alone(house: House) -> None:
    """Mode 0700, and 0600 for every file inside."""
    house.start()
    assert house.directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in house.directory.iterdir()}
    assert modes == dict.fromkeys(modes, 0o600)


@pytest.mark.parametrize("name", ["ledger.db", "onhook.db"])
def test_what_cannot_start_ends_with_its_sentence(house: House, name: str) -> None:
    """A ledger or settings that cannot be opened: no banner, no process left, exit code 1."""
    for path in house.directory.glob(f"{name}*"):
        path.unlink()
    (house.directory / name).mkdir()
    done = house.run("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("onhook: ")
    assert name in last
    assert not (house.directory / "running.json").exists()


def test_a_ledger_that_is_none_ends_at_once(house: House) -> None:
    """Another try cannot help: one sentence, exit code 2."""
    (house.directory / "ledger.db").write_bytes(b"this is no ledger" * 1_000)
    done = house.run("serve", "--intake", "127.0.0.1:0", "--console", "127.0.0.1:0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "ledger" in done.stderr


def _is_answered(house: House, number: int, address: str | None) -> bool:
    try:
        return house.post(report(number), at=address) == 200
    except OSError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
