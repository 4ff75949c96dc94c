"""Where an erasure looks for a number in the application database, and how.

Invariant: each column that may have a number is here, or its row is erased with its call or at each erasure;
`tests/appdb/test_erasures.py` has the list of all columns.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

import msgspec

OccursIn = Callable[[str], bool]
"""Returns whether the number is in a text; called in a thread."""

SEARCHED = {
    "notes": "SELECT note_id, text || ' ' || tags FROM notes WHERE note_id > ? ORDER BY note_id LIMIT ?",
    "saved_searches": "SELECT search_id, path || ' ' || name FROM saved_searches WHERE search_id > ?"
    " ORDER BY search_id LIMIT ?",
    "saved_questions": "SELECT question_id, sql || ' ' || name FROM saved_questions WHERE question_id > ?"
    " ORDER BY question_id LIMIT ?",
    "sql_history": "SELECT history_id, sql FROM sql_history WHERE history_id > ? ORDER BY history_id LIMIT ?",
    "share_tokens": "SELECT * FROM (SELECT row_number() OVER (ORDER BY name) AS number,"
    " export_filter || ' ' || name, name FROM share_tokens) AS numbered WHERE number > ? ORDER BY number LIMIT ?",
    "directory_entries": "SELECT entry_id, number || ' ' || name || ' ' || company || ' ' || department || ' ' || site"
    " FROM directory_entries WHERE entry_id > ? ORDER BY entry_id LIMIT ?",
    "learnt_names": "SELECT learnt_id, number || ' ' || name FROM learnt_names WHERE learnt_id > ?"
    " ORDER BY learnt_id LIMIT ?",
    "mails": "SELECT mail_id, replace(subject || ' ' || recipient || ' ' || detail, '\n', ' ') || '\n' || content"
    " FROM mails WHERE mail_id > ? ORDER BY mail_id LIMIT ?",
    "audit": "SELECT audit_id, action || ' ' || before || ' ' || after FROM audit WHERE audit_id > ?"
    " ORDER BY audit_id LIMIT ?",
    "report_schedules": "SELECT schedule_id, name || '\n' || detail || '\n' || spec FROM report_schedules"
    " WHERE schedule_id > ? ORDER BY schedule_id LIMIT ?",
    "issues": "SELECT issue_id, detail || '\n' || hint FROM issues WHERE issue_id > ? ORDER BY issue_id LIMIT ?",
    "alarms": "SELECT alarm_id, detail || '\n' || hint FROM alarms WHERE alarm_id > ? ORDER BY alarm_id LIMIT ?",
    "destination_reasons": "SELECT destination_id, reason FROM destinations WHERE destination_id > ?"
    " ORDER BY destination_id LIMIT ?",
}
"""Rows that are erased: their key, and their texts; of mails the content is behind the first line end."""

SETTINGS = (
    "SELECT 'destination ' || name, name || '\n' || spec FROM destinations",
    "SELECT 'replay of ' || name, filter FROM streams JOIN destinations USING (destination_id)",
    "SELECT 'signing secret ' || label, label FROM signing_secrets",
    "SELECT 'user ' || name, name || '\n' || email || '\n' || coalesce(scope, '') FROM users",
    "SELECT 'identity of ' || user_name, subject FROM identities",
    "SELECT 'passkey ' || name || ' of ' || user_name, name FROM passkeys",
    "SELECT 'token ' || name, coalesce(scope, '') FROM tokens",
    "SELECT 'token ' || name, name FROM tokens WHERE name NOT IN (SELECT name FROM share_tokens)",
    "SELECT 'app ' || name, name FROM apps",
    "SELECT 'dashboard ' || name, name || '\n' || content FROM dashboards",
    "SELECT 'wallboard link ' || name, name || '\n' || coalesce(scope, '') FROM wallboard_links",
    "SELECT 'identity provider', settings FROM identity_provider",
    "SELECT 'mail server', user_name || '\n' || sender FROM mail_settings",
    "SELECT 'mails about issues to ' || address, address FROM issue_recipients",
    "SELECT 'end of a scheduled report for ' || address, address FROM report_optouts",
    "SELECT 'PBX ' || name, name || '\n' || number_plan FROM pbxs",
    "SELECT 'secret ' || label || ' of PBX ' || sn, label FROM secrets",
    "SELECT 'path of PBX ' || sn, path FROM source_matches",
    "SELECT 'web API of PBX ' || sn, url FROM pbx_credentials",
    "SELECT 'trunks of PBX ' || sn, coalesce(trunks, '') || '\n' || inbound FROM asterisks",
    "SELECT 'connection to PBX ' || sn, detected_config || '\n' || error FROM asterisks",
    "SELECT 'directory of recordings of PBX ' || sn, directory FROM recordings",
    "SELECT 'CDR source of PBX ' || sn, location || '\n' || cdr_table || '\n' || columns FROM cdr_sources",
    "SELECT 'folder of PBX ' || sn, path || '\n' || target || '\n' || error FROM swept_folders",
    "SELECT 'targets of queue ' || queue, queue FROM queue_targets",
)
"""Settings that are listed and stay: their name, and their texts, each a line."""


def occurs_in_text(text: str, occurs_in: OccursIn) -> bool:
    """Return whether a number is in a text, or in the address that it is."""
    return occurs_in(text) or occurs_in(unquote_plus(text))


def occurs_in_lines(text: str, occurs_in: OccursIn) -> bool:
    """Return whether a number is in one of the lines, of which some are JSON: an hour or a port there is no telephone
    number, a text may be one.

    >>> occurs_in_lines('VIP\\n{"value": {"hour": 10, "query": "number=20"}}', lambda text: "10" in text)
    False
    """
    values = (_decode_line(line) for line in text.split("\n"))
    return any(occurs_in_text(line_text, occurs_in) for value in values for line_text in _iter_texts(value))


def _decode_line(line: str) -> Any:
    """Return the value of JSON that a line is, or the line."""
    if not line.startswith(("{", "[")):
        return line
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line


def _iter_texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value of JSON, names of members too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _iter_texts(item)
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _iter_texts(member)
