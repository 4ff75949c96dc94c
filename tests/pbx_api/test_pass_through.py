"""Requests passed on to a PBX, a real server, over the session that the sync holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.lib.clock import SystemClock
from onhook.pbx.client import ClientCredentials
from onhook.pbx.yeastar.client import YeastarClient
from onhook.pbx_api import pass_through
from onhook.pbx_api.pass_through import is_download_path, remove_secrets
from onhook.runtime.adapters.pbx_gateway import SyncPbxGateway
from onhook.runtime.adapters.simulated_calls import SimulatedCalls
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from tests.factories import details
from tests.pbx_api.harness import SN, PbxApiHarness, open_pbx_api_harness
from tests.sync.harness import MemorySyncState
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, json_response, open_pbx_responder

RECORDING = "20260427190436-1777287876.1-1001-1002-Internal.wav"
AUDIO = bytes(range(256)) * 2_000


class Scene:
    """An app's PBX API, its PBX, and the requests that the PBX received."""

    def __init__(self, harness: PbxApiHarness, responder: PbxResponder, appdb: AppDb) -> None:
        self.harness = harness
        self.responder = responder
        self.appdb = appdb
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: dict[str, dict[str, Any]] = {}

    async def respond(self, request: web.Request) -> web.StreamResponse | None:
        """Answer as the PBX, to requests with a valid token."""
        name = request.path.rpartition("v1.0/")[2]
        if name in ("get_token", "refresh_token", "del_token", "subscribe", "system/information"):
            return None
        if request.query.get("access_token") not in self.responder.tokens:
            return None
        query = {key: value for key, value in request.query.items() if key != "access_token"}
        self.requests.append((request.method, request.path, query, await request.text()))
        if request.path.startswith("/api/download/"):
            return web.Response(body=AUDIO, content_type="audio/wav")
        return json_response(**self.answers.get(name, {"errcode": 10001, "errmsg": "INTERFACE NOT EXISTED"}))

    async def audited(self) -> list[tuple[str, str, int]]:
        return [(entry.actor, entry.action, entry.status) for entry in await self.appdb.audit.latest(10)]


@asynccontextmanager
async def open_scene(path: Path, *, pbxs: tuple[str, ...] = (SN,), allow_control: bool = False) -> AsyncIterator[Scene]:
    appdb = AppDb(path / "onhook.db")
    async with open_pbx_responder() as responder:
        session = PbxSession(
            client=YeastarClient(),
            endpoint=PbxEndpoint(
                url=f"http://127.0.0.1:{responder.port}", login=ClientCredentials(CLIENT_ID, CLIENT_SECRET)
            ),
            token_store=MemorySyncState(),
            clock=SystemClock(),
            jitter=lambda: 0.5,
        )
        async with session:
            gateway = SyncPbxGateway({SN: session}.get, appdb, SystemClock())
            async with open_pbx_api_harness(gateway=gateway, pbxs=pbxs, allow_control=allow_control) as harness:
                scene = Scene(harness, responder, appdb)
                responder.override_response = scene.respond
                yield scene
    await appdb.close()


async def test_list_is_answered_by_the_pbx_without_secrets(tmp_path: Path) -> None:
    """The parameters are passed on, the app's token is not."""
    async with open_scene(tmp_path) as scene:
        row = {"id": 73, "number": "1001", "registration_password": "x", "nested": [{"Secret": "y", "kept": 1}]}
        scene.answers["extension/list"] = {"errcode": 0, "total_number": 1, "data": [row]}
        answer = await scene.harness.get("v1.0/extension/list", await scene.harness.token(), page="1", sort_by="id")
        assert answer["data"] == [{"id": 73, "number": "1001", "nested": [{"kept": 1}]}]
        assert scene.requests == [("GET", "/openapi/v1.0/extension/list", {"page": "1", "sort_by": "id"}, "")]


async def test_list_that_the_pbx_does_not_have_is_answered_from_the_calls(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        scene.harness.add_records([details()])
        answer = await scene.harness.get("v1.0/extension/list", await scene.harness.token())
        assert [row["number"] for row in answer["data"]] == ["1001", "1002"]


async def test_call_search_by_the_id_of_a_queue_of_the_pbx(tmp_path: Path) -> None:
    """Programs send the ids that the PBX lists."""
    async with open_scene(tmp_path) as scene:
        scene.harness.add_records([details(call_to="Queue Team<6400>"), details()])
        scene.answers["queue/list"] = {"errcode": 0, "queue_list": [{"id": 3, "number": "6400", "name": "Team"}]}
        token = await scene.harness.token()
        for queue in ("3", "6400"):
            answer = await scene.harness.get("v2.0/cdr/search", token, queue_list=queue)
            assert (answer["errcode"], answer["total_number"]) == (0, 1)


@pytest.mark.parametrize("pbxs", [(), (SN, "3699OTHER")])
async def test_list_of_an_app_of_several_pbxs_is_not_passed_on(tmp_path: Path, pbxs: tuple[str, ...]) -> None:
    async with open_scene(tmp_path, pbxs=pbxs, allow_control=True) as scene:
        token = await scene.harness.token()
        assert (await scene.harness.get("v1.0/extension/list", token))["errcode"] == 0
        assert (await scene.harness.get("v1.0/call/query", token))["errcode"] == 10001
        assert scene.requests == []


async def test_call_control_needs_a_permission(tmp_path: Path) -> None:
    """70084 without it, and the attempt is in the audit log."""
    async with open_scene(tmp_path) as scene:
        answer = await scene.harness.request(
            "POST", f"v1.0/call/dial?access_token={await scene.harness.token()}", json={"caller": "1001"}
        )
        assert answer["errcode"] == 70084
        assert scene.requests == []
        assert await scene.audited() == [("crm", "call/dial", 70084)]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "call/dial"), ("POST", "call/hangup"), ("GET", "call/query"), ("POST", "sign/create")],
)
async def test_call_control_of_an_allowed_app_is_passed_on_and_audited(tmp_path: Path, method: str, path: str) -> None:
    async with open_scene(tmp_path, allow_control=True) as scene:
        scene.answers[path] = {"errcode": 0, "call_id": "1777287876.1"}
        body = b'{"caller":"1001","callee":"5550100"}' if method == "POST" else b""
        target = f"v1.0/{path}?access_token={await scene.harness.token()}&a=b"
        assert (await scene.harness.request(method, target, data=body))["call_id"] == "1777287876.1"
        assert scene.requests == [(method, f"/openapi/v1.0/{path}", {"a": "b"}, body.decode())]
        assert await scene.audited() == [("crm", path, 0)]


async def test_call_control_is_sent_once_when_the_pbx_fails(tmp_path: Path) -> None:
    """A call that may have been placed is not placed again."""
    async with open_scene(tmp_path, allow_control=True) as scene:
        scene.answers["call/dial"] = {"errcode": -2, "errmsg": "INTERNAL SERVER ERROR"}
        token = await scene.harness.token()
        answer = await scene.harness.request("POST", f"v1.0/call/dial?access_token={token}", json={})
        assert (answer["errcode"], len(scene.requests)) == (-2, 1)


async def test_other_paths_are_not_passed_on(tmp_path: Path) -> None:
    async with open_scene(tmp_path, allow_control=True) as scene:
        token = await scene.harness.token()
        for path in ("extension/getpassword", "extension/delete", "queue/delete", "system/get_menuoptions"):
            assert (await scene.harness.get(f"v1.0/{path}", token, id="1"))["errcode"] == 10001
        assert scene.requests == []


async def test_recording_is_fetched_from_the_pbx(tmp_path: Path) -> None:
    """By name and by id, under an address of the PBX API, with the app's token."""
    async with open_scene(tmp_path) as scene:
        scene.harness.add_records([details(call_id="1777287876.1", recording=RECORDING)])
        scene.answers["recording/download"] = {
            "errcode": 0,
            "file": RECORDING,
            "download_resource_url": "/api/download/abc.wav",
        }
        token = await scene.harness.token()
        (row,) = (await scene.harness.get("v1.0/recording/list", token))["data"]
        for parameters in ({"file": RECORDING}, {"id": str(row["id"])}):
            answer = await scene.harness.get("v1.0/recording/download", token, **parameters)
            assert (answer["errcode"], answer["file"]) == (0, RECORDING)
            url = f"http://{scene.harness.address}{answer['download_resource_url']}"
            async with aiohttp.request("GET", url, params={"access_token": token}) as response:
                assert await response.read() == AUDIO
            async with aiohttp.request("GET", url, params={"access_token": "x" * 32}) as response:
                assert (await response.json())["errcode"] == 10004
        assert scene.requests[:2] == [
            ("GET", "/openapi/v1.0/recording/download", {"file": RECORDING}, ""),
            ("GET", "/api/download/abc.wav", {}, ""),
        ]
        assert await scene.audited() == [("crm", "recording/download", 0)] * 2


async def test_recording_of_this_machine_is_in_the_audit_log_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory of recordings is a mock."""
    path = tmp_path / "call.wav"
    path.write_bytes(AUDIO)

    async def recording_file(_calls: SimulatedCalls, _sn: str, _name: str) -> Path:
        return path

    monkeypatch.setattr(SimulatedCalls, "recording_file", recording_file)
    async with open_scene(tmp_path) as scene:
        scene.harness.add_records([details(recording=RECORDING)])
        token = await scene.harness.token()
        assert (await scene.harness.get("v1.0/recording/download", token, file=RECORDING))["errcode"] == 0
        assert (scene.requests, await scene.audited()) == ([], [("crm", "recording/download", 0)])


@pytest.mark.parametrize("url", ["http://evil.example/x", "//evil.example/x", "/api/download/../../etc", ""])
async def test_recording_address_elsewhere_is_not_followed(tmp_path: Path, url: str) -> None:
    async with open_scene(tmp_path) as scene:
        scene.answers["recording/download"] = {"errcode": 0, "file": RECORDING, "download_resource_url": url}
        answer = await scene.harness.get("v1.0/recording/download", await scene.harness.token(), file=RECORDING)
        assert answer["errcode"] == 60001


async def test_pass_through_is_limited_in_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By app and minute."""
    monkeypatch.setattr(pass_through, "REQUESTS_PER_MINUTE", 2)
    async with open_scene(tmp_path) as scene:
        scene.answers["queue/list"] = {"errcode": 0}
        token = await scene.harness.token()
        codes = [(await scene.harness.get("v1.0/queue/list", token))["errcode"] for _ in range(3)]
        assert codes == [0, 0, 70082]
        scene.harness.clock.advance(minutes=1)
        assert (await scene.harness.get("v1.0/queue/list", token))["errcode"] == 0


async def test_pass_through_to_an_unreachable_pbx_is_unavailable(tmp_path: Path) -> None:
    """Not answered from the calls: the ids would be others."""
    async with open_scene(tmp_path) as scene:
        scene.responder.login_error_code = 70123
        answer = await scene.harness.get("v1.0/queue/list", await scene.harness.token())
        assert answer["errcode"] == 70123


@pytest.mark.parametrize(
    ("path", "is_valid"),
    [
        ("/api/download/20260427-1.wav", True),
        ("/api/download/a/b.wav", True),
        ("/api/download/..%2f", False),
        ("/api/download/a?b", False),
        ("/api/download//evil.example", False),
        ("/openapi/v1.0/extension/delete", False),
        ("/api/download/é", False),
        ("/api/download/a\r\nX: y", False),
    ],
)
def test_download_path_leads_to_no_other_place(path: str, is_valid: bool) -> None:
    assert is_download_path(path) is is_valid


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [
        *((name, False) for name in ("vm_pin", "pin", "sip_pwd", "auth_key", "api_key", "token", "AppSecret")),
        *((name, True) for name in ("number", "spinning", "keypress_events", "key_1", "passthrough", "author")),
    ],
)
def test_remove_secrets_by_the_words_of_a_name(name: str, is_kept: bool) -> None:
    assert remove_secrets([{name: "x"}], 0) == ([{name: "x"}] if is_kept else [{}])


def test_remove_secrets_of_a_deep_value_leaves_out_the_rest() -> None:
    value: object = {"password": "x"}
    for _ in range(50):
        value = [value]
    assert "password" not in str(remove_secrets(value, 0))


async def test_list_that_is_passed_on_is_in_the_audit_log_once_an_hour(tmp_path: Path) -> None:
    """An app polls it; one that is answered from the calls is no read of the PBX."""
    async with open_scene(tmp_path) as scene:
        scene.answers["extension/list"] = {"errcode": 0, "total_number": 0, "data": []}
        token = await scene.harness.token()
        for _ in range(3):
            await scene.harness.get("v1.0/extension/list", token)
        assert await scene.audited() == [("crm", "extension/list", 200)]
