"""CDR queries: tables of request and response, against the running PBX API (yeastar-p-series.md 7)."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.cdr.call_details import CallDetails
from onhook.pbx_api import server
from tests.pbx_api.harness import SN, PbxApiHarness, open_pbx_api_harness

SIX_LEGS = json.loads((Path(__file__).parents[1] / "payloads" / "rest_six_legs.json").read_text())
UID = "20260630213717AB3D1"
Row = dict[str, Any]


def six_legs() -> list[CallDetails]:
    """Return the call of the captured response, as the events have it leg by leg."""
    return [
        CallDetails(
            call_id=row["call_id"],
            time_start=f"2026-06-30 21:{row['time'][14:19]}",
            call_from=row["call_from"],
            call_to=row["call_to"],
            call_duration=row["duration"],
            talk_duration=row["talk_duration"],
            src_trunk_name=row["src_trunk"],
            status=row["disposition"],
            type=row["call_type"],
            recording=row.get("record_file", ""),
            did_number=row["did_number"],
            uid=row["uid"],
            call_note_id=row["call_note_id"],
            enb_call_note=row["enb_call_note"],
        )
        for row in SIX_LEGS["data"]
    ]


def alice(n: int, **changes: Any) -> CallDetails:
    """Return a call of Alice to Bob, n minutes after nine in the morning in Athens."""
    values: Row = {
        "call_id": f"{1782799200 + 60 * n}.{n}",
        "time_start": f"2026-06-30 09:{n:02}:00",
        "call_from": "Alice<1001>",
        "call_to": "Bob<1002>",
        "call_duration": 10 * n,
        "talk_duration": n,
        "status": "ANSWERED",
        "type": "Internal",
        "uid": f"202606300900{n:02}00000",
        "pin_code": "1234" if n == 3 else "",
    }
    return CallDetails(**(values | changes))


def with_both_names(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with DID and recording under the second name that programs read too."""
    second_names = {"did_number": "did", "record_file": "recording"}
    return row | {second_names[name]: value for name, value in row.items() if name in second_names}


async def test_cdr_search_six_legs_are_the_rows_of_the_captured_response() -> None:
    """Member by member, in the display format of that PBX; only `new_id` is Onhook's own."""
    behaviour = ApiBehaviour(date_format="DD/MM/YYYY", time_format="12", time_forms=("seconds",))
    async with open_pbx_api_harness(behaviour=behaviour) as harness:
        harness.add_records(six_legs())
        answer = await harness.get("v1.0/cdr/search", await harness.token(), start_time="1782844637")
    assert {**answer, "data": [without_id(row) for row in answer["data"]]} == {
        **SIX_LEGS,
        "data": [with_both_names(without_id(row)) for row in SIX_LEGS["data"]],
    }
    assert len({row["new_id"] for row in answer["data"]}) == 6


def without_id(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "new_id"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"start_time": "1782799320"}, [2, 3, 4]),
        ({"start_time": "1782799320", "end_time": "1782799380"}, [2, 3]),
        ({"start_time": "2026/06/30 09:02:00"}, [2, 3, 4]),
        ({"start_time": "2026/06/30 09:02:00", "end_time": "2026/06/30 09:03:00"}, [2, 3]),
        ({"end_time": "2026/06/30 09:00:59"}, []),
        ({"call_from": "1001"}, [1, 2, 3]),
        ({"call_from": "Alice<1001>", "call_to": "1002"}, [1, 2, 3]),
        ({"call_to": "5550"}, [4]),
        ({"status": "BUSY"}, [4]),
        ({"status": "NO ANSWER"}, []),
        ({"pin_code": "1234"}, [3]),
        ({"did": "5550000:Trunk-A"}, [4]),
        ({"did": "Main line:Trunk-A"}, [4]),
        ({"did": "5550000:Trunk-B"}, []),
        ({"page_size": "3"}, [1, 2, 3]),
        ({"page_size": "3", "page": "2"}, [4]),
        ({"page_size": "3", "page": "9"}, []),
    ],
)
async def test_cdr_search_parameters_select_rows(
    harness: PbxApiHarness, parameters: dict[str, str], expected: list[int]
) -> None:
    """Every supported parameter, both forms of time, and page by page; the earliest first."""
    busy = alice(
        4,
        call_from="5551",
        call_to="5550",
        status="BUSY",
        did_number="5550000",
        did_name="Main line",
        src_trunk_name="Trunk-A",
    )
    harness.add_records([alice(1), alice(2), alice(3), busy])
    answer = await harness.get("v1.0/cdr/search", await harness.token(), **parameters)
    assert [int(row["time"][14:16]) for row in answer["data"]] == expected
    if "page_size" in parameters:
        assert answer["total_number"] == 4


@pytest.mark.parametrize(
    ("sort_by", "order_by", "first"),
    [("time", "asc", 1), ("time", "desc", 3), ("duration", "desc", 3), ("talk_duration", "asc", 1), ("id", "desc", 3)],
)
async def test_cdr_list_is_sorted_as_requested(harness: PbxApiHarness, sort_by: str, order_by: str, first: int) -> None:
    """By every sort key of the PBX, both ways."""
    harness.add_records([alice(n) for n in (1, 2, 3)])
    answer = await harness.get(
        "v1.0/cdr/list", await harness.token(), sort_by=sort_by, order_by=order_by, page_size="1"
    )
    assert (answer["total_number"], len(answer["data"])) == (3, 1)
    assert int(answer["data"][0]["time"][14:16]) == first


@pytest.mark.parametrize(
    ("path", "parameters", "blamed"),
    [
        ("v1.0/cdr/list", {"page": "0"}, "page"),
        ("v1.0/cdr/list", {"page": "-1"}, "page"),
        ("v1.0/cdr/list", {"page": "x"}, "page"),
        ("v1.0/cdr/list", {"page_size": "10001"}, "page_size"),
        ("v1.0/cdr/list", {"page": "9" * 40}, "page"),
        ("v1.0/cdr/list", {"sort_by": "colour"}, "sort_by"),
        ("v1.0/cdr/list", {"order_by": "up"}, "order_by"),
        ("v1.0/cdr/list", {"from": "elsewhere"}, "from"),
        ("v1.0/cdr/list", {"pin_code": "1" * 300}, "pin_code"),
        ("v1.0/cdr/search", {"start_time": "yesterday"}, "start_time"),
        ("v1.0/cdr/search", {"start_time": "06/30/2026 09:00:00"}, "start_time"),
        ("v1.0/cdr/search", {"end_time": "2026/06/31 09:00:00"}, "end_time"),
        ("v1.0/cdr/search", {"end_time": "1782799320000"}, "end_time"),
        ("v1.0/cdr/search", {"status": "!ANSWERED"}, "status"),
        ("v1.0/cdr/search", {"extension_group": "1"}, "extension_group"),
        ("v2.0/cdr/search", {"last_status": "GONE"}, "last_status"),
        ("v2.0/cdr/list", {"queue_list": ",".join(["6400"] * 60)}, "queue_list"),
        ("v2.0/cdr/detail", {}, "uid"),
        ("v1.0/recording/search", {"ids": "x"}, "ids"),
        ("v1.0/recording/download", {}, "id"),
    ],
)
async def test_cdr_invalid_parameter_is_named(
    harness: PbxApiHarness, path: str, parameters: dict[str, str], blamed: str
) -> None:
    """40002, and which one."""
    answer = await harness.get(path, await harness.token(), **parameters)
    assert answer["errcode"] == 40002
    assert answer["invalid_param_list"][0]["field"] == blamed


@pytest.mark.parametrize(
    ("forms", "start_time", "code", "total"),
    [
        (("seconds",), "1782799260", 0, 2),
        (("seconds",), "2026/06/30 09:01:00", 40002, None),
        (("display",), "1782799260", 40002, None),
        (("display",), "2026/06/30 09:01:00", 0, 2),
        (("display", "no-rows-for-seconds"), "1782799260", 0, 0),
        (("display", "no-rows-for-seconds"), "2026/06/30 09:01:00", 0, 2),
    ],
)
async def test_cdr_forms_of_time_depend_on_the_firmware(
    forms: Any, start_time: str, code: int, total: int | None
) -> None:
    """Accepted, rejected with 40002, or accepted without rows (yeastar-p-series.md 7.2)."""
    async with open_pbx_api_harness(behaviour=ApiBehaviour(time_forms=forms)) as harness:
        harness.add_records([alice(1), alice(2)])
        token = await harness.token()
        answer = await harness.get("v1.0/cdr/search", token, start_time=start_time)
        assert (answer["errcode"], answer.get("total_number")) == (code, total)
        assert (await harness.get("v1.0/cdr/list", token))["total_number"] == 2


async def test_cdr_legacy_partition_is_empty(harness: PbxApiHarness) -> None:
    harness.add_records([alice(1)])
    token = await harness.token()
    assert (await harness.get("v1.0/cdr/list", token, **{"from": "legacy"}))["total_number"] == 0
    assert (await harness.get("v1.0/cdr/list", token, **{"from": "new"}))["total_number"] == 1


async def test_cdr_v2_has_a_row_per_call(harness: PbxApiHarness) -> None:
    """Six legs are one row, with its queue; its detail has the legs in order."""
    harness.add_records([*six_legs(), alice(1)])
    token = await harness.token()
    answer = await harness.get("v2.0/cdr/list", token, sort_by="time", order_by="desc")
    assert answer["total_number"] == 2
    row = answer["data"][0]
    assert (row["uid"], row["last_status"], row["call_type"]) == (UID, "ANSWERED", "Inbound")
    assert (row["call_from_number"], row["call_to_number"]) == ("5550199", "6200")
    assert row["queues"] == [{"number": "6400", "name": "Queue Team"}]
    assert row["time"] == "2026/06/30 21:37:17"
    search_result = await harness.get(
        "v2.0/cdr/search", token, queue_list="6400,6401", time_begin="2026/06/30 21:00:00"
    )
    assert search_result["data"] == [row]
    assert (await harness.get("v2.0/cdr/search", token, last_status="ABANDONED"))["total_number"] == 0
    detail = (await harness.get("v2.0/cdr/detail", token, uid=UID))["data"]
    assert detail["basic"] == row
    assert [(stage["leg"], stage["call_to"]) for stage in detail["timeline"]] == [
        (number, leg["call_to"]) for number, leg in enumerate(SIX_LEGS["data"], 1)
    ]
    assert (await harness.get("v2.0/cdr/detail", token, uid="unknown"))["errcode"] == 60001


async def test_cdr_v2_of_a_pbx_without_it_is_answered_10001() -> None:
    async with open_pbx_api_harness(behaviour=ApiBehaviour(versions=("v1.0",))) as harness:
        token = await harness.token()
        assert (await harness.get("v2.0/cdr/list", token))["errcode"] == 10001
        assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 0


async def test_system_information_has_firmware_and_time(harness: PbxApiHarness) -> None:
    """The difference of `system_time` and `timestamp` is the offset; Athens is three hours ahead in June."""
    answer = await harness.get("v1.0/system/information", await harness.token())
    information = answer["data"]
    assert (information["model_name"], information["firmware_version"]) == ("P570", "37.23.0.123")
    assert (information["system_date_format"], information["system_time_format"]) == ("YYYY/MM/DD", "hh:mm:ss")
    assert (information["system_time"], information["timestamp"]) == ("2026/06/30 23:00:00", 1782849600)


@pytest.mark.parametrize(("pbxs", "sn"), [((), SN), ((SN,), SN), ((SN, "3631A2124ABD"), "")])
async def test_system_information_has_the_serial_number_of_the_only_pbx(pbxs: tuple[str, ...], sn: str) -> None:
    """Of an app of one PBX, and of one of all PBXs where there is one; of several it would name none of them."""
    async with open_pbx_api_harness(pbxs=pbxs) as harness:
        answer = await harness.get("v1.0/system/information", await harness.token())
    assert answer["data"]["sn"] == sn


async def test_cdr_download_is_a_file(harness: PbxApiHarness) -> None:
    """Prepared, and fetched within half an hour by the app that requested it only."""
    harness.add_records([alice(1, call_from="=1+1<1001>"), alice(2)])
    token = await harness.token()
    ready = await harness.get("v1.0/cdr/download", token, start_time="2026/06/30 09:01:00")
    url = f"http://{harness.address}{ready['download_resource_url']}"
    async with aiohttp.request("GET", url, params={"access_token": token}) as answer:
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(await answer.text(), newline="")))
    assert [(row["time"], row["call_from"]) for row in rows] == [
        ("2026/06/30 09:01:00", "'=1+1<1001>"),
        ("2026/06/30 09:02:00", "Alice<1001>"),
    ]
    assert "record_file" in rows[0]
    async with aiohttp.request("GET", url) as answer:
        assert (await answer.json())["errcode"] == 10004
    harness.clock.advance(minutes=29)
    async with aiohttp.request("GET", url, params={"access_token": token}) as answer:
        assert answer.content_type == "text/csv"
    harness.clock.advance(minutes=2)
    async with aiohttp.request("GET", url, params={"access_token": await harness.token()}) as answer:
        assert (await answer.json())["errcode"] == 10001


async def test_cdr_large_response_is_complete(harness: PbxApiHarness) -> None:
    """Written in pieces, as fast as it is read."""
    harness.add_records([alice(1, call_id=f"{1782799200 + n}.{n}", call_to=f"5550{n:04}") for n in range(3_000)])
    answer = await harness.get("v1.0/cdr/list", await harness.token())
    assert len({row["call_to"] for row in answer["data"]}) == answer["total_number"] == 3_000


async def test_cdr_unread_responses_are_limited(harness: PbxApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a response is 70082; a small one still works."""
    harness.add_records([alice(n) for n in range(20)])
    token = await harness.token()
    monkeypatch.setattr(server, "UNSENT_BYTES_MAX", 2_000)
    assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 70082
    assert (await harness.get("v1.0/cdr/list", token, page_size="1"))["errcode"] == 0


async def test_recordings_are_listed_without_audio(harness: PbxApiHarness) -> None:
    """A download has the documented error."""
    harness.add_records([*six_legs(), alice(1)])
    token = await harness.token()
    response = await harness.get("v1.0/recording/list", token, sort_by="time", order_by="desc")
    assert response["total_number"] == 2
    row = response["data"][0]
    assert isinstance(row["id"], int)
    assert 0 < row["id"] < 2**53
    assert row["file"] == "20260630213820-1782844637.854-5550199-4005-Inbound.wav"
    searched = await harness.get(
        "v1.0/recording/search", token, ids=str(row["id"]), caller="5550199", start_time="1782844689"
    )
    assert searched["data"] == [row]
    assert (await harness.get("v1.0/recording/search", token, callee="1001"))["total_number"] == 0
    assert (await harness.get("v1.0/recording/query", token, ids=str(row["id"])))["data"] == [row]
    for parameters in ({"id": str(row["id"])}, {"file": row["file"]}):
        assert (await harness.get("v1.0/recording/download", token, **parameters))["errcode"] == 60001


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"call_from": "5550199"}, 1),
        ({"call_from": "1001"}, 0),
        ({"call_to": "6200"}, 1),
        ({"call_from": "5550", "enable_fuzzy_search": "1"}, 1),
        ({"call_from": "5550", "enable_fuzzy_search": "0"}, 0),
        ({"call_to": "620", "enable_fuzzy_search": "true"}, 1),
    ],
)
async def test_call_search_by_number(harness: PbxApiHarness, parameters: dict[str, str], count: int) -> None:
    """A filter that is not applied would return all calls."""
    harness.add_records(six_legs())
    answer = await harness.get("v2.0/cdr/search", await harness.token(), **parameters)
    assert (answer["errcode"], answer["total_number"]) == (0, count)


@pytest.mark.parametrize("name", ["routing_duration", "segments", "disconnected_by", "call_type"])
async def test_call_search_by_what_is_unknown_is_rejected(harness: PbxApiHarness, name: str) -> None:
    answer = await harness.get("v2.0/cdr/search", await harness.token(), **{name: "1"})
    assert (answer["errcode"], answer["invalid_param_list"][0]["field"]) == (40002, name)


READ_FILTERS = {
    "v1.0/cdr/list": {"from", "pin_code"},
    "v1.0/cdr/search": {"start_time", "end_time", "status", "pin_code", "did", "call_from", "call_to"},
    "v1.0/cdr/download": {"start_time", "end_time", "status", "pin_code", "did", "call_from", "call_to"},
    "v1.0/recording/list": {"ids"},
    "v1.0/recording/search": {"start_time", "end_time", "caller", "callee", "ids"},
    "v1.0/recording/query": {"start_time", "end_time", "caller", "callee", "ids"},
    "v2.0/cdr/list": {"queue_list"},
    "v2.0/cdr/search": {"time_begin", "time_end", "last_status", "queue_list", "call_from", "call_to"},
    "v2.0/cdr/download": {"time_begin", "time_end", "last_status", "queue_list", "call_from", "call_to"},
    "v1.0/call_report/list?type=unreturnmisscall": {"start_time", "end_time", "miss_call_type"},
    "v2.0/call_report/list?type=unreturnmisscall": {"start_time", "end_time", "miss_call_type"},
    "v2.0/call_report/list?type=extcallstatistics": {"start_time", "end_time", "ext_id_list"},
    "v2.0/call_report/list?type=queueperformance": {"start_time", "end_time", "queue_id_list"},
}
OTHER_FILTERS = {"segments", "routing_duration", "disconnected_by", "call_type", "trunk", "extension_list"}


@pytest.mark.parametrize("path", READ_FILTERS)
async def test_filters_that_a_route_does_not_read_are_rejected(harness: PbxApiHarness, path: str) -> None:
    """A filter that is ignored would return all calls. One that is read is rejected for its value at most."""
    token = await harness.token()
    route, _separator, report_type = path.partition("?type=")
    report = {"type": report_type} if report_type else {}
    rejected = set()
    for name in set().union(*READ_FILTERS.values(), OTHER_FILTERS):
        answer = await harness.get(route, token, **report, **{name: "1"})
        if answer["errcode"] == 40002 and "is not supported" in answer["invalid_param_list"][0]["valid_msg"]:
            rejected.add(answer["invalid_param_list"][0]["field"])
    assert rejected == set().union(*READ_FILTERS.values(), OTHER_FILTERS) - READ_FILTERS[path]
    required = dict.fromkeys(READ_FILTERS[path] & {"ext_id_list", "queue_id_list"}, "1001")
    assert (await harness.get(route, token, **report, **required))["errcode"] == 0


async def download(harness: PbxApiHarness, path: str, **parameters: str) -> list[dict[str, str]]:
    """Return the rows of a prepared file."""
    token = await harness.token()
    ready = await harness.get(path, token, **parameters)
    url = f"http://{harness.address}{ready['download_resource_url']}"
    async with aiohttp.request("GET", url, params={"access_token": token}) as answer:
        return list(csv.DictReader(io.StringIO(await answer.text(), newline="")))


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 4),
        ({"time_begin": "2026/06/30 09:02:00", "time_end": "2026/06/30 09:02:59"}, 1),
        ({"last_status": "NO ANSWER"}, 0),
        ({"queue_list": "6400"}, 1),
        ({"call_from": "100", "enable_fuzzy_search": "True"}, 3),
        ({"sort_by": "time", "order_by": "desc", "page_size": "2"}, 2),
    ],
)
async def test_cdr_download_v2_has_the_calls_of_the_search(
    harness: PbxApiHarness, parameters: dict[str, str], count: int
) -> None:
    """One row per call, with the names of v2.0, in the order of the search."""
    harness.add_records([*(alice(n) for n in (1, 2, 3)), *six_legs()])
    searched = (await harness.get("v2.0/cdr/search", await harness.token(), **parameters))["data"]
    rows = await download(harness, "v2.0/cdr/download", **parameters)
    assert (len(searched), [row["uid"] for row in rows]) == (count, [row["uid"] for row in searched])
    for row, call in zip(rows, searched, strict=True):
        queues = ",".join(queue["number"] for queue in call.get("queues", []))
        values = {name: value for name, value in call.items() if name != "queues"} | {"queues": queues}
        assert {name: value for name, value in row.items() if value} == {
            name: str(value) for name, value in values.items() if value != ""
        }


@pytest.mark.parametrize("suffix", ["", "/"])
@pytest.mark.parametrize("prefix", ["", "/", "//"])
async def test_download_path_with_doubled_slashes_is_folded(harness: PbxApiHarness, prefix: str, suffix: str) -> None:
    harness.add_records([alice(1)])
    token = await harness.token()
    ready = await harness.get("v1.0/cdr/download", token)
    url = URL(f"http://{harness.address}{prefix}{ready['download_resource_url']}{suffix}", encoded=True)
    async with aiohttp.request("GET", url, params={"access_token": token}) as answer:
        assert answer.content_type == "text/csv"
