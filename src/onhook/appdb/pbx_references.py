"""What is stored by the name of a PBX follows a new name: dashboards, scheduled reports, saved searches, the searches
of share tokens, the filters of destinations, and the rules of the identity provider.

Invariant: filters of destinations get the serial number instead. Calls have the new name some time after the
application database has it, and none must be missing at a destination meanwhile.
"""

import shlex
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import msgspec

from onhook.appdb.contract import Database
from onhook.appdb.dashboards import DashboardLayout
from onhook.appdb.destination_spec import decode_spec, encode_spec
from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.appdb.stored_json import decode_column, encode_column, read_rows
from onhook.cdr.record_filter import RecordFilter

Rewrite = Callable[[str], str]
"""Returns the text of a column with the new name; the same text where it has not the old one. Raises errors of rows
that cannot be read: they stay as they are.
"""


async def rename_references(database: Database, sn: str, old: str, new: str) -> None:
    """Rename a PBX in what names it, within the caller's transaction."""

    def rewrite_query(query: str) -> str:
        pairs = parse_qsl(query, keep_blank_values=True)
        if ("pbx", old) not in pairs:
            return query
        return urlencode([(name, new if (name, text) == ("pbx", old) else text) for name, text in pairs])

    def rewrite_path(path: str) -> str:
        page, separator, query = path.partition("?")
        return f"{page}{separator}{rewrite_query(query)}"

    def rewrite_schedule(text: str) -> str:
        spec = decode_column(text, ReportSpec)
        query = rewrite_query(spec.query)
        return text if query == spec.query else encode_column(msgspec.structs.replace(spec, query=query))

    def rewrite_dashboard(text: str) -> str:
        layout = decode_column(text, DashboardLayout)
        return text if layout.pbx != old else encode_column(msgspec.structs.replace(layout, pbx=new))

    def rewrite_destination(text: str) -> str:
        spec = decode_spec(text)
        record_filter = _by_sn(spec.filter, sn, old)
        return (
            text if record_filter == spec.filter else encode_spec(msgspec.structs.replace(spec, filter=record_filter))
        )

    def rewrite_stream(text: str) -> str:
        record_filter = decode_column(text, RecordFilter)
        by_sn = _by_sn(record_filter, sn, old)
        return text if by_sn == record_filter else encode_column(by_sn)

    def rewrite_provider(text: str) -> str:
        provider = decode_column(text, ProviderSettings)
        rules = "\n".join(_rewrite_rule(line, sn, old) for line in provider.rules.splitlines())
        is_same = rules == "\n".join(provider.rules.splitlines())
        return text if is_same else encode_column(msgspec.structs.replace(provider, rules=rules))

    if old == new:
        return
    await _rewrite(database, "identity_provider", "issuer", "settings", rewrite_provider)
    await _rewrite(database, "dashboards", "dashboard_id", "content", rewrite_dashboard)
    await _rewrite(database, "report_schedules", "schedule_id", "spec", rewrite_schedule)
    await _rewrite(database, "saved_searches", "search_id", "path", rewrite_path)
    await _rewrite(database, "share_tokens", "name", "export_filter", rewrite_query)
    streams = await _rewrite(database, "streams", "stream_id", "filter", rewrite_stream)
    if await _rewrite(database, "destinations", "destination_id", "spec", rewrite_destination) or streams:
        # Their workers read the filter of this revision.
        await database.write("UPDATE destinations SET revision = revision + 1")


def _by_sn(record_filter: RecordFilter, sn: str, name: str) -> RecordFilter:
    """Return a filter by serial number instead of by this name; one of both that contradict each other stays."""
    if record_filter.pbx != name or record_filter.sn not in (None, sn):
        return record_filter
    return msgspec.structs.replace(record_filter, pbx=None, sn=sn)


def _rewrite_rule(line: str, sn: str, name: str) -> str:
    """Return a rule for claims with the serial number instead of this name, which may have a comma from now on.

    >>> _rewrite_rule("sales reader 'pbxs=Main office,Shop'", "3631A", "Main office")
    'sales reader pbxs=3631A,Shop'
    """
    words = shlex.split(line)
    texts = [word.removeprefix("pbxs=").split(",") if word.startswith("pbxs=") else [] for word in words]
    if not any(text.strip() == name for parts in texts for text in parts):
        return line
    return shlex.join(
        f"pbxs={','.join(sn if text.strip() == name else text for text in parts)}" if parts else word
        for word, parts in zip(words, texts, strict=True)
    )


async def _rewrite(database: Database, table: str, key: str, column: str, rewrite: Rewrite) -> int:
    """Rewrite a column where that changes it; return the number of these rows."""
    rows = await database.rows(f"SELECT {key}, {column} FROM {table}")
    changes = [
        (new_text, row_key)
        for row_key, text, new_text in read_rows(rows, lambda row: (row[0], row[1], rewrite(row[1])))
        if new_text != text
    ]
    return await database.write_many(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", changes) if changes else 0
