"""Recorder of a simulation: its counters, and two files that can prove a loss."""

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
from onhook.lib.messages import _
from onhook.simulator.fault_injection import SimulatedEvent
from onhook.simulator.office_plan import SimulationPlan, SimulationResult

NO_RESPONSE = "no response"
"""Counted among the responses: the connection was rejected or cut off, or the response was too late."""

WRITTEN = "written"
"""Counted in place of a status, where there is no response: the line or file was written."""


class SimulationRecorder:
    """Context manager that keeps the counters and the files of one simulation.

    The truth is written before an event is first sent, an acknowledgement as soon as it arrives. Each is a whole line.
    """

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        self._exit_stack = ExitStack()
        self._truth_file: FileIO | None = None
        self._acked_file: FileIO | None = None
        self._counts: Counter[str] = Counter()
        self._responses: Counter[str] = Counter()
        self._started_at = time.monotonic()

    def __enter__(self) -> Self:
        self._truth_file = self._open(self._plan.truth_path)
        self._acked_file = self._open(self._plan.acked_path)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit_stack.close()

    def record_event(self, event: SimulatedEvent) -> None:
        """Record a generated event; a repeat is not a new record."""
        if not event.is_first:
            self._counts["repeats"] += 1
            return
        self._counts["records"] += 1
        self._counts["lost"] += "lost" in event.faults
        if self._truth_file:
            record_fields = {"record_id": self.compute_record_id(event), "sn": self._plan.sn, "faults": event.faults}
            self._write(self._truth_file, msgspec.json.encode(record_fields | msgspec.structs.asdict(event.details)))

    def record_response(self, status: str) -> None:
        """Count the response to one request: a status or `NO_RESPONSE`."""
        self._counts["requests"] += 1
        self._responses[status] += 1

    def record_outcome(self, event: SimulatedEvent, *, is_acknowledged: bool) -> None:
        """Record the end of the attempts: whether the receiver accepted the event."""
        if not event.is_first:
            return
        if not is_acknowledged:
            self._counts["failed"] += 1
        elif "malformed" in event.faults:
            self._counts["malformed"] += 1
        else:
            self._counts["acknowledged"] += 1
            if self._acked_file:
                self._write(self._acked_file, self.compute_record_id(event).encode())

    def result(self) -> SimulationResult:
        """Return the counters up to now."""
        return SimulationResult(
            **self._counts,
            responses=dict(sorted(self._responses.items())),
            duration_seconds=time.monotonic() - self._started_at,
        )

    def compute_record_id(self, event: SimulatedEvent) -> str:
        """Return the record's id, as the receiver computes it."""
        return record_id(record_key(self._plan.sn, event.details))

    def _write(self, file: FileIO, line: bytes) -> None:
        try:
            is_complete = file.write(line + b"\n") == len(line) + 1
        except OSError as error:
            raise Unavailable(
                _("cannot write {file}: {reason}", file=file.name, reason=error.strerror),
                hint=_("free disk space and start again"),
            ) from error
        if not is_complete:
            raise Unavailable(
                _("the disk of {file} is full", file=file.name), hint=_("free disk space and start again")
            )

    def _open(self, path: Path | None) -> FileIO | None:
        if path is None:
            return None
        try:
            # Unbuffered: a reader always sees whole lines, also after a crash.
            return self._exit_stack.enter_context(path.open("wb", buffering=0))
        except OSError as error:
            raise UsageError(
                _("cannot write {path}: {reason}", path=path, reason=error.strerror),
                hint=_("name a file that can be written"),
            ) from error
