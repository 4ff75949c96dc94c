"""Issuing, refreshing and revoking tokens: tables of request and response, against the running PBX API."""

import asyncio
from typing import Any

import pytest

from onhook.pbx_api.server import CONCURRENT_RESPONSES_MAX
from onhook.pbx_api.tokens import VALID_TOKENS_MAX
from tests.pbx_api.harness import CLIENT_ID, CLIENT_SECRET, PbxApiHarness, open_pbx_api_harness

GOOD = {"username": CLIENT_ID, "password": CLIENT_SECRET}


async def test_get_token_response_is_as_documented(harness: PbxApiHarness) -> None:
    """Six members; tokens of 32 characters, for half an hour and for a day (yeastar-p-series.md 6)."""
    answer = await harness.login()
    assert list(answer) == [
        *("errcode", "errmsg", "access_token_expire_time", "access_token", "refresh_token_expire_time"),
        "refresh_token",
    ]
    assert (answer["errcode"], answer["errmsg"]) == (0, "SUCCESS")
    assert (answer["access_token_expire_time"], answer["refresh_token_expire_time"]) == (1800, 86400)
    assert len(answer["access_token"]) == len(answer["refresh_token"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "blamed"),
    [
        ("POST", "v1.0/get_token", {"json": GOOD | {"password": "wrong"}}, 10005, None),
        ("POST", "v1.0/get_token", {"json": GOOD | {"username": "unknown"}}, 10005, None),
        ("POST", "v1.0/get_token", {"json": {"username": CLIENT_ID}}, 40002, "password"),
        ("POST", "v1.0/get_token", {"json": GOOD | {"username": 7}}, 40002, "username"),
        ("POST", "v1.0/get_token", {"data": "user"}, 40001, None),
        ("POST", "v1.0/get_token", {"data": "[" * 5000}, 40001, None),
        ("POST", "v1.0/get_token", {"json": []}, 40001, None),
        ("POST", "v1.0/get_token", {"data": b"x" * 100_000}, 40004, None),
        ("POST", "v1.0/get_token", {"json": GOOD, "headers": {"User-Agent": ""}}, 40002, "User-Agent"),
        ("GET", "v1.0/get_token", {}, 10001, None),
        ("POST", "v2.0/get_token", {"json": GOOD}, 10001, None),
        ("POST", "v1.0/refresh_token", {"json": {"refresh_token": "x" * 32}}, 10004, None),
        ("POST", "v1.0/refresh_token", {"json": {}}, 40002, "refresh_token"),
        ("GET", "v1.0/del_token", {}, 10004, None),
        ("GET", "v1.0/cdr/list", {}, 10004, None),
        ("GET", "v1.0/cdr/list", {"params": {"access_token": "x" * 32}}, 10004, None),
        ("GET", "v1.0/cdr/list", {"params": {"access_token": "x" * 1_000}}, 10004, None),
        ("GET", "v1.0/cdr/list", {"params": [("a", "b")] * 60}, 40001, None),
        ("GET", "v1.0/extension/create", {}, 10001, None),
        ("GET", "v1.0/webhook", {}, 10001, None),
        ("GET", "v3.0/cdr/list", {}, 10001, None),
        ("GET", "../api/anything", {}, 10001, None),
        ("DELETE", "v1.0/cdr/list", {}, 10001, None),
    ],
)
async def test_login_invalid_request_is_answered_with_its_code(  # noqa: PLR0917 - the columns of the table
    harness: PbxApiHarness, method: str, path: str, body: dict[str, Any], code: int, blamed: str | None
) -> None:
    """HTTP 200 and the code of the table; a wrong parameter is named (yeastar-p-series.md 6.1)."""
    answer = await harness.request(method, path, **body)
    assert answer["errcode"] == code
    assert [parameter["field"] for parameter in answer.get("invalid_param_list", [])] == ([blamed] if blamed else [])


async def test_token_is_accepted_in_the_query_only(harness: PbxApiHarness) -> None:
    """As `Authorization: Bearer` it is answered 10004."""
    token = await harness.token()
    bearer = await harness.request("GET", "v1.0/cdr/list", headers={"Authorization": f"Bearer {token}"})
    assert bearer["errcode"] == 10004
    assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 0


async def test_token_expires_after_half_an_hour(harness: PbxApiHarness) -> None:
    """To the second."""
    token = await harness.token()
    harness.clock.advance(seconds=1799)
    assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 0
    harness.clock.advance(seconds=1)
    assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 10004


async def test_refresh_token_is_valid_once_within_a_day(harness: PbxApiHarness) -> None:
    """It gives a new pair; the old access token stays valid until it expires."""
    first = await harness.login()
    refreshing = {"json": {"refresh_token": first["refresh_token"]}}
    second = await harness.request("POST", "v1.0/refresh_token", **refreshing)
    assert second["errcode"] == 0
    assert second["access_token"] != first["access_token"]
    assert (await harness.request("POST", "v1.0/refresh_token", **refreshing))["errcode"] == 10004
    for token in (first["access_token"], second["access_token"]):
        assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 0
    harness.clock.advance(hours=24)
    late = await harness.request("POST", "v1.0/refresh_token", json={"refresh_token": second["refresh_token"]})
    assert late["errcode"] == 10004


async def test_del_token_revokes_the_pair(harness: PbxApiHarness) -> None:
    pair = await harness.login()
    assert (await harness.get("v1.0/del_token", pair["access_token"]))["errcode"] == 0
    assert (await harness.get("v1.0/cdr/list", pair["access_token"]))["errcode"] == 10004
    second_response = await harness.request("POST", "v1.0/refresh_token", json={"refresh_token": pair["refresh_token"]})
    assert second_response["errcode"] == 10004


async def test_get_token_ninth_is_rejected_until_one_is_gone(harness: PbxApiHarness) -> None:
    """60002; a place is free again when a token is deleted, and all are when they expire."""
    tokens = [await harness.token() for _ in range(VALID_TOKENS_MAX)]
    assert (await harness.login())["errcode"] == 60002
    await harness.get("v1.0/del_token", tokens[0])
    assert (await harness.login())["errcode"] == 0
    assert (await harness.login())["errcode"] == 60002
    harness.clock.advance(minutes=30)
    assert (await harness.login())["errcode"] == 0


async def test_refresh_token_works_at_the_limit(harness: PbxApiHarness) -> None:
    """With eight valid tokens the refreshed one is revoked, however often."""
    pair = await harness.login()
    for _ in range(VALID_TOKENS_MAX - 1):
        await harness.token()
    for _ in range(3):
        renewed = await harness.request("POST", "v1.0/refresh_token", json={"refresh_token": pair["refresh_token"]})
        assert renewed["errcode"] == 0
        assert (await harness.get("v1.0/cdr/list", pair["access_token"]))["errcode"] == 10004
        pair = renewed


async def test_login_five_failures_block_wrong_credentials(harness: PbxApiHarness) -> None:
    """70004 for a wrong secret, for an hour."""
    codes = [(await harness.login(password="wrong"))["errcode"] for _ in range(6)]
    assert codes == [10005, 10005, 10005, 10005, 70004, 70004]
    harness.clock.advance(minutes=61)
    assert (await harness.login(password="wrong"))["errcode"] == 10005


@pytest.mark.parametrize("username", [CLIENT_ID, "nonsense"])
async def test_login_failures_never_block_valid_tokens_and_credentials(harness: PbxApiHarness, username: str) -> None:
    """Of the same address, and even of the same client id."""
    token = await harness.token()
    for _ in range(6):
        await harness.login(username, "nonsense")
    assert (await harness.get("v1.0/cdr/list", token))["errcode"] == 0
    assert (await harness.login())["errcode"] == 0


async def test_login_failures_are_counted_by_client_id(harness: PbxApiHarness) -> None:
    """Failures with another client id at the same address do not count."""
    for number in range(20):
        assert (await harness.login(f"unknown {number}", "wrong"))["errcode"] == 10005
    assert (await harness.login(password="wrong"))["errcode"] == 10005


async def test_login_success_resets_the_failures(harness: PbxApiHarness) -> None:
    """Four failures, a success, four failures: the address is not blocked."""
    for _ in range(2):
        for _ in range(4):
            await harness.login(password="wrong")
        assert (await harness.login())["errcode"] == 0
        await harness.get("v1.0/del_token", await harness.token())


async def test_login_from_another_network_is_rejected() -> None:
    """70087 from elsewhere, with the right secret; 0 from a network that is allowed."""
    async with open_pbx_api_harness(networks=("192.0.2.0/24",)) as harness:
        assert (await harness.login())["errcode"] == 70087
    async with open_pbx_api_harness(networks=("192.0.2.0/24", "127.0.0.0/8")) as harness:
        assert (await harness.login())["errcode"] == 0


async def test_login_slow_clients_delay_no_other(harness: PbxApiHarness) -> None:
    """More bodies that never end than concurrent responses: a login beside them is answered."""
    host, port = harness.address.split(":")
    slow = [await asyncio.open_connection(host, int(port)) for _ in range(2 * CONCURRENT_RESPONSES_MAX)]
    for _, writer in slow:
        writer.write(b"POST /openapi/v1.0/get_token HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        await writer.drain()
    assert (await harness.login())["errcode"] == 0
    for _, writer in slow:
        writer.close()
