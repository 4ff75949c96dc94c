"""Grandstream UCM through the intake: constructed requests on real connections, gathered from the ledger, and the calls
that they are; and a simulated UCM.
"""

import base64
import json
from pathlib import Path

from onhook.lib.clock import SystemClock
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.sender import simulate
from tests.ops.leg_world import DIALECTS, open_leg_world
from tests.pbx.grandstream.test_acceptance import QUEUE_ROWS, REALTIME
from tests.receiver.harness import make_request, open_receiver
from tests.receiver.test_freeswitch_intake import post, read_calls

PATH = "/ucm/3kFz0qLrB7xN9sVe"
PASSWORD = "a-known-secret"
PBX = RegisteredPbx(sn="UCM", dialect="grandstream", path=PATH)
PBX_WITH_PASSWORD = RegisteredPbx(sn="UCM", dialect="grandstream", secrets=(PASSWORD,), has_password=True)


def make_row_request(body: bytes, *, path: str = PATH, password: str = "") -> bytes:
    headers = {"Authorization": f"Basic {base64.b64encode(f'ucm:{password}'.encode()).decode()}"} if password else {}
    request = make_request(body, secret=None, Content_Type="text/plain", **headers)
    return request.replace(b"Connection: close\r\n", b"").replace(b"POST / ", f"POST {path} ".encode(), 1)


async def test_intake_rows_of_sessions_are_calls_once(tmp_path: Path) -> None:
    """Reports of the stages of a call one by one, with repeats; a summary beside them is no talk of its own."""
    session = {"session": "1785740400-1", "userfield": "Inbound"}
    stages = [json.dumps(QUEUE_ROWS[name] | session).encode() for name in ("sub_cdr_2", "sub_cdr_1")]
    bodies = [REALTIME, REALTIME, *stages, json.dumps(QUEUE_ROWS).encode(), b'{"AcctId": "9"}']
    async with (
        open_receiver(tmp_path / "ledger.db", [PBX], dialects=DIALECTS) as receiver,
        open_leg_world(tmp_path) as world,
    ):
        await world.appdb.add_pbx(name="UCM", sn="UCM", secret=PASSWORD, dialect="grandstream", now_us=1)
        assert await post(receiver, [make_row_request(body) for body in bodies]) == [200] * len(bodies)
        assert await post(receiver, [make_row_request(REALTIME, path="/other")]) == [401]
        calls, quarantined = await read_calls(world)
        assert sorted((call.call_id, call.talk_duration, call.answered_by) for call in calls) == [
            ("1769941800123456-1001", 305, "+15550100234"),
            ("1785740400-1", 82, "1002"),
        ]
        assert [entry.reason for entry in quarantined if "no start" in entry.reason]


async def test_intake_rows_with_a_password_are_of_its_pbx(tmp_path: Path) -> None:
    async with open_receiver(tmp_path / "ledger.db", [PBX_WITH_PASSWORD], dialects=DIALECTS) as receiver:
        requests = [make_row_request(REALTIME, path="/", password=password) for password in ("", "wrong", PASSWORD)]
        assert [(await post(receiver, [request]))[0] for request in requests] == [401, 401, 200]


async def test_intake_simulated_ucm_has_its_calls(tmp_path: Path) -> None:
    async with (
        open_receiver(tmp_path / "ledger.db", [PBX], dialects=DIALECTS) as receiver,
        open_leg_world(tmp_path) as world,
    ):
        await world.appdb.add_pbx(name="UCM", sn="UCM", secret=PASSWORD, dialect="grandstream", now_us=1)
        for payload_format in ("ucm-json", "ucm-xml"):
            url = f"http://127.0.0.1:{receiver.port}{PATH}"
            plan = SimulationPlan(url=url, sn="UCM", payload_format=payload_format, rate=None, count=20)
            result = await simulate(plan, SystemClock())
            assert (result.acknowledged, result.failed) == (20, 0)
        calls, quarantined = await read_calls(world)
        assert not quarantined
        assert all(call.status and call.type for call in calls)
        assert sum(len(call.legs) for call in calls) >= 20
