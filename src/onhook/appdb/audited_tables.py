"""What the audit log records: the tables and columns that people and programs set, declared here and nowhere else.

Columns that Onhook itself keeps, such as cursors and times of use, are not listed, so that writing them is no change.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from onhook.appdb.destination_spec import mask_url
from onhook.appdb.origin import Origin
from onhook.lib.clock import SystemClock
from onhook.lib.hosts import mask_proxy

Event = Literal["insert", "update", "delete"]

MASK = "…"
"""Stands for a secret."""

AUDIT_ENTRIES_MAX = 50_000
"""Years of changes by hand; the oldest are deleted first."""

JSON_CHARACTERS_MAX = 20_000
"""Of the values before or after a change: the largest number plan has some thousand characters."""


class AuditedTable(msgspec.Struct, frozen=True, kw_only=True):
    """The `noun` of its rows, the column with their `name`, and the recorded columns. Of `secrets` no value is kept,
    only whether there is one. `condition` is that of a recorded row, in SQL.
    """

    noun: str
    name: str
    columns: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    events: tuple[Event, ...] = ("insert", "update", "delete")
    condition: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One changed row: values before and after it, None where there is no such row."""

    table: str
    name: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


# The most important first: it describes a transaction that changes several.
TABLES: Mapping[str, AuditedTable] = {
    "pbxs": AuditedTable(
        noun="PBX",
        name="name",
        columns=("name", "sn", "dialect", "zone", "is_unsigned", "number_plan", "keeps_unregistered"),
    ),
    "serial_numbers": AuditedTable(noun="serial number", name="sn", columns=("sn", "pbx_sn", "is_accepted")),
    "secrets": AuditedTable(noun="secret of", name="sn", columns=("label",), secrets=("text",)),
    "source_matches": AuditedTable(noun="source of", name="sn", columns=("addresses",), secrets=("path",)),
    "pbx_credentials": AuditedTable(
        noun="API of", name="sn", columns=("url", "client_id", "fingerprint"), secrets=("client_secret",)
    ),
    "recordings": AuditedTable(noun="recordings of", name="sn", columns=("directory",)),
    "installation_retention": AuditedTable(
        noun="days of retention of the installation:", name="days", columns=("days",)
    ),
    "retention_overrides": AuditedTable(noun="retention of", name="sn", columns=("days",)),
    "queue_targets": AuditedTable(
        noun="settings of queue",
        name="queue",
        columns=("sn", "queue", "service_level_seconds", "short_abandon_seconds"),
    ),
    "pbx_conventions": AuditedTable(noun="conventions of", name="sn", columns=("encoding", "ring_time_meaning")),
    "line_connections": AuditedTable(
        noun="line connection of", name="sn", columns=("mode", "host", "port", "fields", "precedence")
    ),
    "swept_folders": AuditedTable(noun="folder of", name="sn", columns=("path", "target")),
    "cdr_sources": AuditedTable(
        noun="CDR source of", name="sn", columns=("location", "cdr_table", "columns"), secrets=("password",)
    ),
    "asterisks": AuditedTable(
        noun="AMI connection of",
        name="sn",
        columns=("host", "port", "user", "tls", "trunks", "inbound", "has_pins"),
        secrets=("secret",),
    ),
    "sync_state": AuditedTable(
        noun="sync of",
        name="sn",
        columns=("silence_minutes", "request"),
        events=("insert", "update"),
        # The sync deletes a request that is done.
        condition="NEW.silence_minutes IS NOT NULL OR NEW.request <> ''",
    ),
    "tokens": AuditedTable(
        noun="token", name="name", columns=("name", "role", "scope", "expires_at"), secrets=("hash",)
    ),
    "share_tokens": AuditedTable(noun="search of share token", name="name", columns=("export_filter",)),
    "users": AuditedTable(
        noun="user",
        name="name",
        columns=("name", "role", "scope", "is_disabled", "permissions", "email"),
        secrets=("password",),
    ),
    "invitations": AuditedTable(
        noun="invitation of", name="name", columns=("expires_at",), secrets=("hash",), events=("insert",)
    ),
    "totp_factors": AuditedTable(
        noun="authenticator app of", name="user_name", columns=("user_name", "confirmed_at"), secrets=("secret",)
    ),
    "passkeys": AuditedTable(
        noun="passkey of", name="user_name", columns=("user_name", "name", "rp_id"), secrets=("credential_id",)
    ),
    # One that is used is in the entry of the sign-in.
    "recovery_codes": AuditedTable(
        noun="recovery code of", name="user_name", columns=(), secrets=("hash",), events=("insert",)
    ),
    "sign_in_settings": AuditedTable(
        noun="second factor required of", name="factor_roles", columns=("factor_roles", "console_url")
    ),
    "identity_provider": AuditedTable(
        noun="identity provider", name="issuer", columns=("issuer", "client_id", "settings"), secrets=("client_secret",)
    ),
    "identities": AuditedTable(
        noun="identity of", name="user_name", columns=("issuer", "subject", "user_name", "is_managed")
    ),
    "apps": AuditedTable(
        noun="app",
        name="name",
        columns=("name", "client_id", "pbxs", "networks", "behaviour", "allow_control"),
        secrets=("secret_hash",),
    ),
    "destinations": AuditedTable(noun="destination", name="name", columns=("name", "spec", "app", "state", "reason")),
    "signing_secrets": AuditedTable(
        noun="signing secret of destination", name="destination_id", columns=("label",), secrets=("text",)
    ),
    "streams": AuditedTable(
        noun="replay to destination",
        name="destination_id",
        columns=("filter", "cursor", "until"),
        events=("insert",),
        condition="NEW.until IS NOT NULL AND NEW.is_held = 0",
    ),
    "mail_settings": AuditedTable(
        noun="mail server",
        name="host",
        columns=(
            *("host", "port", "tls", "user_name", "sender", "ca_certificates", "allow_private"),
            *("console_url", "mails_per_hour"),
        ),
        secrets=("password",),
    ),
    "issue_recipients": AuditedTable(
        noun="mails about issues to", name="address", columns=("address", "topics", "mails_per_hour")
    ),
    "report_schedules": AuditedTable(
        noun="scheduled report", name="name", columns=("user_name", "name", "spec", "is_paused")
    ),
    "report_optouts": AuditedTable(
        noun="end of scheduled report", name="schedule_id", columns=("schedule_id", "address"), events=("insert",)
    ),
    "alert_channels": AuditedTable(
        noun="alerts of", name="user_name", columns=("user_name", "destination_id", "kinds")
    ),
    "notes": AuditedTable(
        noun="note on call", name="call_id", columns=("sn", "call_id", "text", "tags"), events=("insert",)
    ),
    "missed_call_work": AuditedTable(
        noun="work on missed call",
        name="call_id",
        columns=("sn", "call_id", "claimed_by", "done_by", "remind_at"),
        events=("insert", "update"),
    ),
    "directory_entries": AuditedTable(
        noun="directory entry",
        name="number",
        columns=("sn", "number", "kind", "name", "department", "site", "company"),
    ),
    "saved_searches": AuditedTable(noun="saved search", name="name", columns=("name", "path")),
    "dashboards": AuditedTable(noun="dashboard", name="name", columns=("name", "author", "is_shared", "content")),
    "saved_questions": AuditedTable(noun="question", name="name", columns=("name", "author", "is_shared", "sql")),
    "wallboard_links": AuditedTable(
        noun="wallboard link",
        name="name",
        columns=("dashboard_id", "name", "author", "scope", "expires_at"),
        secrets=("hash",),
    ),
}


ADD_ENTRY = (
    "INSERT INTO audit (created_at, actor, credential, address, way, action, before, after, status)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 200)"
)


def entry_values(changes: list[Change], origin: Origin) -> tuple[Any, ...]:
    """Return the values of ADD_ENTRY for the changes of one transaction."""
    return (
        *(SystemClock().microseconds(), origin.actor, origin.credential, origin.address, origin.way),
        *(describe_changes(changes), encode_values(changes, "before"), encode_values(changes, "after")),
    )


def decode_change(row: tuple[str, str, str | None, str | None]) -> Change:
    """Return the change that a trigger noticed: table, name, and the values before and after as JSON."""
    table, name, before, after = row
    # Texts that are not UTF-8 are of another class; a row with one can be removed too.
    return Change(
        table=table,
        name=str(name),
        before=None if before is None else msgspec.json.decode(str(before)),
        after=None if after is None else msgspec.json.decode(str(after)),
    )


def trigger_event(table: AuditedTable, event: Event) -> str:
    """Return when a trigger runs, in SQL, such as `AFTER UPDATE OF "name"`."""
    return f"AFTER {event.upper()}{' OF ' + ', '.join(_quoted_columns(table)) if event == 'update' else ''}"


def trigger_condition(table: AuditedTable, event: Event, *, is_distinct: str) -> str:
    """Return the condition of a trigger in SQL, with `WHEN`; empty where it has none. `is_distinct` is the operator for
    values that differ, where NULL is one.
    """
    conditions = [f"({table.condition})"] if table.condition else []
    if event == "update":
        differences = [f"OLD.{column} {is_distinct} NEW.{column}" for column in _quoted_columns(table)]
        conditions.append(f"({' OR '.join(differences)})")
    return f"WHEN ({' AND '.join(conditions)})" if conditions else ""


def trigger_members(table: AuditedTable, side: Literal["OLD", "NEW"]) -> str:
    """Return names and values of a row in SQL, for the function that makes an object of them: of a secret MASK."""
    members = [f"'{column}', {side}.\"{column}\"" for column in table.columns]
    members += [
        f"'{column}', CASE WHEN {side}.\"{column}\" IS NULL OR {side}.\"{column}\" = '' THEN '' ELSE '{MASK}' END"
        for column in table.secrets
    ]
    return ", ".join(members)


def _quoted_columns(table: AuditedTable) -> list[str]:
    return [f'"{column}"' for column in (*table.columns, *table.secrets)]


def delete_oldest_entries() -> tuple[str, tuple[int]]:
    """Return the statement, and its values, that deletes the audit entries beyond the limit: each entry that is added
    runs it, in its transaction.
    """
    return "DELETE FROM audit WHERE audit_id <= (SELECT max(audit_id) FROM audit) - ?", (AUDIT_ENTRIES_MAX,)


def describe_changes(changes: list[Change]) -> str:
    """Return a line for the changes of one transaction: `add PBX Office`, with the number of further ones."""
    first = min(changes, key=_importance)
    table = TABLES.get(first.table)
    verb = "add" if first.before is None else "remove" if first.after is None else "change"
    noun = first.table if table is None else table.noun
    suffix = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"{verb} {noun} {first.name}{suffix}"


def encode_values(changes: list[Change], side: Literal["before", "after"]) -> str:
    """Return the values of one side as JSON, rows by table; empty where there are none."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for change in changes:
        values = getattr(change, side)
        if values is not None:
            rows.setdefault(change.table, []).append(_mask(change.table, values))
    text = msgspec.json.encode(rows).decode() if rows else ""
    return text if len(text) <= JSON_CHARACTERS_MAX else '{"too_long":true}'


def _importance(change: Change) -> int:
    return list(TABLES).index(change.table) if change.table in TABLES else len(TABLES)


def _mask(table: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values with JSON decoded, and secrets inside it masked."""
    decoded = {column: _decode(value) for column, value in values.items()}
    spec = decoded.get("spec")
    if table == "destinations" and isinstance(spec, dict):
        headers = spec.get("headers")
        masked = {"headers": dict.fromkeys(headers, MASK)} if isinstance(headers, dict) else {}
        address = {"url": mask_url(str(spec.get("url", ""))), "proxy": mask_proxy(str(spec.get("proxy", "")))}
        decoded["spec"] = spec | masked | address
    return decoded


def _decode(value: Any) -> Any:
    """Return the object in a text of JSON; any other value is unchanged."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
    return decoded["value"] if isinstance(decoded, dict) and decoded.keys() == {"version", "value"} else decoded
