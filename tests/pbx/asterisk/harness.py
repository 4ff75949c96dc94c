"""A laboratory, an Onhook server connected to it, and a webhook receiver: all real, all on the loopback."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from onhook.cdr.call_details import CallDetails
from onhook.cdr.coverage import SETTLE_SECONDS
from onhook.cdr.identity import RecordKey, record_key
from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from onhook.pbx.asterisk.files import collect_calls, parse_rows
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS
from tests.pbx.asterisk.lab import SECRET, USER, AsteriskLab, open_asterisk_lab
from tests.runtime.harness import Server, create_server, wait_until
from tests.runtime.links import TcpProxy

WEBHOOK_SECRET = "0123456789abcdefghijABCDEFGHIJ01"
SN = "asterisk.example.org"
STORED_SECONDS_MAX = 60.0


class EventReceiver(http.server.ThreadingHTTPServer):
    """Accepts events, verifies their signatures and stores their details."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _WebhookHandler)
        self.events: list[CallDetails] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/calls"

    def details_of_call(self, call_id: str) -> list[CallDetails]:
        """Return the legs received for one call, each in its last version."""
        latest = {record_key(SN, details): details for details in list(self.events) if details.call_id == call_id}
        return list(latest.values())


class _WebhookHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_signed = is_signed_by((WEBHOOK_SECRET,), body, self.headers[SIGNATURE_HEADER])
        if is_signed and isinstance(self.server, EventReceiver):
            self.server.events += Yeastar().parse(body)
        self.send_response(200 if is_signed else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


class AsteriskHarness:
    """All parts, connected. `proxy` is the connection between Onhook and Asterisk."""

    def __init__(self, lab: AsteriskLab, server: Server, receiver: EventReceiver, proxy: TcpProxy) -> None:
        self.lab = lab
        self.server = server
        self.receiver = receiver
        self.proxy = proxy

    @property
    def cdr_file(self) -> Path:
        """The file in which Asterisk stores its CDRs."""
        return self.lab.directory / "log" / "cdr-csv" / "Master.csv"

    def cdr_calls(self) -> Mapping[str, ArchivedCall]:
        """Return the calls in Asterisk's own CDR file, by call id; the reference for all comparisons."""
        lines = self.cdr_file.read_text().splitlines(keepends=True) if self.cdr_file.exists() else []
        calls = (
            cdr_call
            for cdr_call in collect_calls(parse_rows(lines), PARSE_OPTIONS)
            if isinstance(cdr_call, ArchivedCall)
        )
        legs = ((Asterisk().parse(cdr_call.body), cdr_call) for cdr_call in calls)
        # A channel that only helps another call is no call.
        return {details[0].call_id: cdr_call for details, cdr_call in legs if details}

    def is_connected(self) -> bool:
        return " yes " in self.server.run_command("asterisk", "list")

    def record_keys(self) -> list[RecordKey]:
        """Return the key of each stored record."""
        rows = json.loads(self.server.run_command("records", "--format", "json", "--limit", "100000"))
        return [(SN, row["call_id"], row["time_start"], row["call_to"]) for row in rows]

    def notified_call_ids(self) -> set[str]:
        return {details.call_id for details in list(self.receiver.events)}

    def fill_gaps(self) -> None:
        """Make one more call, then backfill until no record is missing."""
        self.lab.call("1002").wait(60)
        self.lab.wait_until_idle()
        arguments = ("backfill", "Office", "--from", str(self.cdr_file))
        # The reconciliation does not cover the last minute.
        wait_until(lambda: "still be missing" not in self.server.run_command(*arguments), 2 * SETTLE_SECONDS)


@contextlib.contextmanager
def open_asterisk_harness(
    directory: Path, name: str, changes: Mapping[str, str] | None = None, zone: str = ""
) -> Iterator[AsteriskHarness]:
    """Start everything and yield it once Onhook is connected. `changes` and `zone` belong to the laboratory."""
    with open_asterisk_lab(name, changes, zone) as lab, create_server(directory / "data") as server:
        proxy, receiver = TcpProxy(f"127.0.0.1:{lab.ami_port}"), EventReceiver()
        ami_address = proxy.url.removeprefix("http://").rstrip("/")
        arguments = ("pbx", "add", "Office", "--asterisk", ami_address, "--user", USER, "--secret", SECRET, "--sn", SN)
        server.run_command(*arguments)
        server.run_command(
            "destination", "add", "CRM", "--url", receiver.url, "--secret", WEBHOOK_SECRET, "--allow-private"
        )
        server.start()
        harness = AsteriskHarness(lab, server, receiver, proxy)
        wait_until(harness.is_connected)
        try:
            yield harness
        finally:
            proxy.close()
            receiver.shutdown()
            receiver.server_close()
