"""The API of a simulated PBX: it knows every call, whatever the faults of the events, and misbehaves as configured."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import websockets

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.cdr.identity import record_id, record_key
from onhook.config import Address
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api.sockets import BATCH_SECONDS
from onhook.runtime.simulated_pbx import SimulatedApiConfig, SimulatedPbx, open_simulated_pbx
from onhook.simulator.fault_injection import Faults
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.sender import simulate
from tests.pbx_api.harness import CLIENT_ID, CLIENT_SECRET, SN, ManualClock

PLAN = SimulationPlan(sn=SN, rate=None, count=60, start=datetime(2026, 6, 1, 6, tzinfo=UTC))
VISIT = SimulatedApiConfig(
    address=Address("127.0.0.1", 0), client_id=CLIENT_ID, client_secret=CLIENT_SECRET, is_plain=True
)


class Application:
    """A program outside."""

    def __init__(self, made_up: SimulatedPbx) -> None:
        self._address = str(made_up.address)

    async def text(self, path: str, body: Any = None, **parameters: str) -> str:
        url = f"http://{self._address}/openapi/{path}"
        method = "GET" if body is None else "POST"
        parameters_of_request = {"headers": {"User-Agent": "OpenAPI"}, "params": parameters, "json": body}
        async with aiohttp.request(method, url, **parameters_of_request) as answer:
            return await answer.text()

    async def ask(self, path: str, **parameters: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.text(path, **parameters))
        return answer

    async def login(self) -> dict[str, Any]:
        parameters_of_request = {"username": CLIENT_ID, "password": CLIENT_SECRET}
        answer: dict[str, Any] = json.loads(await self.text("v1.0/get_token", parameters_of_request))
        return answer

    async def token(self) -> str:
        return str((await self.login())["access_token"])

    @asynccontextmanager
    async def listening(self, token: str) -> AsyncIterator[websockets.ClientConnection]:
        url = f"ws://{self._address}/openapi/v1.0/subscribe?access_token={token}"
        async with websockets.connect(url, max_queue=None) as socket:
            await socket.send('{"topic_list":[30012]}')
            await socket.recv()
            yield socket


@asynccontextmanager
async def pbx(
    faults: Faults = Faults(),  # noqa: B008 - frozen
    **changes: Any,
) -> AsyncIterator[tuple[SimulationPlan, SimulatedPbx, Application]]:
    plan = msgspec.structs.replace(PLAN, faults=faults, **changes)
    async with open_simulated_pbx(plan, VISIT, ManualClock()) as made_up:
        yield plan, made_up, Application(made_up)


async def everything(application: Application, token: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await application.ask("v1.0/cdr/list", access_token=token))["data"]
    return rows


async def test_simulated_pbx_api_knows_all_and_the_socket_has_the_faults(tmp_path: Path) -> None:
    """Late, duplicated, lost and reordered events: the API has each record once, the socket what was sent."""
    truth = tmp_path / "truth.jsonl"
    faults = Faults(late=0.1, duplicated=0.3, lost=0.2, reordered=5)
    async with pbx(faults, truth_path=truth) as (plan, made_up, application):
        token = await application.token()
        async with application.listening(token) as socket:
            result = await simulate(plan, ManualClock(), observer=made_up.observer)
            sent_count = result.records - result.lost + result.repeats
            events = [str(await socket.recv()).encode() for _ in range(sent_count)]
        rows = await everything(application, token)
    lines = [json.loads(line) for line in truth.read_text().splitlines()]
    assert (result.records, result.requests, len(lines), len(rows)) == (60, 0, 60, 60)
    assert result.lost > 0
    assert result.repeats > 0
    ids = {line["record_id"][:16] for line in lines}
    assert {row["new_id"].replace("-", "").lower() for row in rows} == ids
    counts = Counter(record_id(record_key(SN, Yeastar().parse(event)[0])) for event in events)
    assert counts.keys() == {line["record_id"] for line in lines if "lost" not in line["faults"]}
    assert counts.total() == sent_count


async def test_simulated_pbx_webhook_and_socket_get_the_same_events() -> None:
    """In the same order, duplicates too."""
    posted: list[bytes] = []

    async def take(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        posted.append(await request.read())
        return aiohttp.web.Response()

    server = aiohttp.web.Server(take, access_log=None)
    receiver = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/"
    async with (
        pbx(Faults(duplicated=0.5, reordered=9), url=url, connections=1) as (plan, made_up, application),
        application.listening(await application.token()) as socket,
    ):
        await simulate(plan, ManualClock(), observer=made_up.observer)
        assert len(posted) > 60
        assert [str(await socket.recv()).encode() for _ in posted] == posted
    receiver.close()
    await server.shutdown(1)


async def test_simulated_pbx_malformed_event_is_malformed_on_the_socket() -> None:
    """And complete in the API."""
    async with pbx(Faults(malformed=1), count=5) as (plan, made_up, application):
        token = await application.token()
        async with application.listening(token) as socket:
            await simulate(plan, ManualClock(), observer=made_up.observer)
            events = [str(await socket.recv()).encode() for _ in range(5)]
        assert len(await everything(application, token)) == 5
    for event in events:
        with pytest.raises(ParseError):
            Yeastar().parse(event)


async def test_simulated_pbx_end_of_daylight_saving_time() -> None:
    """Berlin on 2026-10-25: rows of the repeated hour have the same local time and two times in UTC."""
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    async with pbx(start=start, count=400, calls_per_day=5_000) as (plan, made_up, application):
        await simulate(plan, ManualClock(start + timedelta(days=1)), observer=made_up.observer)
        token = await application.token()
        rows = await everything(application, token)
        offsets = {row["new_id"]: offset_of(row) for row in rows}
        change = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
        assert {offsets[row["new_id"]] for row in rows if row["timestamp"] < change} == {7_200}
        assert {offsets[row["new_id"]] for row in rows if row["timestamp"] >= change} == {3_600}
        twice = {"start_time": "2026/10/25 02:00:00", "end_time": "2026/10/25 02:59:59"}
        rows = (await application.ask("v1.0/cdr/search", access_token=token, **twice))["data"]
    assert {offsets[row["new_id"]] for row in rows} == {3_600, 7_200}


def offset_of(row: dict[str, Any]) -> int:
    """Return the seconds between the local time of a row and its time in UTC."""
    local_time = datetime.strptime(row["time"], "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC)
    return int(local_time.timestamp()) - int(row["timestamp"])


@pytest.mark.parametrize(
    ("faults", "start_time", "expected"),
    [
        (Faults(), "1780290000", (0, 3)),
        (Faults(refused_seconds=1), "1780290000", (40002, None)),
        (Faults(refused_seconds=1), "2026/06/01 07:00:00", (0, 3)),
        (Faults(refused_display=1), "2026/06/01 07:00:00", (40002, None)),
        (Faults(refused_display=1), "1780290000", (0, 3)),
        (Faults(zero_rows=1), "1780290000", (0, 0)),
        (Faults(zero_rows=1), "2026/06/01 07:00:00", (0, 3)),
    ],
)
async def test_simulated_pbx_forms_of_time_are_rejected_or_find_nothing(
    faults: Faults, start_time: str, expected: tuple[int, int | None]
) -> None:
    """As some firmwares do; the list works all the same."""
    async with pbx(faults, count=3) as (plan, made_up, application):
        await simulate(plan, ManualClock(), observer=made_up.observer)
        token = await application.token()
        answer = await application.ask("v1.0/cdr/search", access_token=token, start_time=start_time)
        assert (answer["errcode"], answer.get("total_number")) == expected
        assert len(await everything(application, token)) == 3


async def test_simulated_pbx_failing_logins_block_the_address() -> None:
    """With the right credentials: 10005, and 70004 from the fifth on."""
    async with pbx(Faults(failing_login=1)) as (_, _, application):
        assert [(await application.login())["errcode"] for _ in range(6)] == [10005] * 4 + [70004] * 2


async def test_simulated_pbx_tokens_expire_early() -> None:
    """After a minute, though half an hour was promised."""
    clock = ManualClock()
    plan = msgspec.structs.replace(PLAN, faults=Faults(expired_token=60))
    async with open_simulated_pbx(plan, VISIT, clock) as made_up:
        application = Application(made_up)
        login = await application.login()
        assert login["access_token_expire_time"] == 1800
        clock.advance(seconds=59)
        assert (await application.ask("v1.0/cdr/list", access_token=login["access_token"]))["errcode"] == 0
        clock.advance(seconds=1)
        assert (await application.ask("v1.0/cdr/list", access_token=login["access_token"]))["errcode"] == 10004


async def test_simulated_pbx_silent_socket_confirms_heartbeats() -> None:
    """It receives no further events."""
    async with pbx(Faults(silent_socket=1)) as (plan, made_up, application):
        token = await application.token()
        async with application.listening(token) as socket:
            await simulate(plan, ManualClock(), observer=made_up.observer)
            # A socket without that fault would have received all sixty by then.
            assert await made_up.observer.latest_sequence() == 60
            await asyncio.sleep(2 * BATCH_SECONDS)
            await socket.send("heartbeat")
            messages = []
            while (text := await socket.recv()) != "heartbeat response":
                messages.append(text)
    assert len(messages) <= 20


async def test_simulated_pbx_garbage_response_is_not_json() -> None:
    """Cut off in the middle."""
    async with pbx(Faults(garbage_response=1)) as (_, _, application):
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            await application.login()


async def test_simulated_pbx_wrong_clock_is_in_all_responses() -> None:
    """An hour and a half, in ids, rows and `system/information` alike."""
    async with pbx(Faults(wrong_clock=5_400), count=3) as (plan, made_up, application):
        await simulate(plan, ManualClock(), observer=made_up.observer)
        token = await application.token()
        information = (await application.ask("v1.0/system/information", access_token=token))["data"]
        assert information["timestamp"] == int((ManualClock().now() + timedelta(seconds=5_400)).timestamp())
        wrong = await everything(application, token)
    async with pbx(count=3) as (plan, made_up, application):
        await simulate(plan, ManualClock(), observer=made_up.observer)
        right = await everything(application, await application.token())
    assert [row["timestamp"] - 5_400 for row in wrong] == [row["timestamp"] for row in right]


async def test_simulated_pbx_display_format_changes() -> None:
    """Rows have the format of `system/information`, until it changes: here after every third response."""
    async with pbx(Faults(changing_display=3), count=1) as (plan, made_up, application):
        await simulate(plan, ManualClock(), observer=made_up.observer)
        token = await application.token()
        displays = []
        for _ in range(3):
            information = (await application.ask("v1.0/system/information", access_token=token))["data"]
            (row,) = await everything(application, token)
            displays.append((information["system_date_format"], row["time"], row["timestamp"]))
    assert len({timestamp for _, _, timestamp in displays}) == 1
    row_time = datetime.fromtimestamp(displays[0][2] + 7_200, UTC)
    assert [display[:2] for display in displays] == [
        ("YYYY/MM/DD", f"{row_time:%Y/%m/%d %H:%M:%S}"),
        ("DD/MM/YYYY", f"{row_time:%d/%m/%Y %I:%M:%S %p}"),
        ("DD/MM/YYYY", f"{row_time:%m/%d/%Y %H:%M:%S}"),  # changed between the two
    ]


async def test_simulated_pbx_behaviour_can_be_chosen() -> None:
    """As for an application of the real PBX API."""
    visit = msgspec.structs.replace(VISIT, behaviour=ApiBehaviour(time_forms=("display",), versions=("v1.0",)))
    async with open_simulated_pbx(PLAN, visit, ManualClock()) as made_up:
        application = Application(made_up)
        token = await application.token()
        assert (await application.ask("v2.0/cdr/list", access_token=token))["errcode"] == 10001
        answer = await application.ask("v1.0/cdr/search", access_token=token, start_time="1780290000")
        assert answer["errcode"] == 40002


async def test_simulate_without_receiver_and_api_is_an_error() -> None:
    with pytest.raises(UsageError, match="the simulated calls have no receiver"):
        await simulate(PLAN, ManualClock())


def test_simulated_pbx_needs_credentials() -> None:
    """Which are never shown."""
    with pytest.raises(UsageError, match="a client secret cannot have 0 characters"):
        SimulatedApiConfig(address=Address("127.0.0.1", 0), client_id=CLIENT_ID, client_secret="")
