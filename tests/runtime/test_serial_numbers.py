"""A device that was replaced, with real processes: same secret, another serial number."""

import pytest

from tests.runtime.harness import SN, Server, wait_until, webhook_body

REPLACEMENT = "3631A2199ZZZ"


@pytest.mark.slow
def test_server_joins_the_calls_of_a_device_that_was_replaced(server: Server) -> None:
    """Its events are answered 200 and kept; once its serial number is added, they and later ones are the PBX's, after a
    rebuild too.
    """
    server.start()
    assert [server.post(webhook_body(1)), server.post(webhook_body(2, REPLACEMENT))] == [200, 200]
    wait_until(lambda: "is not registered" in server.run_command("quarantine", "list"))
    remedy = f"onhook pbx change {SN} --add-sn {REPLACEMENT}"
    wait_until(lambda: remedy in server.run_command("doctor", exit_code=None))  # the receiver counts, and reports later
    server.run_command("pbx", "change", SN, "--add-sn", REPLACEMENT)
    assert server.post(webhook_body(3, REPLACEMENT)) == 200
    wait_until(lambda: len(server.calls()) == 3)
    calls = server.calls()
    assert {(call["pbx"], call["sn"]) for call in calls} == {("Office", SN)}
    hub = server.process_info("hub")
    server.run_command("rebuild")
    wait_until(lambda: server.process_info("hub") not in (None, hub))
    assert server.calls() == calls
    assert server.stop() == 0
