"""A laboratory, a house that hears it, and an application that is subscribed: all real, all on the loopback."""

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
from onhook.pbx.asterisk.files import calls_of_rows, rows_of_lines
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import KeptCall
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.asterisk.ami_streams import READING
from tests.pbx.asterisk.lab import SECRET, USER, Laboratory, laboratory
from tests.runtime.harness import House, house_in, wait_until
from tests.runtime.links import Link

HOOK_SECRET = "0123456789abcdefghijABCDEFGHIJ01"
SN = "asterisk.example.org"
KEPT_SECONDS_MAX = 60.0


class Application(http.server.ThreadingHTTPServer):
    """Takes events, checks who signed them, and keeps what they say."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.events: list[CallDetails] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/calls"

    def of_call(self, call_id: str) -> list[CallDetails]:
        """What it was told of one call, each leg as it was told last."""
        latest = {record_key(SN, one): one for one in list(self.events) if one.call_id == call_id}
        return list(latest.values())


class _Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_ours = is_signed_by((HOOK_SECRET,), body, self.headers[SIGNATURE_HEADER])
        if is_ours and isinstance(self.server, Application):
            self.server.events += Yeastar().read(body)
        self.send_response(200 if is_ours else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


class Office:
    """All of it, connected. `link` is the line between the house and the Asterisk."""

    def __init__(self, lab: Laboratory, house: House, application: Application, link: Link) -> None:
        self.lab = lab
        self.house = house
        self.application = application
        self.link = link

    @property
    def file(self) -> Path:
        """In which Asterisk keeps its CDRs."""
        return self.lab.folder / "log" / "cdr-csv" / "Master.csv"

    def written(self) -> Mapping[str, KeptCall]:
        """Every call that Asterisk wrote down, by its id: the truth."""
        lines = self.file.read_text().splitlines(keepends=True) if self.file.exists() else []
        calls = (one for one in calls_of_rows(rows_of_lines(lines), READING) if isinstance(one, KeptCall))
        return {Asterisk().read(one.body)[0].call_id: one for one in calls}

    def is_heard(self) -> bool:
        return " yes " in self.house.onhook("asterisk", "list")

    def records(self) -> list[RecordKey]:
        """Each record in the house, by what makes it this one."""
        rows = json.loads(self.house.onhook("records", "--format", "json", "--limit", "100000"))
        return [(SN, row["call_id"], row["time_start"], row["call_to"]) for row in rows]

    def told_ids(self) -> set[str]:
        return {one.call_id for one in list(self.application.events)}

    def fill(self) -> None:
        """Fill the gaps, with a call after them: return when nothing is missing any more."""
        self.lab.call("1002").wait(60)
        self.lab.until_silent()
        words = ("backfill", "Office", "--from", str(self.file))
        # A comparison says nothing of the last minute.
        wait_until(lambda: "still be missing" not in self.house.onhook(*words), 2 * SETTLE_SECONDS)


@contextlib.contextmanager
def office_in(directory: Path, name: str, changes: Mapping[str, str] | None = None, zone: str = "") -> Iterator[Office]:
    """An office that is open: Onhook hears its Asterisk. `changes` and `zone` are those of the laboratory."""
    with laboratory(name, changes, zone) as lab, house_in(directory / "house") as house:
        link, application = Link(f"127.0.0.1:{lab.ami_port}"), Application()
        at = link.url.removeprefix("http://").rstrip("/")
        declare = ("pbx", "add", "Office", "--asterisk", at, "--user", USER, "--secret", SECRET, "--sn", SN)
        house.onhook(*declare)
        house.onhook("subscribe", "add", "CRM", "--url", application.url, "--secret", HOOK_SECRET, "--allow-private")
        house.start()
        office = Office(lab, house, application, link)
        wait_until(office.is_heard)
        try:
            yield office
        finally:
            link.close()
            application.shutdown()
            application.server_close()
