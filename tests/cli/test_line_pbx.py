"""`onhook pbx add --type 3cx` and `onhook pbx change`."""

import asyncio
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from tests.cli.conftest import Command

ADD = ("pbx", "add", "Office 1", "--type", "3cx", "--listen", "0.0.0.0:5015", "--from", "192.0.2.7", "--zone", "UTC")


def read_connection(sn: str) -> LineConnection | None:
    async def read() -> LineConnection | None:
        async with AppDb(Path("onhook-data/onhook.db")) as appdb:
            return await appdb.line_connections.get(sn)

    return asyncio.run(read())


def test_pbx_that_writes_lines_is_added_listed_changed_and_removed(onhook: Command) -> None:
    code, out, _ = onhook(*ADD)
    assert code == 0
    assert "onhook doctor 'Office 1'" in out
    assert "connection" in onhook("pbx", "list")[1]
    code, out, _ = onhook("pbx", "change", "Office 1", "--fields", "time-start,time-end", "--from", "192.0.2.8")
    assert (code, "onhook rebuild" in out) == (0, True)
    assert read_connection("3cx-5015") == LineConnection(
        mode="listen",
        host="0.0.0.0",  # noqa: S104 - not bound here
        port=5015,
        fields=("time-start", "time-end"),
    )
    assert onhook("pbx", "change", "Office 1", "--connect", "192.0.2.7:5015", "--fields", "")[0] == 0
    assert read_connection("3cx-5015") == LineConnection(mode="connect", host="192.0.2.7", port=5015)
    code, _, error = onhook("pbx", "change", "Office 1", "--precedence", "report")
    assert (code, "its API is not set" in error) == (2, True)
    api = ("--api", "http://127.0.0.1:1", "--client-id", "onhook", "--client-secret", "xapi-secret-text")
    assert onhook("pbx", "change", "Office 1", *api)[0] == 0
    code, out, _ = onhook("pbx", "change", "Office 1", "--precedence", "report")
    assert (code, "onhook rebuild" in out) == (0, True)
    assert onhook("pbx", "change", "Office 1", "--connect", "192.0.2.7:5016")[0] == 0
    connection = read_connection("3cx-5015")
    assert connection is not None
    assert (connection.port, connection.precedence) == (5016, "report")
    assert onhook("pbx", "change", "Office 1", "--precedence", "both")[0] == 2
    assert onhook("pbx", "remove", "Office 1")[0] == 0
    assert read_connection("3cx-5015") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*ADD, "--secret", "a-known-secret"), "identified by its connection"),
        ((*ADD, "--path", "/0123456789abcdef"), "identified by its connection"),
        (("pbx", "add", "Office", "--type", "3cx"), "needs one address"),
        (
            ("pbx", "add", "Office", "--sn", "A", "--secret", "first-secret", "--listen", "127.0.0.1:1"),
            "writes no lines",
        ),
        (("pbx", "add", "Office", "--type", "3cx", "--listen", "127.0.0.1:1", "--zone", "Mars/Base"), "no time zone"),
    ],
)
def test_pbx_that_writes_lines_with_other_options_is_refused(
    onhook: Command, arguments: tuple[str, ...], message: str
) -> None:
    code, _, error = onhook(*arguments)
    assert (code, message in error) == (2, True)
