"""One subscription, as a person would tell of it. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.pbxs import Secret
from onhook.cli.formats import UNKNOWN, format_local_time
from onhook.cli.server_lookup import Row

_FULL_NOTE = ", and so many are in trouble that nothing new is tried"


def describe_destination(row: Row, secrets: Sequence[Secret], zone: ZoneInfo) -> list[tuple[str, str]]:
    """What it asked for and how it stands, each with what it is called; moments in the reader's zone."""
    destination, status = row["subscription"], row["standing"]
    return [
        ("name", destination["name"]),
        (
            "state",
            f"{destination['state']}: {destination['reason']}" if destination["reason"] else destination["state"],
        ),
        ("told of", _describe_notifies_of(destination)),
        ("where", f"{destination['method']} {destination['url']}"),
        ("in a private network", "allowed" if destination["allows_private"] else "not allowed"),
        ("written as", destination["profile"]),
        ("further headers", ", ".join(destination["headers"]) or UNKNOWN),
        ("tried", f"{_describe_retries(destination)}, up to {destination['timeout_seconds']:g} s each"),
        ("signed with", _describe_secrets(destination, secrets)),
        ("managed by", destination["app"] or UNKNOWN),
        ("since", format_local_time(destination["created_at"], zone)),
        ("owed", f"{status['owed']}, {status['waiting']} of them wait to be tried again"),
        ("oldest owed", _format_time(status["oldest_owed_at"], zone)),
        ("parked", f"{status['parked']}{_FULL_NOTE if status['is_full'] else ''}"),
        ("delivered", str(destination["delivered"])),
        ("attempts that failed", str(destination["failed"])),
        ("failing since", _format_time(destination["failing_since"], zone)),
        ("left alone until", _format_time(destination["not_before"], zone)),
        ("settled up to report", UNKNOWN if status["position"] is None else str(status["position"])),
        ("replays to do", str(status["replays"])),
    ]


def _describe_notifies_of(one: Row) -> str:
    if one["about"] != "calls":
        return str(one["about"])
    filters = ", ".join(f"{name}={value}" for name, value in one["where"].items() if value is not None)
    return f"{'each call' if one['per'] == 'call' else 'each leg'}{', where ' if filters else ''}{filters}"


def _describe_retries(one: Row) -> str:
    if one["plan"] == "days":
        return "ten times in three days"
    attempts_text = "once" if one["tries"] == 1 else f"{one['tries']} times"
    return f"{attempts_text}, as the original"


def _describe_secrets(one: Row, secrets: Sequence[Secret]) -> str:
    names = ", ".join(f"{secret.secret_id} {secret.label}" for secret in secrets)
    return f"{names}, also as Standard Webhooks" if one["with_standard_webhooks"] else names


def _format_time(text: str | None, zone: ZoneInfo) -> str:
    return UNKNOWN if text is None else format_local_time(text, zone)
