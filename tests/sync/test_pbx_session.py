"""The session of a PBX's API: callers who give up, and tokens that the PBX has forgotten."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from onhook.lib.errors import Unavailable
from onhook.pbx.client import PbxRequest
from onhook.pbx.yeastar.tokens import EARLY_REFUSAL_SECONDS
from onhook.sync import pbx_session
from tests.sync.harness import open_sync_harness
from tests.sync.pbx_responder import open_pbx_responder
from tests.waiting import wait_until

REQUEST = PbxRequest(path="/openapi/v1.0/system/information")


async def test_login_outlives_a_caller_who_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of apps with a time limit: else the PBX would have issued tokens that no session knows, until it issues
    none to the synchronization either.
    """
    monkeypatch.setattr(pbx_session, "FORWARD_SECONDS_MAX", 0.05)
    is_released = asyncio.Event()

    async def log_in_slowly(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("get_token"):
            await is_released.wait()
        return None

    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as harness:
        responder.override_response = log_in_slowly
        for _ in range(3):
            with pytest.raises(Unavailable, match="no response in time"):
                await harness.session.forward(REQUEST)
        is_released.set()
        assert (await harness.session.token()).token == "token-1"
        await wait_until(lambda: responder.login_count == 1)
        assert responder.tokens == {"token-1"}


async def test_rejected_token_is_forgotten_once_by_callers_at_the_same_time(tmp_path: Path) -> None:
    """None of them forgets the new token that another one has got."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as harness:
        await harness.session.token()
        responder.tokens.clear()
        harness.clock.offset_seconds += EARLY_REFUSAL_SECONDS
        requests = [harness.session.send_request(REQUEST), harness.session.forward(REQUEST)]
        answers = await asyncio.gather(*requests)
        assert [answer.errcode for answer in answers] == [0, 0]
        assert (await harness.session.token()).token in responder.tokens
