"""Description of one destination for a terminal. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.pbxs import Secret
from onhook.cli.formats import UNKNOWN, format_local_time
from onhook.cli.server_lookup import Row

_FULL_NOTE = " (limit reached: no new notifications are attempted)"


def describe_destination(row: Row, secrets: Sequence[Secret], zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return settings and status as names and texts; times in the reader's zone."""
    return [
        ("name", row["name"]),
        (
            "state",
            f"{row['state']}: {row['reason']}" if row["reason"] else row["state"],
        ),
        ("notifies of", _describe_notifies_of(row)),
        ("address", f"{row['method']} {row['url']}"),
        ("private addresses", "allowed" if row["allow_private"] else "not allowed"),
        ("payload format", row["payload_format"]),
        ("custom headers", ", ".join(row["headers"]) or UNKNOWN),
        ("retry policy", f"{_describe_retries(row)}, time-out {row['timeout_seconds']:g} s"),
        ("secrets", _describe_secrets(row, secrets)),
        ("managed by", row["app"] or UNKNOWN),
        ("added", format_local_time(row["created_at"], zone)),
        ("pending", f"{row['pending']}, {row['retrying']} of them retrying"),
        ("oldest pending", _format_time(row["oldest_pending_at"], zone)),
        ("failed", f"{row['failed']}{_FULL_NOTE if row['is_full'] else ''}"),
        ("succeeded attempts", str(row["attempts_succeeded"])),
        ("failed attempts", str(row["attempts_failed"])),
        ("failing since", _format_time(row["failing_since"], zone)),
        ("next attempt after", _format_time(row["retry_after"], zone)),
        ("position", UNKNOWN if row["position"] is None else str(row["position"])),
        ("replays queued", str(row["replays"])),
    ]


def _describe_notifies_of(row: Row) -> str:
    filters = ", ".join(f"{name}={value}" for name, value in row["filter"].items() if value is not None)
    return f"{row['notifies_of']}{', where ' if filters else ''}{filters}"


def _describe_retries(row: Row) -> str:
    if row["retry_policy"] == "days":
        return "ten attempts within three days"
    attempts_text = "once" if row["max_attempts"] == 1 else f"{row['max_attempts']} attempts"
    return f"{attempts_text}, like a PBX"


def _describe_secrets(row: Row, secrets: Sequence[Secret]) -> str:
    names = ", ".join(f"{secret.secret_id} {secret.label}" for secret in secrets)
    return f"{names}, also as Standard Webhooks" if row["with_standard_webhooks"] else names


def _format_time(text: str | None, zone: ZoneInfo) -> str:
    return UNKNOWN if text is None else format_local_time(text, zone)
