"""Asterisk figures: events parsed and turned into records, CDRs read from a file, and the load of a listener on
Asterisk.

The last one requires the laboratory of `make test-pbx`; without it, its row says so. `python -m bench.asterisk` prints
the table.
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
from onhook.sync.cdr_sources import read_cdr_rows
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, stream
from tests.pbx.asterisk.lab import CHROOT, AsteriskLab, missing_requirement, open_asterisk_lab

SCENARIOS = ("internal_answered", "inbound_ivr_queue_two_agents", "ring_group", "outbound", "transfer_blind")
WELCOME = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
    f"Response: Success\r\nActionID: onhook-{step}\r\n\r\n".encode() for step in ("challenge", "login", "filter")
)
CHUNK_BYTES = 16 * 1024
CALLS_AT_ONCE = 100
LOAD_ROUNDS = 3
BEGIN = 1_790_000_000
"""Start of the first call in the file."""


def run(calls: int) -> list[Row]:
    """Measure this many calls of five kinds as one stream; then the load on a real Asterisk."""
    data = _stream(calls)
    events = data.count(b"Event: ")
    minimal, records = _seconds(lambda: _parse_bare(data)), _seconds(lambda: _into_records(data))
    collected = _seconds(lambda: _collect(data))
    return [
        Row("asterisk, events parsed by a minimal parser", f"{events / minimal:,.0f} events/s"),
        Row(
            "asterisk, events parsed and collected", f"{events / collected:,.0f} events/s", f"{minimal / collected:.2f}"
        ),
        Row("asterisk, events turned into records", f"{events / records:,.0f} events/s", f"{minimal / records:.2f}"),
        *_from_file(calls),
        _load(),
    ]


def _from_file(calls: int) -> list[Row]:
    """Measure a file with a hundred times as many calls, read whole, and for its last hour alone as in a sync cycle."""
    count = calls * 100
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Master.csv"
        with path.open("w") as file:
            file.writelines(_line(number) for number in range(count))
        source = CdrSource(location=str(path))
        end = BEGIN + 10 * count
        whole, hour = TimeWindow(since=0, until=end), TimeWindow(since=end - 3600, until=end)
        read = _seconds(lambda: list(collect_calls(read_cdr_rows(source, whole), PARSE_OPTIONS)))
        minimal = _seconds(lambda: _read_bare(path))
        last = _seconds(lambda: list(collect_calls(read_cdr_rows(source, hour), PARSE_OPTIONS)))
    return [
        Row(
            "asterisk, CDRs of a file read into raw events",
            f"{count / read:,.0f} CDRs/s",
            f"{minimal / read:.2f} x csv",
        ),
        Row(f"asterisk, the last hour of a file with {count:,} CDRs", f"{last:.2f} s", f"{last / read:.2f} x whole"),
    ]


def _read_bare(path: Path) -> int:
    """Count the cells of a file with the library alone."""
    with path.open() as file:
        return sum(map(len, csv.reader(file)))


def _line(number: int) -> str:
    """Return one CSV line; a call every ten seconds."""
    begin = BEGIN + 10 * number
    start, end = (datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S") for epoch in (begin, begin + 9))
    cells = ["", "1001", "1002", "internal", '""Alice"" <1001>', f"PJSIP/1001-{number:08x}", f"PJSIP/1002-{number:08x}"]
    cells += ["Dial", "PJSIP/1002,20", start, start, end, "9", "8", "ANSWERED", "DOCUMENTATION", f"{begin}.{number}"]
    return ",".join(f'"{cell}"' for cell in [*cells, "", "", f"{begin}.{number}", str(number)]) + "\n"


def _stream(calls: int) -> bytes:
    """Return this many calls, which differ by their ids."""
    texts = [stream(name) for name in SCENARIOS]
    return b"".join(
        texts[n % len(texts)]
        .replace(b"LinkedID: 17", b"LinkedID: 1%d-17" % n)
        .replace(b"Linkedid: 17", b"Linkedid: 1%d-17" % n)
        .replace(b"UniqueID: 17", b"UniqueID: 1%d-17" % n)
        for n in range(calls)
    )


def _parse_bare(data: bytes) -> int:
    """Count messages with a minimal parser: split at empty lines, split lines at colons."""
    message_count = 0
    for text in data.decode().split("\r\n\r\n"):
        message_count += bool(dict(line.split(": ", 1) for line in text.split("\r\n") if ": " in line))
    return message_count


def _collect(data: bytes) -> list[bytes]:
    session, collector = AmiSession(AmiCredentials("onhook", "secret")), CallCollector(PARSE_OPTIONS)
    session.receive_data(WELCOME)
    bodies: list[bytes] = []
    for begin in range(0, len(data), CHUNK_BYTES):
        now = float(begin)
        for session_event in session.receive_data(data[begin : begin + CHUNK_BYTES]):
            if isinstance(session_event, AmiEvent):
                bodies += [collected_call.body for collected_call in collector.add_event(session_event.message, now)]
        bodies += [collected_call.body for collected_call in collector.pop_completed(now)]
    return bodies + [collected_call.body for collected_call in collector.pop_completed(len(data) + GRACE_SECONDS)]


def _into_records(data: bytes) -> int:
    dialect = Asterisk()
    return sum(len(dialect.parse(body)) for body in _collect(data))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _load() -> Row:
    """Measure the processor time of Asterisk for the same calls, with and without a listener like Onhook."""
    label = f"asterisk, its own processor time for {CALLS_AT_ONCE} calls, with listener"
    if missing_requirement() or not (CHROOT / "usr/sbin/asterisk").exists():
        return Row(label, "not measured", bound="no laboratory on this machine: make test-pbx")
    with open_asterisk_lab("bench") as lab:
        _calls_cost(lab)
        without_listener = min(_calls_cost(lab) for _ in range(LOAD_ROUNDS))
        with lab.open_listener() as listener:
            with_listener = min(_calls_cost(lab) for _ in range(LOAD_ROUNDS))
            listener.read_until_idle()
    return Row(label, f"{with_listener:.2f} s", f"{with_listener / without_listener:.2f} x without listener")


def _calls_cost(lab: AsteriskLab) -> float:
    """Return the seconds of processor time for one round of calls."""
    assert lab.asterisk is not None
    before = _processor_seconds(lab.asterisk.pid)
    lab.call("1002", talk_seconds=2, call_count=CALLS_AT_ONCE).wait(120)
    lab.wait_until_idle()
    return _processor_seconds(lab.asterisk.pid) - before


def _processor_seconds(pid: int) -> float:
    """Return user and system time (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    print(table(run(2_000)))


if __name__ == "__main__":
    main()
