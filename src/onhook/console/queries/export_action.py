"""The action of an export in the audit log; apart from the console's state, which commands do without."""

from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.store.contract import ExportFormat


def describe_export(export_format: ExportFormat, search_filter: RecordFilter, masking: Masking | None = None) -> str:
    """Return the action of an export, with its filters on records and its mask."""
    filters = [f"{name}={value}" for name in FILTER_NAMES if (value := getattr(search_filter, name)) is not None]
    if search_filter.call_filter is not None:
        filters.append("and filters on whole calls")
    if search_filter.parties:
        filters.append("and departments or sites")
    if masking is not None:
        filters.append(f"mask={masking.mask}")
    return f"export {export_format}: {', '.join(filters) or 'all calls'}"
