"""The client of a P-Series passes saved tokens, requests and rows to its parts."""

from typing import Any

import msgspec
import pytest

from onhook.pbx.client import ClientCredentials, PbxResponse, SystemFacts, TimeWindow
from onhook.pbx.yeastar.client import YeastarClient
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.yeastar.lists import FACTS, NOON, SN, FakeCallListApi, row, run_count, run_listing

CLIENT = YeastarClient()
LOGIN = ClientCredentials("client-of-onhook", "the-client-secret")
WINDOW = TimeWindow(since=NOON - 3600, until=NOON + 3600)
DOWNLOAD_HEADINGS = ("ID", "Time", "Call From", "Call To", "Call Duration(s)")


def respond(**members: Any) -> PbxResponse:
    return CLIENT.parse_response(200, msgspec.json.encode({"errcode": 0} | members))


def log_in(saved_tokens: str, token: str, now: float) -> str:
    step = CLIENT.next_step(saved_tokens, LOGIN, now)
    saved_tokens = CLIENT.begin_step(saved_tokens, step, now)
    return CLIENT.finish_step(saved_tokens, step, respond(access_token=token, access_token_expire_time=1800), now, 0.0)


def test_client_saved_tokens_survive_from_login_to_revocation() -> None:
    saved_tokens = log_in("", "token-1", NOON)
    assert CLIENT.next_step(saved_tokens, LOGIN, NOON + 60).token == "token-1"
    saved_tokens = log_in(saved_tokens, "token-2", NOON + 1500)
    revocation = CLIENT.replaced_token_revocation(saved_tokens)
    assert revocation is not None
    assert revocation.token == "token-1"
    steps = CLIENT.revocation_steps(saved_tokens, NOON + 1501)
    assert [step.token for step in steps] == ["token-1", "token-2"]
    saved_tokens = CLIENT.reject_token(saved_tokens, "token-2", NOON + 1700, 0.0)
    assert CLIENT.next_step(saved_tokens, LOGIN, NOON + 1700).action == "login"


@pytest.mark.parametrize("saved_tokens", ["", "{", "[]", '{"failures": "many"}'])
def test_client_unreadable_saved_tokens_cause_login(saved_tokens: str) -> None:
    """The format of another version costs one login."""
    step = CLIENT.next_step(saved_tokens, LOGIN, NOON)
    assert step.action == "login"
    assert step.request is not None
    assert step.request.path == "/openapi/v1.0/get_token"


def test_client_requests_name_their_endpoints() -> None:
    assert CLIENT.facts_request().path == "/openapi/v1.0/system/information"
    assert CLIENT.webhooks_request().path == "/openapi/v1.0/webhook/query"
    assert CLIENT.push_path == "/openapi/v1.0/subscribe"


def test_client_responses_are_parsed() -> None:
    assert CLIENT.parse_facts(respond(data={"sn": SN})) == SystemFacts(sn=SN)
    assert CLIENT.parse_webhooks(respond(data={"enb_webhook_event_push": 1})).is_enabled


def test_client_push_channels_are_independent() -> None:
    first, second = CLIENT.create_push_channel(), CLIENT.create_push_channel()
    first.on_open(NOON)
    assert (first.deadline < second.deadline, second.alive_since) == (True, None)


def test_client_lists_and_counts_calls() -> None:
    pbx = FakeCallListApi([row(NOON - number, number) for number in range(5)])
    result, wrapped_rows, _ = run_listing(pbx, CLIENT.list_calls(SN, WINDOW, FACTS, rows_max=2), {})
    assert (len(wrapped_rows), result.incomplete_reason) == (5, "")
    assert max(int(request.query["page_size"]) for request in pbx.requests) == 2
    assert run_count(pbx, CLIENT.count_calls(WINDOW, FACTS)) == 5


def test_client_file_row_is_parsed_by_dialect() -> None:
    """With the stored call id; its `uid` finds that id."""
    cells = ("20260630213717AB3D1", "30/06/2026 09:38:09 PM", "5550199", "4005", "85")
    file_row = dict(zip(DOWNLOAD_HEADINGS, cells, strict=True))
    assert CLIENT.get_file_row_uid(file_row) == "20260630213717AB3D1"
    assert CLIENT.get_file_row_uid(file_row | {"Call ID": "1782844637.854"}) == ""
    assert CLIENT.get_file_row_uid({"Time": "30/06/2026 09:38:09 PM"}) == ""
    (leg,) = Yeastar().parse(CLIENT.format_file_row(SN, file_row, "DD/MM/YYYY", "1782844637.854"))
    assert (leg.call_id, leg.time_start, leg.call_duration) == ("1782844637.854", "2026-06-30 21:38:09", 85)


@pytest.mark.parametrize("missing", [None, *DOWNLOAD_HEADINGS[:4]])
def test_client_recognizes_headings_of_download_if_none_is_missing(missing: str | None) -> None:
    headings = [name for name in DOWNLOAD_HEADINGS if name != missing]
    assert CLIENT.recognizes_headings(headings) == (missing is None)
