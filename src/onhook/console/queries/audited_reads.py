"""Reads that the audit log has: exports, recordings, raw events."""

import logging

from onhook.console.state import AppState
from onhook.lib.errors import Unavailable


async def audit_or_log_read(app_state: AppState, action: str) -> None:
    """Add a read to the audit log; while that cannot be written, to the log: a locked database stops no reader. The
    action is in English: it is stored for readers of all languages.
    """
    try:
        await app_state.appdb.audit.add_read(action, now_us=app_state.clock.microseconds())
    except Unavailable as error:
        extra = {"action": action, "error": str(error)}
        logging.getLogger("onhook.console").warning("read without an audit entry", extra=extra)
