"""What is written down of a simulation: the counts, and the two files by which a loss can be proven."""

import time
from collections import Counter
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from onhook.cdr.identity import record_id, record_key
from onhook.lib.errors import Unavailable, UsageError
from onhook.simulator.fault_injection import Sending
from onhook.simulator.office_plan import SimulationPlan, SimulationResult

NO_ANSWER = "no answer"
"""Among the answers: refused, cut off, or too late."""


class Books:
    """Keeps the counts and the files of one simulation, open between `with` and its end.

    The truth is written before a report is first sent, an acknowledgement as soon as it came; each is a whole line.
    """

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        self._files = ExitStack()
        self._truth: FileIO | None = None
        self._acked: FileIO | None = None
        self._counts: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._truth = self._open(self._plan.truth)
        self._acked = self._open(self._plan.acked)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def made(self, sending: Sending) -> None:
        """A report was made; a repeat is the same record once more."""
        if not sending.is_first:
            self._counts["repeats"] += 1
            return
        self._counts["made"] += 1
        self._counts["lost"] += "lost" in sending.faults
        if self._truth:
            known = {"record_id": self.name_of(sending), "sn": self._plan.sn, "faults": sending.faults}
            self._write(self._truth, msgspec.json.encode(known | msgspec.structs.asdict(sending.details)))

    def answered(self, answer: str) -> None:
        """One request was answered so: a status, or `NO_ANSWER`."""
        self._counts["sent"] += 1
        self._answers[answer] += 1

    def settled(self, sending: Sending, *, is_acknowledged: bool) -> None:
        """No more tries: the receiver has it, or never answered well."""
        if not sending.is_first:
            return
        if not is_acknowledged:
            self._counts["given_up"] += 1
        elif "malformed" in sending.faults:
            self._counts["malformed"] += 1
        else:
            self._counts["acknowledged"] += 1
            if self._acked:
                self._write(self._acked, self.name_of(sending).encode())

    def result(self) -> SimulationResult:
        """The counts up to now."""
        return SimulationResult(
            **self._counts, answers=dict(sorted(self._answers.items())), seconds=time.monotonic() - self._began
        )

    def name_of(self, sending: Sending) -> str:
        """The record's id, as the receiver will call it."""
        return record_id(record_key(self._plan.sn, sending.details))

    def _write(self, file: FileIO, line: bytes) -> None:
        try:
            is_whole = file.write(line + b"\n") == len(line) + 1
        except OSError as error:
            raise Unavailable(
                f"cannot write {file.name}: {error.strerror}", todo="make room and start again"
            ) from error
        if not is_whole:
            raise Unavailable(f"the disk of {file.name} is full", todo="make room and start again")

    def _open(self, path: Path | None) -> FileIO | None:
        if path is None:
            return None
        try:
            # Unbuffered: whoever reads along, or after a crash, finds whole lines.
            return self._files.enter_context(path.open("wb", buffering=0))
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}", todo="name a file that can be written"
            ) from error
