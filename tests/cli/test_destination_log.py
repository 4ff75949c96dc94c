"""`onhook destination log` and `resend`."""

import asyncio
import json
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import AttemptState, HttpExchange, NewAttempt, NewLoggedAttempt
from tests.cli.conftest import Command

NOW = 1_777_000_000_000_000
DAY = 86_400_000_000
ADD = ("destination", "add", "CRM", "--url", "https://93.184.216.34/calls", "--log-days", "365")
EXCHANGE = HttpExchange(
    method="POST", url="https://93.184.216.34/calls", request_headers={"X-Key": "…"}, response_headers={"Server": "a"}
)


def add_attempts(directory: Path) -> None:
    """Add an accepted attempt, a rejected one a day later, and a test."""

    async def add() -> None:
        async with AppDb(directory / "onhook-data" / "onhook.db") as appdb:
            states: tuple[AttemptState, ...] = ("accepted", "rejected", "accepted")
            for seq, state in enumerate(states, 1):
                attempt = NewAttempt(
                    attempted_at=NOW + seq * DAY, duration_ms=12, status=200, detail="HTTP 200 OK", body=b"so it is"
                )
                logged_attempt = NewLoggedAttempt(
                    notification_id=f"n{seq}", seq=seq, call=("SN", f"1.{seq}"), body=b'{"seq":%d}' % seq, state=state,
                    attempt=attempt, exchange=EXCHANGE if seq == 1 else None, is_test=seq == 3,
                )  # fmt: skip
                await appdb.destination_log.add(1, logged_attempt)

    asyncio.run(add())


def test_destination_log_lists_and_shows_attempts(onhook: Command, tmp_path: Path) -> None:
    """As a table and as JSON; filters are those of the API."""
    onhook(*ADD)
    code, out, note = onhook("destination", "log", "CRM")
    assert (code, "no rows" in note) == (0, True)
    add_attempts(tmp_path)
    code, out, _note = onhook("destination", "log", "CRM", "--zone", "UTC")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["attempt", "3", "2", "1"]
    assert "12 ms" in lines[3]
    for words, numbers in (
        (("--state", "failed"), [2]),
        (("--call-id", "1.1"), [1]),
        (("--since", "2026-04-25", "--until", "2026-04-27"), [2, 1]),
        (("--limit", "1"), [3]),
    ):
        code, out, _note = onhook("destination", "log", "CRM", "--format", "json", "--zone", "UTC", *words)
        assert (code, [attempt["attempt_id"] for attempt in json.loads(out)]) == (0, numbers), words
    code, out, _note = onhook("destination", "log", "CRM", "--attempt", "1", "--zone", "UTC")
    for text in ("accepted after 12 ms", "call 1.1, raw event 1", "POST https", "X-Key: …", '{"seq":1}', "Server: a"):
        assert text in out
    assert out.endswith("so it is\n")
    code, out, _note = onhook("destination", "log", "CRM", "--attempt", "2", "--format", "json")
    assert (json.loads(out)["notification"], json.loads(out)["exchange"]) == ('{"seq":2}', None)
    assert onhook("destination", "change", "CRM", "--log-days", "-1")[0] == 0
    assert onhook("destination", "log", "CRM", "--attempt", "9")[0] == 1
    assert onhook("destination", "log", "CRM", "--since", "soon")[0] == 2


def test_destination_resend_sends_an_attempt_again(onhook: Command, tmp_path: Path) -> None:
    """A test is not sent again."""
    onhook(*ADD)
    add_attempts(tmp_path)
    code, out, _error = onhook("destination", "resend", "CRM", "--attempt", "1")
    assert (code, out) == (0, "The notification is sent again: delivery 1.\n")
    code, out, _error = onhook("destination", "deliveries", "CRM")
    assert "retrying" in out
    code, _out, error = onhook("destination", "resend", "CRM", "--attempt", "3")
    assert (code, "a test is not sent again" in error) == (2, True)
