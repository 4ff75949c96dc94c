"""Description of one destination."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.pbxs import Secret
from onhook.cdr.record_filter import RecordFilter
from onhook.cli.destination_card import describe_destination
from onhook.delivery.certificates import TrustedCertificate
from onhook.delivery.status import DestinationView
from tests.delivery.factories import destination
from tests.factories import STARTED_AT

SHANGHAI = ZoneInfo("Asia/Shanghai")


def _card(certificates: Sequence[TrustedCertificate] = (), **changes: object) -> dict[str, str]:
    view = DestinationView(
        **msgspec.structs.asdict(destination(**changes)),
        pending=7, retrying=2, failed=1, oldest_pending_at=STARTED_AT.replace(microsecond=123_456), replays=0,
        replay_pending=0, position=None, is_full=False, issues=(),
        certificates=certificates,
    )  # fmt: skip
    secrets = [Secret(secret_id=3, label="from May on", created_at=STARTED_AT)]
    return dict(describe_destination(msgspec.json.decode(msgspec.json.encode(view)), secrets, SHANGHAI))


def test_destination_card_has_settings_and_status() -> None:
    """Times to the second in the reader's zone, the retry policy explained, unset values left out."""
    card = _card(filter=RecordFilter(status="!ANSWERED", number="1002"))
    assert card["notifies of"] == "records, where number=1002, status=!ANSWERED"
    assert card["retry policy"] == "ten attempts within three days, time-out 5 s"
    assert card["oldest pending"] == "2026-04-27 19:04:36+08:00"
    assert card["pending"] == "7, 2 of them retrying"
    assert card["secrets"] == "3 from May on"
    assert [card[name] for name in ("custom headers", "failing since", "position")] == ["–"] * 3  # noqa: RUF001 - a dash for a missing value


def test_destination_card_has_special_settings() -> None:
    """Why it is disabled, one attempt, whole calls, header names."""
    card = _card(
        state="disabled", reason="the application answered 410 Gone", retry_policy="original", max_attempts=1,
        notifies_of="calls",
        headers={"X-Key": "hush"}, with_standard_webhooks=True,
    )  # fmt: skip
    assert card["state"] == "disabled: the application answered 410 Gone"
    assert card["retry policy"].startswith("one attempt, like a PBX")
    assert card["notifies of"] == "calls"
    assert card["custom headers"] == "X-Key"
    assert card["secrets"] == "3 from May on, also as Standard Webhooks"


def test_destination_card_names_the_trusted_certificates() -> None:
    certificate = TrustedCertificate(subject="CN=Office CA", expires_at=STARTED_AT, fingerprint="ab" * 32)
    assert _card([certificate], ca_certificates="…")["certificate"] == "signed by CN=Office CA, until 2026-04-27"
    assert _card(fingerprint="ab" * 32)["certificate"] == f"pinned: {'AB:' * 31}AB"
    assert _card()["certificate"] == "signed by an authority that the system trusts"


def test_destination_card_has_proxy_and_redirects() -> None:
    card = _card(proxy="http://onhook:…@proxy:3128", accept_redirects=True)
    assert (card["proxy"], card["redirects"]) == ("http://onhook:…@proxy:3128", "count as accepted")


def test_destination_card_of_templates_has_headers_and_no_format() -> None:
    card = _card(kind="http", url="https://api.example.com/v1", headers={"X-Key": "…"}, fields={"body": "{{ event }}"})
    assert (card["custom headers"], card["body"], card["address"]) == (
        "X-Key",
        "{{ event }}",
        "https://api.example.com/v1",
    )
    assert "payload format" not in card


def test_destination_card_of_another_kind_has_its_own_fields() -> None:
    """And no settings of a request."""
    card = _card(kind="postgresql", url="postgresql://db.example.com/calls", fields={"schema_name": "pbx"})
    assert (card["kind"], card["address"]) == ("postgresql", "postgresql://db.example.com/calls")
    assert card["schema name"] == "pbx"
    assert not {"payload format", "redirects", "proxy", "custom headers"} & card.keys()
    assert "payload format" in _card()


def test_destination_card_has_the_days_of_its_log() -> None:
    texts = {-1: "kept as long as the installation's", 0: "not kept", 1: "kept for one day", 7: "kept for 7 days"}
    assert {days: _card(log_days=days)["log"] for days in texts} == texts
