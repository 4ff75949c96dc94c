"""A simulated 3CX that writes lines, through all processes, with an intake that is killed."""

from functools import partial

import pytest

from tests.runtime.harness import Server, wait_until
from tests.runtime.test_leg_kill import has_restarted
from tests.runtime.test_line_intake import free_port

COUNT = 60


def count_legs(server: Server) -> int:
    return sum(len(call["legs"]) for call in server.calls())


@pytest.mark.slow
def test_lines_of_a_simulated_3cx_are_calls_once_whatever_is_killed(server: Server) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    server.run_command("pbx", "add", "Lines", "--type", "3cx", "--listen", address, "--zone", "Europe/Berlin")
    server.start()
    arguments = (
        *("simulate", "--to", f"tcp://{address}", "--sn", f"3cx-{port}", "--payload-format", "3cx-v20"),
        *("--start", "2026-04-27", "--count", str(COUNT)),
    )
    assert f"{COUNT} x written" in server.run_command(*arguments)
    wait_until(lambda: count_legs(server) == COUNT)
    assert "the intake listens for lines" in server.run_command("doctor", "Lines", exit_code=None)
    pid = server.kill("intake")
    wait_until(partial(has_restarted, server, "intake", pid))
    assert f"{COUNT} x written" in server.run_command(*arguments)
    assert count_legs(server) == COUNT
    # To a PBX that listens: Onhook connects.
    other_address = f"127.0.0.1:{free_port()}"
    server.run_command("pbx", "change", "Lines", "--connect", other_address)
    later = [argument.replace("2026-04-27", "2026-05-04") for argument in arguments]
    later[later.index(f"tcp://{address}")] = f"tcp-listen://{other_address}"
    assert f"{COUNT} x written" in server.run_command(*later)
    wait_until(lambda: count_legs(server) == 2 * COUNT)
