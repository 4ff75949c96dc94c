"""Description of one destination for a terminal. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.destination_spec import HTTP_KINDS, LOG_DAYS_AS_INSTALLATION
from onhook.appdb.pbxs import Secret, describe_secrets
from onhook.cli.formats import format_local_time
from onhook.cli.server_lookup import Row
from onhook.lib.certificates import format_fingerprint
from onhook.lib.messages import _, _n
from onhook.lib.text import UNKNOWN


def describe_destination(row: Row, secrets: Sequence[Secret], zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return settings and status as names and texts; times in the reader's zone."""
    return [
        (_("name"), row["name"]),
        (
            _("state"),
            f"{row['state']}: {row['reason']}" if row["reason"] else row["state"],
        ),
        (_("notifies of"), _describe_notifies_of(row)),
        (_("kind"), row["kind"]),
        (_("address"), f"{row['method']} {row['url']}" if row["kind"] == "webhook" else row["url"]),
        *((name.replace("_", " "), str(value)) for name, value in row["fields"].items()),
        (_("private addresses"), _("allowed") if row["allow_private"] else _("not allowed")),
        *([(_("payload format"), row["payload_format"])] if row["kind"] == "webhook" else ()),
        *(_describe_request(row) if row["kind"] in HTTP_KINDS else ()),
        (_("external numbers"), _("not masked") if row["mask"] == "none" else _("masked: {mask}", mask=row["mask"])),
        (_("transform"), "; ".join(row["transform"].splitlines()) or UNKNOWN),
        (_("certificate"), _describe_certificates(row)),
        (
            _("retry policy"),
            _("{attempts}, time-out {seconds:g} s", attempts=_describe_retries(row), seconds=row["timeout_seconds"]),
        ),
        (_("rate limit"), _describe_rate_limit(row["rate_limit"])),
        (_("log"), _describe_log_days(row["log_days"])),
        (_("secrets"), _describe_secrets(row, secrets)),
        (_("managed by"), row["app"] or UNKNOWN),
        (_("added"), format_local_time(row["created_at"], zone)),
        (_("pending"), _("{pending}, {retrying} of them retrying", pending=row["pending"], retrying=row["retrying"])),
        (_("oldest pending"), _format_time(row["oldest_pending_at"], zone)),
        (_("failed"), _describe_failed(row)),
        (_("succeeded attempts"), str(row["attempts_succeeded"])),
        (_("failed attempts"), str(row["attempts_failed"])),
        (_("failing since"), _format_time(row["failing_since"], zone)),
        (_("next attempt after"), _format_time(row["retry_after"], zone)),
        (_("position"), UNKNOWN if row["position"] is None else str(row["position"])),
        (_("replays queued"), str(row["replays"])),
        (_("records left of replays"), str(row["replay_pending"])),
    ]


def _describe_request(row: Row) -> list[tuple[str, str]]:
    """Return the settings of HTTP requests."""
    return [
        (_("redirects"), _("count as accepted") if row["accept_redirects"] else _("fail")),
        (_("proxy"), row["proxy"] or UNKNOWN),
        (_("custom headers"), ", ".join(row["headers"]) or UNKNOWN),
    ]


def _describe_notifies_of(row: Row) -> str:
    filters = ", ".join(f"{name}={value}" for name, value in row["filter"].items() if value is not None)
    if row["chosen_by_users"]:
        return _("{subject} that users choose", subject=row["notifies_of"])
    if not filters:
        return str(row["notifies_of"])
    return _("{subject}, where {filters}", subject=row["notifies_of"], filters=filters)


def _describe_certificates(row: Row) -> str:
    if row["fingerprint"]:
        return _("pinned: {fingerprint}", fingerprint=format_fingerprint(row["fingerprint"]))
    return "; ".join(
        _("signed by {subject}, until {date}", subject=certificate["subject"], date=certificate["expires_at"][:10])
        for certificate in row["certificates"]
    ) or _("signed by an authority that the system trusts")


def _describe_failed(row: Row) -> str:
    if row["is_full"]:
        return _("{count} (limit reached: no new notifications are attempted)", count=row["failed"])
    return str(row["failed"])


def _describe_retries(row: Row) -> str:
    if row["retry_policy"] == "days":
        return _("ten attempts within three days")
    return _n("one attempt, like a PBX", "{count} attempts, like a PBX", row["max_attempts"])


def _describe_log_days(days: int) -> str:
    if days == LOG_DAYS_AS_INSTALLATION:
        return _("kept as long as the installation's")
    return _n("kept for one day", "kept for {count} days", days) if days else _("not kept")


def _describe_rate_limit(rate_limit: float) -> str:
    return _("{count:g} notifications per second", count=rate_limit) if rate_limit else UNKNOWN


def _describe_secrets(row: Row, secrets: Sequence[Secret]) -> str:
    names = describe_secrets(secrets)
    return _("{names}, also as Standard Webhooks", names=names) if row["with_standard_webhooks"] else names


def _format_time(text: str | None, zone: ZoneInfo) -> str:
    return UNKNOWN if text is None else format_local_time(text, zone)
