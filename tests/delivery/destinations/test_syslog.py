"""Syslog as a destination, against a server that reads RFC 5424 strictly."""

import asyncio
import json
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.delivery.destinations.contract import Notification
from onhook.delivery.destinations.syslog_message import format_message, format_record, frame
from tests.delivery.destinations.contract import DestinationContract, open_client
from tests.factories import record
from tests.server_certificates import create_server_certificate
from tests.waiting import polls, wait_until

# RFC 5424, 6: the header, one element of structured data with escaped values, and the message.
HEADER = (
    r"<(?P<priority>[1-9]\d{0,2})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) - (?P<id>[!-~]{1,32})"
)
PARAMETER = r'(?P<name>[!#-<>-\\^-~]{1,32})="(?P<value>(?:[^"\\\]]|\\["\\\]])*)"'
DATA = re.sub(r"\?P<\w+>", "?:", PARAMETER)
MESSAGE = re.compile(rf"{HEADER} \[onhook@32473(?P<data>(?: {DATA})*)\] (?P<text>.*)")


def parse(message: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Return header and text, and the parameters of the structured data."""
    match = MESSAGE.fullmatch(message.decode("ascii"))
    assert match is not None, message
    parameters = {
        item["name"]: re.sub(r'\\(["\\\]])', r"\1", item["value"]) for item in re.finditer(PARAMETER, match["data"])
    }
    return match.groupdict(), parameters


class SyslogServer:
    """Reads frames to the end of each connection, then closes it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.messages: list[bytes] = []
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return self.dead_settings(self.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        scheme, host = ("syslog+tls", "localhost") if self._tls else ("syslog", "127.0.0.1")
        return {"kind": "syslog", "url": f"{scheme}://{host}:{port}", "allow_private": True}

    def durations(self) -> dict[str, int]:
        parsed = [parse(message)[0] for message in self.messages]
        records = [json.loads(header["text"]) for header in parsed if header["id"] == "record"]
        return {item["call_id"]: item["talk_duration"] for item in records if item["sn"] != "SAMPLE"}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        raise AssertionError("a syslog server refuses no message")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while length := await reader.readuntil(b" "):
                self.messages.append(await reader.readexactly(int(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class TestSyslog(DestinationContract):
    """The contract suite for syslog; a server refuses no message."""

    can_refuse = False

    @pytest.fixture
    async def server(self) -> AsyncIterator[SyslogServer]:
        server = SyslogServer()
        await server.start()
        yield server
        await server.stop()


def test_syslog_message_of_a_record_has_its_members_and_the_id_of_the_notification() -> None:
    source = record(call_from='Zoë "the" \\ [boss]<1001>\n')
    message = format_record(source, "record", 16)
    header, parameters = parse(message)
    assert (header["priority"], header["host"], header["app"]) == ("134", source.sn, "onhook")
    assert header["time"] == f"{source.ended_at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert json.loads(header["text"]) == msgspec.to_builtins(source)
    assert parameters["id"] == f"{source.record_id}-{source.seq}"
    assert parameters["call_from"] == 'Zo\\u00eb "the" \\ [boss]<1001>\\n'
    assert parameters["status"] == "ANSWERED"


@pytest.mark.parametrize(("hostname", "expected"), [("", "-"), ("a b\u00e9\n", "a_b__"), ("x" * 300, "x" * 255)])
def test_syslog_message_header_takes_printable_ascii(hostname: str, expected: str) -> None:
    source = record()
    message = format_message(134, source.started_at, "record", "{}", hostname=hostname, parameters={})
    assert parse(message)[0]["host"] == expected


def test_syslog_frame_counts_octets() -> None:
    assert frame(b"ab\ncd") == b"5 ab\ncd"


async def test_syslog_alarm_is_a_warning() -> None:
    server = SyslogServer()
    await server.start()
    client = open_client(server.settings | {"notifies_of": "alarms", "fields": {"facility": 0}})
    (result,) = await client.send([Notification("alarm-7", b'{"type":"alarm"}', 1_777_000_000_000_000)])
    assert result.outcome == "accepted"
    header, parameters = parse(server.messages[0])
    assert (header["priority"], header["id"], parameters) == ("4", "alarm", {"id": "alarm-7"})
    await client.close()
    await server.stop()


async def test_syslog_tls_certificate_is_verified(tmp_path: Path) -> None:
    """By the authority of the destination, and against the name."""
    certificate = create_server_certificate(tmp_path, "localhost")
    server = SyslogServer(certificate.context)
    await server.start()
    notification = Notification("test-1", b'{"event": "test"}', 1_777_000_000_000_000)
    client = open_client(server.settings)
    (result,) = await client.send([notification])
    assert result.outcome == "unreachable"
    assert result.detail.startswith("the certificate is not trusted")
    await client.close()
    client = open_client(server.settings | {"ca_certificates": certificate.authority_pem})
    (result,) = await client.send([notification])
    assert (result.outcome, result.detail) == ("accepted", "read by the server")
    await wait_until(lambda: len(server.messages) == 1)
    await client.close()
    wrong_name = {"url": f"syslog+tls://127.0.0.1:{server.port}", "ca_certificates": certificate.authority_pem}
    client = open_client(server.settings | wrong_name)
    (result,) = await client.send([notification])
    assert "127.0.0.1" in result.detail
    await client.close()
    await server.stop()


async def test_syslog_server_that_resets_has_not_read_it() -> None:
    """A connection that is closed with unread messages."""

    async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with await asyncio.start_server(close_at_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = open_client({"kind": "syslog", "url": f"syslog://127.0.0.1:{port}", "allow_private": True})
        body = client.format_payload(record(call_from="x" * 500_000))
        (result,) = await client.send([Notification("id", body, 1)])
        assert result.outcome == "unreachable"
        await client.close()


@pytest.mark.skipif(not shutil.which("rsyslogd"), reason="rsyslog is not installed: apt-get install rsyslog")
async def test_syslog_rsyslog_reads_what_is_sent(tmp_path: Path) -> None:
    """A real server stores each message whole, and knows its parts."""
    with socket.create_server(("127.0.0.1", 0)) as free_socket:
        port = free_socket.getsockname()[1]
    output = tmp_path / "messages"
    (tmp_path / "rsyslog.conf").write_text(
        'module(load="imtcp")\n'
        f'input(type="imtcp" address="127.0.0.1" port="{port}")\n'
        'template(name="parts" type="string" string="%pri% %hostname% %app-name% %msgid% %msg%\\n")\n'
        f'action(type="omfile" file="{output}" template="parts")\n'
    )
    options = ["-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    process = await asyncio.create_subprocess_exec("rsyslogd", *options)
    try:
        client = open_client({"kind": "syslog", "url": f"syslog://127.0.0.1:{port}", "allow_private": True})
        records = [record(call_from=f"Zo\u00eb [{number}]<1001>") for number in range(100)]
        batch = [Notification(str(number), client.format_payload(item), 1) for number, item in enumerate(records)]
        await wait_until((await client.send(batch))[0].outcome == "accepted" async for _ in polls())
        await wait_until(lambda: output.exists() and output.read_text().count("\n") == len(records))
        for line, item in zip(output.read_text().splitlines(), records, strict=True):
            priority, hostname, app_name, message_id, text = line.split(" ", 4)
            assert (priority, hostname, app_name, message_id) == ("134", item.sn, "onhook", "record")
            assert json.loads(text) == msgspec.to_builtins(item)
        await client.close()
    finally:
        process.terminate()
        await process.wait()
