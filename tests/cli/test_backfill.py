"""`onhook backfill` and `onhook coverage`, with a simulated PBX on a real socket."""

import json
import time
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from tests.cli.conftest import Command
from tests.pbx.yeastar.lists import SN, row
from tests.runtime.harness import Server, wait_until
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, pbx_responder_in_thread


def declared(face: PbxResponder) -> tuple[str, ...]:
    url = f"http://127.0.0.1:{face.port}"
    api = ("--api", url, "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET)
    return ("pbx", "add", "Branch", "--sn", SN, *api)


def calls_of_today(count: int) -> list[dict[str, object]]:
    return [row(int(time.time()) - 600 - 60 * number, number) for number in range(count)]


def test_backfill_fetches_past_calls(onhook: Command) -> None:
    """Without a server; the second time there is nothing new, and the token was revoked."""
    with pbx_responder_in_thread() as face:
        assert onhook(*declared(face))[0] == 0
        face.calls.rows = calls_of_today(5)
        code, out, error = onhook("backfill", "Branch", "--since", "3d")
        assert (code, error) == (0, "")
        assert "5 new, 0 changed, 0 already stored" in out
        assert "0 new, 0 changed, 5 already stored" in onhook("backfill", "Branch", "--since", "3d")[1]
        assert face.tokens == set()
        rows = json.loads(onhook("calls", "--format", "json")[1])
        assert {row["legs"][0]["via"] for row in rows} == {"backfill"}
        assert len(rows) == 5
        # A call may last a day, so a back-fill of three days proves two, from a rounded second on.
        code, out, _ = onhook("coverage", "--since", "1d", "--format", "json")
        states = [row["state"] for row in json.loads(out)[0]["intervals"]]
        assert states == ["complete", "gap"]
        assert "reconciled with the PBX" in onhook("coverage", "--pbx", "Branch")[1]


def test_backfill_rejected_login_is_one_sentence(onhook: Command) -> None:
    """With its code, and the exit code of a failure; no secret in it."""
    with pbx_responder_in_thread() as face:
        assert onhook(*declared(face))[0] == 0
        face.login_error_code = 70087
        code, _, error = onhook("backfill", "Branch")
    assert code == 1
    assert "70087" in error
    assert CLIENT_SECRET not in error


def test_backfill_invalid_option_is_rejected(onhook: Command) -> None:
    """A PBX without a source, and an empty window."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    code, _, error = onhook("backfill", "Office")
    assert (code, "--client-id" in error) == (1, True)
    assert onhook("coverage", "--since", "today", "--until", "yesterday")[0] == 2
    with pbx_responder_in_thread() as face:
        assert onhook(*declared(face))[0] == 0
        assert onhook("backfill", "Branch", "--since", "1h", "--until", "2h")[0] == 2


@pytest.mark.slow
async def test_backfill_with_a_running_server(server: Server, tmp_path: Path) -> None:
    """A PBX added while it runs is connected at once; the server runs the back-fill."""
    with pbx_responder_in_thread() as face:
        face.calls.rows = calls_of_today(3)
        server.start()
        server.run_command(*declared(face))
        wait_until(lambda: len(face.subscribed) == 1)
        wait_until(lambda: len(server.calls()) == 3)
        face.calls.rows = calls_of_today(4)
        assert "new" in server.run_command("backfill", "Branch", "--since", "2d")
        assert (face.token_count_max, face.login_count) == (1, 1)
        server.stop()
        wait_until(lambda: face.tokens == set())
    appdb = AppDb(tmp_path / "data" / "onhook.db")
    try:
        assert (await appdb.sync_states.intervals(SN))[0].state == "complete"
    finally:
        await appdb.close()
