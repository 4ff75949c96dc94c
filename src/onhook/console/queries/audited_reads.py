"""Reads that the audit log has: exports, recordings, raw events."""

import structlog

from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter
from onhook.console.state import AppState
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.store.contract import ExportFormat


async def audit_or_log_read(app_state: AppState, action: str) -> None:
    """Add a read to the audit log; while that cannot be written, to the log: a locked database stops no reader."""
    try:
        await app_state.appdb.audit.add_read(action, now_us=app_state.clock.microseconds())
    except Unavailable as error:
        structlog.get_logger("onhook.console").warning("read without an audit entry", action=action, error=str(error))


def describe_export(export_format: ExportFormat, search_filter: RecordFilter) -> str:
    """Return the action of an export, with its filters on records."""
    filters = [f"{name}={value}" for name in FILTER_NAMES if (value := getattr(search_filter, name)) is not None]
    if search_filter.call_filter is not None:
        filters.append(_("and filters on whole calls"))
    return _("export {format}: {filters}", format=export_format, filters=", ".join(filters) or _("all calls"))
