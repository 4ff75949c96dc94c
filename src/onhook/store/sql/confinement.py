"""Limits of a query process, set by the process itself before it reads anything of a user.

Invariants: the kernel enforces each of them, whatever the engine does; none can be lifted again. A process without a
parent ends at once, also where the parent has died while the process was starting.
"""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

import msgspec

OOM_SCORE = 1_000
"""When the machine runs out of memory, the kernel ends query processes first."""

_PR_SET_PDEATHSIG = 1


class ProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits: of the address space in bytes, of processor time and of time in seconds, of a written file in bytes."""

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: int
    file_bytes: int


def confine_process(limits: ProcessLimits, parent_pid: int) -> None:
    """Set the limits of this process. The system's signals end it at the limits of time, and with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it has died before: no signal follows
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limits.wall_seconds)
    with contextlib.suppress(OSError):  # a system without /proc decides by itself
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        _lower_limit(limit, value)
    # SIGXCPU says which limit it was; SIGKILL would follow a second later.
    _lower_limit(resource.RLIMIT_CPU, limits.cpu_seconds, hard_value=limits.cpu_seconds + 1)


def forbid_new_files() -> None:
    """Allow no further file, socket or pipe: the process keeps those that are open."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _lower_limit(limit: int, value: int, hard_value: int | None = None) -> None:
    """Lower a limit, and how far the process may raise it again; no limit of the system is raised."""
    _soft, hard = resource.getrlimit(limit)
    hard_value = value if hard_value is None else hard_value
    lowered = hard_value if hard == resource.RLIM_INFINITY else min(hard_value, hard)
    resource.setrlimit(limit, (min(value, lowered), lowered))
