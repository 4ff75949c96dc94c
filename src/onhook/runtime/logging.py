"""Log of the processes: one line per event on stderr, for people on a terminal, as JSON elsewhere.

The library `logging` with a formatter: the intake must start fast and stay small, and a library for structured logs
costs 100 ms and 10 MB.
"""

import logging
import sys
from typing import TextIO

import msgspec

from onhook.config import Config
from onhook.lib.clock import Clock
from onhook.lib.text import replace_control_characters
from onhook.runtime.recent_log import RecentLogHandler

TEXT_CHARACTERS_MAX = 4_000
"""Of one line: a traceback fits, the body of an event does not."""

_STANDARD_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure_logging(config: Config, clock: Clock, process_name: str, stream: TextIO | None = None) -> None:
    """Send log records to stderr, with the name of the process, and the last ones to a file in the data directory."""
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter(clock, process_name, is_terminal=stream.isatty(), shows_traces=config.trace))
    recent_log = RecentLogHandler(config.data, process_name)
    recent_log.setFormatter(LogFormatter(clock, process_name, is_terminal=False, shows_traces=config.trace))
    logging.basicConfig(level=logging.INFO, handlers=[handler, recent_log], force=True)
    # Per-connection records of libraries are noise.
    for logger_name in ("asyncio", "granian", "_granian", "aiohttp"):
        logging.getLogger(logger_name).setLevel(logging.ERROR)


class LogFormatter(logging.Formatter):
    """One line per event: time, level, process, event, and the values of `extra`."""

    def __init__(self, clock: Clock, process_name: str, *, is_terminal: bool, shows_traces: bool) -> None:
        super().__init__()
        self._clock = clock
        self._process_name = process_name
        self._is_terminal = is_terminal
        self._shows_traces = shows_traces

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end. It contains no secret and no body: neither is logged anywhere."""
        timestamp = self._clock.now().isoformat(timespec="milliseconds")
        values = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        text = record.getMessage()[:TEXT_CHARACTERS_MAX]
        if record.exc_info and record.exc_info[1] is not None:
            values["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"[:TEXT_CHARACTERS_MAX]
            if self._shows_traces:
                values["trace"] = self.formatException(record.exc_info)[-TEXT_CHARACTERS_MAX:]
        if not self._is_terminal:
            entry = {
                "time": timestamp,
                "level": record.levelname.lower(),
                "process": self._process_name,
                "event": text,
                **values,
            }
            return msgspec.json.encode(entry, enc_hook=str).decode()
        pairs = " ".join(f"{name}={value}" for name, value in values.items() if name != "trace")
        trace = f"\n{values['trace']}" if "trace" in values else ""
        message = replace_control_characters(f"{text} {pairs}".rstrip())
        return f"{timestamp[11:19]} {record.levelname.lower():7} {self._process_name}: {message}{trace}"
