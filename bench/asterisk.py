"""Asterisk's figures: events read and turned into records, CDRs read from a file, and what our ear costs the Asterisk.

The last takes the laboratory of `make test-pbx`; where the machine has none, that row says so.
`python -m bench.asterisk` prints the table.
"""

import csv
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.table import Row, table
from onhook.appdb.cdr_sources import CdrSource
from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, CallCollector
from onhook.pbx.asterisk.files import collect_calls
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import AmiCredentials, AmiEvent, AmiSession
from onhook.pbx.client import TimeWindow
from onhook.sync.access import read_cdr_rows
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, stream
from tests.pbx.asterisk.lab import CHROOT, AsteriskLab, missing_requirement, open_asterisk_lab

SCENARIOS = ("internal_answered", "inbound_ivr_queue_two_agents", "ring_group", "outbound", "transfer_blind")
WELCOME = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
    f"Response: Success\r\nActionID: onhook-{step}\r\n\r\n".encode() for step in ("challenge", "login", "filter")
)
PIECE_BYTES = 16 * 1024
CALLS_AT_ONCE = 100
LOAD_ROUNDS = 3
BEGIN = 1_790_000_000
"""When the first call of the file begins."""


def run(calls: int) -> list[Row]:
    """So many calls of five kinds, as one long stream; then the load on a real Asterisk."""
    data = _stream(calls)
    events = data.count(b"Event: ")
    bare, ours = _seconds(lambda: _parse_bare(data)), _seconds(lambda: _into_records(data))
    heard = _seconds(lambda: _hear(data))
    return [
        Row("asterisk, events read by a bare parser", f"{events / bare:,.0f} events/s"),
        Row("asterisk, events read and gathered", f"{events / heard:,.0f} events/s", f"{bare / heard:.2f}"),
        Row("asterisk, events turned into records", f"{events / ours:,.0f} events/s", f"{bare / ours:.2f}"),
        *_from_file(calls),
        _load(),
    ]


def _from_file(calls: int) -> list[Row]:
    """A file with a hundred times as many calls, read whole, and for its last hour alone, as a round does."""
    count = calls * 100
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Master.csv"
        with path.open("w") as file:
            file.writelines(_line(number) for number in range(count))
        source = CdrSource(location=str(path))
        end = BEGIN + 10 * count
        whole, hour = TimeWindow(since=0, until=end), TimeWindow(since=end - 3600, until=end)
        read = _seconds(lambda: list(collect_calls(read_cdr_rows(source, whole), PARSE_OPTIONS)))
        bare = _seconds(lambda: [len(row) for row in csv.reader(path.open())])
        last = _seconds(lambda: list(collect_calls(read_cdr_rows(source, hour), PARSE_OPTIONS)))
    return [
        Row("asterisk, CDRs of a file read into reports", f"{count / read:,.0f} CDRs/s", f"{bare / read:.2f} x csv"),
        Row(f"asterisk, the last hour of a file with {count:,} CDRs", f"{last:.2f} s", f"{last / read:.2f} x whole"),
    ]


def _line(number: int) -> str:
    """A call every ten seconds."""
    begin = BEGIN + 10 * number
    start, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") for at in (begin, begin + 9))
    cells = ["", "1001", "1002", "internal", '""Alice"" <1001>', f"PJSIP/1001-{number:08x}", f"PJSIP/1002-{number:08x}"]
    cells += ["Dial", "PJSIP/1002,20", start, start, end, "9", "8", "ANSWERED", "DOCUMENTATION", f"{begin}.{number}"]
    return ",".join(f'"{cell}"' for cell in [*cells, "", "", f"{begin}.{number}", str(number)]) + "\n"


def _stream(calls: int) -> bytes:
    """Calls that differ by their ids, as many as were asked for."""
    texts = [stream(name) for name in SCENARIOS]
    return b"".join(
        texts[n % len(texts)]
        .replace(b"LinkedID: 17", b"LinkedID: 1%d-17" % n)
        .replace(b"Linkedid: 17", b"Linkedid: 1%d-17" % n)
        .replace(b"UniqueID: 17", b"UniqueID: 1%d-17" % n)
        for n in range(calls)
    )


def _parse_bare(data: bytes) -> int:
    """What anybody would write: cut at empty lines, cut lines at colons."""
    found = 0
    for text in data.decode().split("\r\n\r\n"):
        found += bool(dict(line.split(": ", 1) for line in text.split("\r\n") if ": " in line))
    return found


def _hear(data: bytes) -> list[bytes]:
    session, gathering = AmiSession(AmiCredentials("onhook", "secret")), CallCollector(PARSE_OPTIONS)
    session.receive_data(WELCOME)
    bodies: list[bytes] = []
    for begin in range(0, len(data), PIECE_BYTES):
        now = float(begin)
        for happening in session.receive_data(data[begin : begin + PIECE_BYTES]):
            if isinstance(happening, AmiEvent):
                bodies += [one.body for one in gathering.add_event(happening.message, now)]
        bodies += [one.body for one in gathering.pop_completed(now)]
    return bodies + [one.body for one in gathering.pop_completed(len(data) + GRACE_SECONDS)]


def _into_records(data: bytes) -> int:
    dialect = Asterisk()
    return sum(len(dialect.parse(body)) for body in _hear(data))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _load() -> Row:
    """Processor time of Asterisk for the same calls, with and without somebody who hears all that Onhook hears."""
    what = f"asterisk, its own processor time for {CALLS_AT_ONCE} calls, heard"
    if missing_requirement() or not (CHROOT / "usr/sbin/asterisk").exists():
        return Row(what, "not measured", bound="this machine has no laboratory: make test-pbx")
    with open_asterisk_lab("bench") as lab:
        _calls_cost(lab)
        alone = min(_calls_cost(lab) for _ in range(LOAD_ROUNDS))
        with lab.open_listener() as listener:
            heard = min(_calls_cost(lab) for _ in range(LOAD_ROUNDS))
            listener.read_until_idle()
    return Row(what, f"{heard:.2f} s", f"{heard / alone:.2f} x unheard")


def _calls_cost(lab: AsteriskLab) -> float:
    """Seconds of processor time for one round of calls."""
    assert lab.asterisk is not None
    before = _processor_seconds(lab.asterisk.pid)
    lab.call("1002", talk_seconds=2, call_count=CALLS_AT_ONCE).wait(120)
    lab.wait_until_idle()
    return _processor_seconds(lab.asterisk.pid) - before


def _processor_seconds(pid: int) -> float:
    """User and system time (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the table."""
    print(table(run(2_000)))


if __name__ == "__main__":
    main()
