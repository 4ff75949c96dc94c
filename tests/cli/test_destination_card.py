"""One destination, as a person would tell of it."""

from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.pbxs import Secret
from onhook.cdr.record_filter import RecordFilter
from onhook.cli.destination_card import describe_destination
from onhook.delivery.status import DestinationStatus, DestinationView
from tests.delivery.factories import destination
from tests.factories import STARTED_AT

SHANGHAI = ZoneInfo("Asia/Shanghai")
OWING = DestinationStatus(
    pending=7, retrying=2, failed=1, oldest_pending_at=STARTED_AT.replace(microsecond=123_456), replays=0,
    position=None, is_full=False,
)  # fmt: skip


def _card(**changes: object) -> dict[str, str]:
    shown = DestinationView(
        **msgspec.structs.asdict(destination(**changes)), **msgspec.structs.asdict(OWING), issues=()
    )
    secrets = [Secret(secret_id=3, label="from May on", created_at=STARTED_AT)]
    return dict(describe_destination(msgspec.json.decode(msgspec.json.encode(shown)), secrets, SHANGHAI))


def test_it_is_told_in_words() -> None:
    """Moments to the second in the reader's zone, a plan as what it means, and what nobody set as nothing."""
    told = _card(filter=RecordFilter(status="!ANSWERED", number="1002"))
    assert told["notifies of"] == "records, where number=1002, status=!ANSWERED"
    assert told["retry policy"] == "ten times in three days, up to 5 s each"
    assert told["oldest pending"] == "2026-04-27 19:04:36+08:00"
    assert told["pending"] == "7, 2 of them retrying"
    assert told["secrets"] == "3 from May on"
    assert [told[name] for name in ("custom headers", "failing since", "position")] == ["–"] * 3  # noqa: RUF001 - a dash, because a value is missing


def test_what_is_special_is_told_too() -> None:
    """Why it is disabled, one try, whole calls, headers by their names alone."""
    told = _card(
        state="disabled", reason="the application answered 410 Gone", retry_policy="original", max_attempts=1,
        notifies_of="calls",
        headers={"X-Key": "hush"}, with_standard_webhooks=True,
    )  # fmt: skip
    assert told["state"] == "disabled: the application answered 410 Gone"
    assert told["retry policy"].startswith("once, as the original")
    assert told["notifies of"] == "calls"
    assert told["custom headers"] == "X-Key"
    assert told["secrets"] == "3 from May on, also as Standard Webhooks"
