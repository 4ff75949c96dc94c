"""Lists of extensions, queues, trunks and contacts, from the calls and the number plan."""

from datetime import timedelta
from typing import Any

import pytest

from onhook.pbx_api import reports
from tests.factories import ALICE, BOB, IVR, QUEUE, STARTED_AT, details
from tests.pbx_api.harness import PbxApiHarness

CUSTOMER = "Jane Roe<+15550100>"


def some_calls() -> list[Any]:
    """Return an inbound call by IVR and queue to Alice, Bob's outbound call, and one to a ring group."""
    inbound: dict[str, Any] = {
        "call_id": "1777287876.1",
        "call_from": CUSTOMER,
        "type": "Inbound",
        "src_trunk_name": "Trunk-A",
    }
    outbound: dict[str, Any] = {"call_from": BOB, "call_to": "5550199", "type": "Outbound", "dst_trunk_name": "Trunk-B"}
    return [
        details(call_to=IVR, **inbound),
        details(STARTED_AT + timedelta(seconds=5), call_to=QUEUE, **inbound),
        details(STARTED_AT + timedelta(seconds=6), call_to=ALICE, **inbound),
        details(**outbound),
        details(call_to="Sales<6300>", call_from="1003"),
    ]


@pytest.mark.parametrize(
    ("path", "member", "rows"),
    [
        ("extension", "data", [(1001, "1001", "Alice"), (1002, "1002", "Bob"), (1003, "1003", "1003")]),
        ("queue", "queue_list", [(6400, "6400", "Queue Team")]),
        ("ivr", "data", [(6200, "6200", "IVR Welcome")]),
        ("ringgroup", "data", [(6300, "6300", "Sales")]),
    ],
)
async def test_directory_lists_the_numbers_of_the_calls(
    harness: PbxApiHarness, path: str, member: str, rows: list[tuple[int, str, str]]
) -> None:
    """A number that exists once is its own id; a name is that of the latest call."""
    harness.add_records(some_calls())
    answer = await harness.get(f"v1.0/{path}/list", await harness.token())
    assert (answer["errcode"], answer["total_number"]) == (0, len(rows))
    names = [row.get("caller_id_name") or row["name"] for row in answer[member]]
    assert [(row["id"], row["number"], name) for row, name in zip(answer[member], names, strict=True)] == rows


async def test_directory_trunks_and_contacts_have_names_and_ids(harness: PbxApiHarness) -> None:
    """Their ids are whole numbers, the same for every query; callers without a name are no contacts."""
    harness.add_records(some_calls())
    token = await harness.token()
    trunks = (await harness.get("v1.0/trunk/list", token, sort_by="name"))["data"]
    assert [(trunk["name"], trunk["status"]) for trunk in trunks] == [("Trunk-A", 0), ("Trunk-B", 0)]
    assert (await harness.get("v1.0/trunk/get", token, id=str(trunks[1]["id"])))["data"] == trunks[1]
    trunk_ids = ",".join(str(trunk["id"]) for trunk in trunks)
    assert (await harness.get("v1.0/trunk/query", token, ids=trunk_ids))["data"] == trunks
    assert (await harness.get("v1.0/trunk/query", token, ids=str(trunks[1]["id"])))["data"] == trunks[1:]
    (contact,) = (await harness.get("v1.0/company_contact/list", token))["data"]
    assert (contact["contact_name"], contact["business"]) == ("Jane Roe", "+15550100")
    assert await harness.get("v1.0/phonebook/list", token) == {
        "errcode": 0,
        "errmsg": "SUCCESS",
        "total_number": 0,
        "data": [],
    }


async def test_directory_is_paged_sorted_and_searched(harness: PbxApiHarness) -> None:
    harness.add_records(some_calls())
    token = await harness.token()

    async def numbers(path: str, **parameters: str) -> list[str]:
        return [row["number"] for row in (await harness.get(f"v1.0/extension/{path}", token, **parameters))["data"]]

    assert await numbers("list", page="2", page_size="2") == ["1003"]
    assert await numbers("list", sort_by="number", order_by="desc") == ["1003", "1002", "1001"]
    assert await numbers("search", search_value="ali") == ["1001"]
    assert await numbers("query", ids="1001,1003") == ["1001", "1003"]
    assert (await harness.get("v1.0/extension/get", token, id="1002"))["data"]["caller_id_name"] == "Bob"
    assert (await harness.get("v1.0/extension/get", token, id="7"))["errcode"] == 60001
    assert (await harness.get("v1.0/extension/get", token))["errcode"] == 40002
    assert (await harness.get("v1.0/extension/query", token, ids="x"))["errcode"] == 40002
    assert (await harness.get("v1.0/extension/list", token, sort_by="colour"))["errcode"] == 40002


async def test_call_report_lists_unreturned_calls(harness: PbxApiHarness) -> None:
    """A missed call of a caller who was called back later is not among them."""
    missed: dict[str, Any] = {
        "call_to": ALICE,
        "type": "Inbound",
        "src_trunk_name": "t",
        "status": "NO ANSWER",
        "talk_duration": 0,
    }
    back: dict[str, Any] = {"call_from": ALICE, "call_to": "5550101", "type": "Outbound", "dst_trunk_name": "t"}
    harness.add_records(
        [
            details(call_from=CUSTOMER, **missed),
            details(call_from="5550101", **missed),
            details(STARTED_AT + timedelta(minutes=5), **back),
        ]
    )
    answer = await harness.get("v2.0/call_report/list", await harness.token(), type="unreturnmisscall")
    (row,) = answer["unreturn_miss_call_list"]
    assert (row["src"], row["srcname"], row["dst"], row["miss_call_type"]) == (
        *("+15550100", "Jane Roe", "1001", "no_answer"),
    )
    assert (row["time"], row["call_type"], row["call_to_type"]) == ("2026/04/27 19:04:36", "Inbound", "Extension")


async def test_call_report_counts_calls_of_extensions_and_queues(harness: PbxApiHarness) -> None:
    harness.add_records(some_calls())
    token = await harness.token()
    answer = await harness.get("v2.0/call_report/list", token, type="extcallstatistics", ext_id_list="1001,1002")
    rows = answer["ext_call_statistics_list"]
    assert [(row["ext_num"], row["total_call_count"], row["answered_calls"]) for row in rows] == [
        ("1001", 1, 1),
        ("1002", 1, 1),
    ]
    answer = await harness.get("v1.0/call_report/list", token, type="queueperformance", queue_id_list="6400")
    (queue,) = answer["queue_performance_list"]
    assert (queue["queue_name"], queue["total_calls"], queue["answered_calls"]) == ("Queue Team", 1, 1)
    window = {"start_time": "2020/01/01 00:00:00", "end_time": "2020/01/02 00:00:00"}
    answer = await harness.get("v2.0/call_report/list", token, type="queueperformance", queue_id_list="6400", **window)
    assert answer["queue_performance_list"][0]["total_calls"] == 0


async def test_call_report_counts_all_calls_or_none(harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page; of too many a smaller number would be wrong."""
    monkeypatch.setattr(reports, "LISTING_ROWS_MAX", 3)
    monkeypatch.setattr(reports, "REPORT_ROWS_MAX", 8)
    token = await harness.token()
    parameters = {"extcallstatistics": {"ext_id_list": "1001"}, "queueperformance": {"queue_id_list": "6400"}}

    async def report(kind: str) -> Any:
        return await harness.get("v2.0/call_report/list", token, type=kind, **parameters[kind])

    callees = ("1001", "Queue Team<6400>")
    harness.add_records([details(call_from="5550100", call_to=callee) for callee in callees for _ in range(8)])
    assert (await report("extcallstatistics"))["ext_call_statistics_list"][0]["total_call_count"] == 8
    assert (await report("queueperformance"))["queue_performance_list"][0]["total_calls"] == 8
    harness.add_records([details(call_from="5550100", call_to=callee) for callee in callees])
    assert [(await report(kind))["errcode"] for kind in parameters] == [60002, 60002]


@pytest.mark.parametrize("parameters", [{}, {"type": "queuesatisfaction"}, {"type": "extcallstatistics"}])
async def test_call_report_that_cannot_be_answered_is_a_parameter_error(
    harness: PbxApiHarness, parameters: dict[str, str]
) -> None:
    assert (await harness.get("v2.0/call_report/list", await harness.token(), **parameters))["errcode"] == 40002
