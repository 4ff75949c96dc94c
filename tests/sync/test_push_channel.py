"""The push channel against a real socket: subscribed, kept alive, renewed without a gap, opened again for ever."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from onhook.sync import push_channel
from tests.receiver.harness import REPORT, report
from tests.sync.harness import pushing, receiving
from tests.sync.pbx_responder import holds, made_up_pbx, said


async def test_an_event_that_is_pushed_is_kept_as_it_came(tmp_path: Path) -> None:
    """Through the same door as a webhook's; a repeat by the other way is one report."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver, pushing(receiver):
        await holds(lambda: bool(face.subscribed))
        await face.say(REPORT)
        await holds(lambda: receiver.accept.is_working and bool(face.subscribed))
        await face.say(REPORT)
        await face.say(report(2))
        await receiver.has_kept(2)
        reports = await receiver.ledger.read(0, 10)
    assert [one.body for one in reports] == [REPORT, report(2)]
    assert [(one.via, one.peer) for one in reports] == [("websocket", f"127.0.0.1:{face.port}")] * 2


async def test_a_new_socket_stands_before_the_old_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that are pushed all the while are all kept; the old token is revoked, and never more than two live."""
    monkeypatch.setattr(push_channel, "DRAIN_SECONDS", 0.1)
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver:
        face.token_seconds = 8 * 60 + 1  # so that it is renewed after a second
        async with pushing(receiver):
            await holds(lambda: bool(face.subscribed))
            number = 0
            while face.given < 4:
                number += 1
                assert await face.say(report(number)) >= 1, "at every moment somebody hears it"
                await asyncio.sleep(0.02)
            await holds(lambda: len(face.tokens) == 1)
            await receiver.has_kept(number)
    assert (face.live_max, face.logins) == (2, 1)


async def test_a_socket_that_is_lost_is_opened_again(tmp_path: Path) -> None:
    """With the token that there is, and the gap is filled at once."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver, pushing(receiver):
        await holds(lambda: bool(face.subscribed))
        receiver.caretaker._wanted.clear()
        await face.cut()
        await holds(lambda: bool(face.subscribed) and receiver.caretaker._wanted.is_set())
    assert face.logins == 1


async def test_trouble_14_a_silent_socket_is_given_up_and_proves_nothing(tmp_path: Path) -> None:
    """PROTOCOL.md 12, 14: hours of lost events otherwise; what was heard ends with the last beat that was answered."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver, pushing(receiver):
        await holds(lambda: bool(face.subscribed))
        first = next(iter(face.subscribed))
        face.is_mute = True
        receiver.clock.moved += 31
        await holds(lambda: receiver.account.now() > 0 and bool(face.sockets))
        for _ in range(4):
            receiver.clock.moved += 16
            await face.say(report(1))
            await asyncio.sleep(0.05)
        await holds(lambda: first not in face.subscribed)
        heard = [one for one in receiver.memory.known if one.state == "heard"]
        assert all((one.until - one.since).total_seconds() < 31 for one in heard)


async def test_a_pbx_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """For ever; a person is told once it has lasted."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver:

        async def away(_: web.Request) -> web.StreamResponse | None:
            return web.Response(status=503)

        face.disturb = away
        async with pushing(receiver):
            await holds(lambda: receiver.caretaker._failing_since is not None)
            assert receiver.memory.alarms == {}
            receiver.clock.moved += 600
            await holds(lambda: "unreachable" in receiver.memory.alarms)
            face.disturb = None
            receiver.clock.moved += 600
            await holds(lambda: bool(face.subscribed) and receiver.memory.alarms == {})


async def test_refused_credentials_are_told_at_once_and_not_tried_again(tmp_path: Path) -> None:
    """PROTOCOL.md 12, 27: five failures block the address."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver:
        face.refuses_login = 70004
        async with pushing(receiver):
            await holds(lambda: "credentials" in receiver.memory.alarms)
            asked = len(face.asked)
            receiver.clock.moved += 10**6
            await asyncio.sleep(0.2)
    assert "70004" in receiver.memory.alarms["credentials"]
    assert len(face.asked) == asked


async def test_garbage_on_the_channel_is_kept_for_a_person(tmp_path: Path) -> None:
    """And the next event is kept too."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver, pushing(receiver):
        await holds(lambda: bool(face.subscribed))
        await face.say(b'{"type":30012,"sn":"3651XXXXXXXX","msg":"{broken"}')
        await face.say(b'{"type":30011,"sn":"3651XXXXXXXX","msg":"{}"}')
        await face.say(REPORT)
        await receiver.has_kept(2)
        bodies = [one.body for one in await receiver.ledger.read(0, 10)]
    assert bodies[1] == REPORT, "another event is counted, not kept"


async def test_at_the_end_the_token_is_revoked(tmp_path: Path) -> None:
    """So that the next start has all of them."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver:
        async with pushing(receiver):
            await holds(lambda: bool(face.subscribed))
        await receiver.account.farewell()
        assert face.tokens == set()


async def test_a_token_that_ended_early_is_renewed_once(tmp_path: Path) -> None:
    """PROTOCOL.md 12, 4: 10004 leads to a refresh, 40002 to nothing."""
    async with made_up_pbx() as face, receiving(tmp_path, face) as receiver:
        assert (await receiver.account.ask(receiver.account.link.ask_facts())).trouble is None
        receiver.clock.moved += 120
        face.tokens.clear()
        assert (await receiver.account.ask(receiver.account.link.ask_facts())).trouble is None

        async def refuse(request: web.Request) -> web.StreamResponse | None:
            return said(errcode=40002, errmsg="PARAMETER ERROR") if "information" in request.path else None

        face.disturb = refuse
        assert (await receiver.account.ask(receiver.account.link.ask_facts())).trouble == "parameter"
    assert (face.logins, face.asked.count("refresh_token")) == (1, 1)
