"""Figures of `onhook serve` at rest and of its start: processor time, wake-ups, memory, and the commands for people.

`python -m bench.idle` prints the table. Processor time and wake-ups are the kernel's counts of each thread, so other
work on the machine changes them little. `--threads` lists the threads that woke up, `--commands` measures
commands and start alone, in less than a minute where the machine is calm.
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import msgspec

from bench.intake_load import SECRET, SN, body
from bench.table import Row, table
from onhook.lib.signing import sign

IDLE_SECONDS = 60.0
SETTLE_SECONDS = 30.0
"""After the start: the first round of each job has run by then."""

STARTS = 5
COMMAND_RUNS = 9
COMMANDS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "onhook --help": (("--help",), 0.4),
    "onhook version": (("version",), 0.2),
    "onhook calls": (("calls",), 0.35),
}
"""Arguments, and the target in seconds of processor time."""

START_SECONDS_MAX = 60.0
POLL_SECONDS = 0.005


class ThreadCount(msgspec.Struct, frozen=True):
    """What one thread has used since its start."""

    name: str
    cpu_seconds: float
    wake_ups: int


class ServerProcesses:
    """`onhook serve` with one PBX and one destination, and its processes."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.started_at = time.monotonic()
        self._serve = subprocess.Popen(
            [*_ONHOOK, "serve", "--data", str(data), *_ANY_PORTS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def address(self, name: str) -> str:
        """Return the address of a process; wait until it has one."""
        while time.monotonic() - self.started_at < START_SECONDS_MAX:
            try:
                running = msgspec.json.decode((self.data / "running.json").read_bytes())
            except (OSError, msgspec.DecodeError):
                running = {}
            if running.get("pid", self._serve.pid) == self._serve.pid and (address := running.get(name)):
                return str(address["address"])
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{name} did not start")

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        pids = {"serve": self._serve.pid}
        children = Path(f"/proc/{self._serve.pid}/task/{self._serve.pid}/children").read_text(encoding="ascii").split()
        for pid in map(int, children):
            command_line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            match = re.search(r"onhook\.runtime\.(\w+)_process", command_line)
            pids[match[1] if match else str(pid)] = pid
        return pids

    def stop(self) -> None:
        self._serve.terminate()
        self._serve.wait(START_SECONDS_MAX)


_ANY_PORTS = ("--intake", "127.0.0.1:0", "--console", "127.0.0.1:0", "--pbx-api", "127.0.0.1:0")
_ONHOOK = (sys.executable, "-P", "-c", "import sys; from onhook.cli.entry import main; sys.exit(main())")
"""The console script's own lines."""


def run() -> list[Row]:
    """Return all figures."""
    with _server() as server:
        server.address("hub")
        rows_at_rest = _idle(server)
        return [*_commands(server), *_start(), *rows_at_rest]


def _commands(server: ServerProcesses) -> list[Row]:
    """Return the rows of commands beside a server whose hub has started, and of one after its end."""
    rows = [
        _command_row(f"{subject}, processor time", arguments, server.data, f"{target} s")
        for subject, (arguments, target) in COMMANDS.items()
    ]
    server.stop()
    return [*rows, _command_row("onhook calls without a server, the same", ("calls",), server.data, "0.35 s")]


def _command_row(subject: str, arguments: Sequence[str], data: Path, target: str) -> Row:
    """Return the median of a command, and its ratio to an empty Python between its runs."""
    options = ("--data", str(data)) if arguments == ("calls",) else ()
    seconds, python_seconds = [], []
    for _number in range(COMMAND_RUNS):
        seconds.append(_child_cpu_seconds(*_ONHOOK, *arguments, *options))
        python_seconds.append(_child_cpu_seconds(sys.executable, "-c", "pass"))
    ratio = statistics.median(seconds) / statistics.median(python_seconds)
    return Row(subject, f"{statistics.median(seconds):.2f} s", f"{ratio:.0f} times an empty Python", target)


def _start() -> list[Row]:
    acknowledged, first_page, used = [], [], []
    for number in range(STARTS):
        with _server() as server:
            _until_answered(lambda server=server, number=number: _send_event(server.address("intake"), number))
            acknowledged.append(time.monotonic() - server.started_at)
            used.append(sum(_cpu_seconds(pid) for name, pid in server.pids().items() if name in {"serve", "intake"}))
            _until_answered(lambda server=server: _get_page(server.address("hub")))
            first_page.append(time.monotonic() - server.started_at)
    return [
        Row("start to first acknowledgement", f"{statistics.median(acknowledged):.2f} s", "", "0.4 s"),
        Row("the same, processor time of serve and intake", f"{statistics.median(used):.2f} s"),
        Row("start to first page", f"{statistics.median(first_page):.2f} s", "", "1.5 s"),
    ]


def _idle(server: ServerProcesses, *, with_threads: bool = False) -> list[Row]:
    time.sleep(SETTLE_SECONDS)
    pids = server.pids()
    before = {name: _threads(pid) for name, pid in pids.items()}
    began_at = time.monotonic()
    time.sleep(IDLE_SECONDS)
    after = {name: _threads(pid) for name, pid in pids.items()}
    seconds = time.monotonic() - began_at
    memory = _memory_rows(pids)
    differences = {name: _difference(before[name], after[name]) for name in pids}
    if with_threads:
        _print_threads(differences, seconds)
    cpu = {name: sum(thread.cpu_seconds for thread in threads) / seconds for name, threads in differences.items()}
    wake_ups = {name: sum(thread.wake_ups for thread in threads) / seconds for name, threads in differences.items()}
    return [
        Row("at rest, processor", f"{sum(cpu.values()):.2%} of a core", _parts(cpu, ".2%"), "1 %"),
        Row("at rest, wake-ups", f"{sum(wake_ups.values()):.1f} /s", _parts(wake_ups, ".1f"), "30 /s"),
        *memory,
    ]


def _memory_rows(pids: Mapping[str, int]) -> list[Row]:
    """Return PSS, the figure with a target; RSS, which counts libraries once for each process; and the anonymous pages,
    which no other process on the machine shares.
    """
    rows = []
    for field, target in (("Pss", "170 MB"), ("Rss", ""), ("Pss_Anon", "")):
        memory = {name: _mebibytes(pid, field) for name, pid in pids.items()}
        rows.append(Row(f"at rest, memory ({field})", f"{sum(memory.values()):.0f} MB", _parts(memory, ".0f"), target))
    return rows


@contextmanager
def _server() -> Iterator[ServerProcesses]:
    with tempfile.TemporaryDirectory(prefix="onhook-bench-") as name:
        data = Path(name)
        _prepare(data)
        server = ServerProcesses(data)
        try:
            yield server
        finally:
            server.stop()


def _prepare(data: Path) -> None:
    """Register one PBX and one destination, which nothing is sent to."""
    run_onhook("pbx", "add", "Office", "--sn", SN, "--secret", SECRET, "--data", str(data))
    run_onhook("destination", "add", "crm", "--url", "http://127.0.0.1:9/", "--allow-private", "--data", str(data))


def run_onhook(*arguments: str) -> bytes:
    """Run a command to its end; return what it printed."""
    return _run_program(*_ONHOOK, *arguments)


def _run_program(*words: str) -> bytes:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def _child_cpu_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run_program(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _until_answered(ask: object) -> None:
    assert callable(ask)
    while True:
        try:
            ask()
            return
        except (URLError, HTTPException, ConnectionError):
            time.sleep(POLL_SECONDS)


def _send_event(address: str, number: int) -> None:
    payload = body(number)
    request = urllib.request.Request(f"http://{address}/", payload, {"X-Signature": sign(SECRET, payload)})
    urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - the own server


def _get_page(address: str) -> None:
    urllib.request.urlopen(f"http://{address}/sign-in", timeout=5).close()


def _threads(pid: int) -> dict[int, ThreadCount]:
    return {int(path.name): _thread(path) for path in Path(f"/proc/{pid}/task").iterdir()}


def _thread(path: Path) -> ThreadCount:
    statistics_text = (path / "schedstat").read_text(encoding="ascii").split()
    switches = re.search(
        r"^voluntary_ctxt_switches:\s*(\d+)", (path / "status").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert switches is not None, "the kernel counts them"
    name = (path / "comm").read_text(encoding="utf-8").strip()
    return ThreadCount(name, int(statistics_text[0]) / 1e9, int(switches[1]))


def _difference(before: Mapping[int, ThreadCount], after: Mapping[int, ThreadCount]) -> list[ThreadCount]:
    nothing = ThreadCount("", 0.0, 0)
    return [
        ThreadCount(
            thread.name,
            thread.cpu_seconds - before.get(number, nothing).cpu_seconds,
            thread.wake_ups - before.get(number, nothing).wake_ups,
        )
        for number, thread in after.items()
    ]


def _cpu_seconds(pid: int) -> float:
    """Return what all threads of a process have used since its start."""
    return sum(thread.cpu_seconds for thread in _threads(pid).values())


def _mebibytes(pid: int, field: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    match = re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE)
    assert match is not None, "the kernel's memory summary has it"
    return int(match[1]) / 1024


def _parts(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def _print_threads(differences: Mapping[str, Sequence[ThreadCount]], seconds: float) -> None:
    for name, threads in differences.items():
        print(f"{name}: {len(threads)} threads", Counter(thread.name for thread in threads))
        for thread in sorted(threads, key=lambda thread: -thread.wake_ups):
            if thread.wake_ups:
                rate, share = thread.wake_ups / seconds, thread.cpu_seconds / seconds
                print(f"  {thread.name:16} {rate:6.1f} wake-ups/s {share:7.2%} of a core")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", action="store_true", help="only the figures at rest, with each thread")
    parser.add_argument("--commands", action="store_true", help="only commands and start")
    options = parser.parse_args()
    if options.commands or options.threads:
        with _server() as own_server:
            own_server.address("hub")
            rows = _commands(own_server) if options.commands else _idle(own_server, with_threads=True)
        print(table([*rows, *(_start() if options.commands else ())]))
    else:
        print(table(run()))
