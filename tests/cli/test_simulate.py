"""`onhook simulate`."""

import socket

from tests.hub.houses import SECRET, House

FEW = ("--count", "2", "--start", "2026-04-01")


def test_a_pbx_that_nobody_knows_is_told_what_to_do(house: House) -> None:
    """Where every answer is 401: the figures, and a sentence."""
    house.start()
    to = f"http://{house.address('intake')}/"
    done = house.run("simulate", "--to", to, "--sn", "3699STRANGER", "--secret", SECRET, *FEW)
    assert done.returncode == 1
    assert "answers    6 x 401" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "onhook pbx add NAME --sn 3699STRANGER" in done.stderr
    assert SECRET not in done.stderr


def test_a_receiver_that_does_not_answer_is_told(house: House) -> None:
    """Where nobody listens: the figures, and a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        to = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    done = house.run("simulate", "--to", to, "--sn", "3631A2124ABC", *FEW)
    assert done.returncode == 1
    assert "answers    6 x no answer" in done.stdout
    assert done.stderr == f"onhook: nobody answers ({to}): start `onhook serve`, or give its address with --to\n"
