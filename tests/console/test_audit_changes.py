"""Changed fields of the audit log: each difference once, nothing that is equal."""

import aiohttp
import pytest

from onhook.console.pages.audit_changes import FieldChange, list_field_changes
from onhook.lib.text import UNKNOWN
from tests.factories import SN

PBX: dict[str, object] = {"name": "office", "sn": "S1", "zone": None, "number_plan": {}, "is_unsigned": 0}
TOKEN = {"name": "wallboard", "role": "reader", "scope": None, "hash": "…"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"pbxs": [PBX]}, {"pbxs": [PBX]}, []),
        ({"pbxs": [PBX]}, {"pbxs": [PBX | {"zone": "UTC"}]}, [("zone", UNKNOWN, "UTC")]),
        ({"pbxs": [PBX]}, {"pbxs": [PBX | {"is_unsigned": 1}]}, [("is_unsigned", "0", "1")]),
        ({"pbxs": [PBX]}, {"pbxs": [PBX | {"name": "Berlin"}]}, [("name", "office", "Berlin")]),
        (
            {"pbxs": [PBX]},
            {"pbxs": [PBX | {"number_plan": {"ivr": ["1", "2"], "queue": []}}]},
            [("number_plan.ivr", UNKNOWN, "1, 2")],
        ),
        (
            {"destinations": [{"name": "CRM", "spec": {"with_standard_webhooks": False, "headers": {"X": "…"}}}]},
            {"destinations": [{"name": "CRM", "spec": {"with_standard_webhooks": True, "headers": {}}}]},
            [("spec.with_standard_webhooks", "no", "yes"), ("spec.headers.X", "…", UNKNOWN)],
        ),
        (
            {},
            {"tokens": [TOKEN]},
            [("name", UNKNOWN, "wallboard"), ("role", UNKNOWN, "reader"), ("hash", UNKNOWN, "…")],
        ),
        ({"secrets": [{"label": "a", "text": "…"}]}, {}, [("label", "a", UNKNOWN), ("text", "…", UNKNOWN)]),
        (
            {"pbxs": [PBX]},
            {"pbxs": [PBX | {"zone": "UTC"}], "secrets": [{"label": "a"}]},
            [("pbxs: zone", UNKNOWN, "UTC"), ("secrets: label", UNKNOWN, "a")],
        ),
        (
            {"serial_numbers": [{"sn": "1"}, {"sn": "2"}]},
            {"serial_numbers": [{"sn": "2"}]},
            [("serial numbers 2: sn", "1", UNKNOWN)],
        ),
        ({"too_long": True}, {"too_long": True}, [("values", UNKNOWN, "too long to be stored")]),
    ],
)
def test_list_field_changes_lists_differences(
    before: dict[str, object], after: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    assert list_field_changes(before, after) == [FieldChange(*change) for change in expected]


async def test_audit_page_shows_changed_fields(client: aiohttp.ClientSession) -> None:
    """A value that did not change is not shown, and no value is shown as JSON."""
    async with client.patch(f"/api/v1/pbxs/{SN}", json={"zone": "Europe/Berlin"}) as answer:
        assert answer.status == 200
    async with client.get("/audit", headers={"Accept": "text/html"}) as answer:
        page = " ".join((await answer.text()).split())
    assert f"<dt>zone</dt> <dd><bdi>{UNKNOWN}</bdi> → <bdi>Europe/Berlin</bdi></dd>" in page
    assert "{&#34;" not in page
