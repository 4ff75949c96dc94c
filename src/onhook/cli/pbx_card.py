"""One subscription, as a person would tell of it. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.pbxs import Secret
from onhook.cli.formats import UNKNOWN, local
from onhook.cli.server_lookup import Row

_FULL = ", and so many are in trouble that nothing new is tried"


def card(row: Row, secrets: Sequence[Secret], zone: ZoneInfo) -> list[tuple[str, str]]:
    """What it asked for and how it stands, each with what it is called; moments in the reader's zone."""
    one, standing = row["subscription"], row["standing"]
    return [
        ("name", one["name"]),
        ("state", f"{one['state']}: {one['reason']}" if one["reason"] else one["state"]),
        ("told of", _wanted(one)),
        ("where", f"{one['method']} {one['url']}"),
        ("in a private network", "allowed" if one["allows_private"] else "not allowed"),
        ("written as", one["profile"]),
        ("further headers", ", ".join(one["headers"]) or UNKNOWN),
        ("tried", f"{_tried(one)}, up to {one['timeout_seconds']:g} s each"),
        ("signed with", _signed(one, secrets)),
        ("managed by", one["app"] or UNKNOWN),
        ("since", local(one["created_at"], zone)),
        ("owed", f"{standing['owed']}, {standing['waiting']} of them wait to be tried again"),
        ("oldest owed", _at(standing["oldest_owed_at"], zone)),
        ("parked", f"{standing['parked']}{_FULL if standing['is_full'] else ''}"),
        ("delivered", str(one["delivered"])),
        ("attempts that failed", str(one["failed"])),
        ("failing since", _at(one["failing_since"], zone)),
        ("left alone until", _at(one["not_before"], zone)),
        ("settled up to report", UNKNOWN if standing["position"] is None else str(standing["position"])),
        ("replays to do", str(standing["replays"])),
    ]


def _wanted(one: Row) -> str:
    if one["about"] != "calls":
        return str(one["about"])
    filters = ", ".join(f"{name}={value}" for name, value in one["where"].items() if value is not None)
    return f"{'each call' if one['per'] == 'call' else 'each leg'}{', where ' if filters else ''}{filters}"


def _tried(one: Row) -> str:
    if one["plan"] == "days":
        return "ten times in three days"
    times = "once" if one["tries"] == 1 else f"{one['tries']} times"
    return f"{times}, as the original"


def _signed(one: Row, secrets: Sequence[Secret]) -> str:
    names = ", ".join(f"{secret.secret_id} {secret.label}" for secret in secrets)
    return f"{names}, also as Standard Webhooks" if one["with_standard_webhooks"] else names


def _at(text: str | None, zone: ZoneInfo) -> str:
    return UNKNOWN if text is None else local(text, zone)
