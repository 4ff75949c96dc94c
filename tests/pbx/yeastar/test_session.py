"""The WebSocket of the P-Series as a machine: texts and time in, texts and proof out."""

from pathlib import Path

import msgspec

from onhook.pbx.yeastar.session import HEARTBEAT_SECONDS, RESPONSE_SECONDS_MAX, TOPICS, YeastarPushChannel

EVENT = (Path(__file__).parents[2] / "payloads" / "p2026_inbound_voicemail.json").read_text()
SUCCESS = '{"errcode":0,"errmsg":"SUCCESS"}'
NOON = 1000.0


def subscribed() -> YeastarPushChannel:
    push = YeastarPushChannel()
    push.on_open(NOON)
    push.receive_text(SUCCESS, NOON + 1)
    return push


def test_it_subscribes_to_the_end_of_calls() -> None:
    """And counts as alive only after the PBX said so."""
    push = YeastarPushChannel()
    (text,) = push.on_open(NOON)
    assert msgspec.json.decode(text) == {"topic_list": [30012]}
    assert not push.alive_since
    push.receive_text(SUCCESS, NOON + 1)
    assert push.alive_since == NOON + 1
    assert not push.error


def test_trouble_15_the_list_of_topics_is_never_empty() -> None:
    """yeastar-p-series.md 12, 15: it would unsubscribe everything; the keep-alive is another text."""
    assert TOPICS
    push = subscribed()
    assert push.on_tick(push.deadline) == ["heartbeat"]


def test_trouble_16_the_heartbeat_is_a_bare_text_every_thirty_seconds() -> None:
    """yeastar-p-series.md 12, 16: not JSON."""
    push = subscribed()
    assert push.on_tick(NOON + HEARTBEAT_SECONDS - 1) == []
    assert push.on_tick(NOON + HEARTBEAT_SECONDS) == ["heartbeat"]
    push.receive_text("heartbeat response", NOON + HEARTBEAT_SECONDS + 2)
    assert push.on_tick(NOON + 2 * HEARTBEAT_SECONDS - 1) == []
    assert push.on_tick(NOON + 2 * HEARTBEAT_SECONDS) == ["heartbeat"]


def test_it_is_proven_alive_until_the_last_beat_that_was_answered() -> None:
    """Not until the answer: what was said in between may be on its way."""
    push = subscribed()
    push.on_tick(NOON + 30)
    push.receive_text("heartbeat response", NOON + 33)
    assert (push.alive_since, push.alive_until) == (NOON + 1, NOON + 30)
    push.receive_text("heartbeat response", NOON + 50)
    assert push.alive_until == NOON + 30, "an answer to nothing proves nothing"


def test_trouble_14_a_channel_that_falls_silent_is_given_up() -> None:
    """yeastar-p-series.md 12, 14: after its token has ended a socket was seen to stay open and say nothing."""
    push = subscribed()
    push.on_tick(NOON + 30)
    push.on_tick(NOON + 30 + RESPONSE_SECONDS_MAX - 1)
    assert not push.error
    push.on_tick(push.deadline)
    assert "silent" in push.error
    assert push.alive_until == NOON + 1


def test_a_subscription_that_is_refused_or_not_answered_is_seen() -> None:
    """The code tells; otherwise nothing would (yeastar-p-series.md 5)."""
    push = YeastarPushChannel()
    push.on_open(NOON)
    push.receive_text('{"errcode":10004,"errmsg":"TOKEN EXPIRED"}', NOON + 1)
    assert "10004 TOKEN EXPIRED" in push.error
    silent = YeastarPushChannel()
    silent.on_open(NOON)
    silent.on_tick(NOON + RESPONSE_SECONDS_MAX)
    assert "silent" in silent.error


def test_an_event_is_handed_on_as_it_came() -> None:
    """What is neither an answer nor an event is too, so that somebody can look at it."""
    push = subscribed()
    assert push.receive_text(EVENT, NOON + 2) == EVENT.encode()
    assert push.receive_text('{"type":30012,"msg":broken', NOON + 2) == b'{"type":30012,"msg":broken'
    assert push.receive_text(SUCCESS, NOON + 3) is None
    assert not push.error


def test_a_frame_that_is_no_event_for_its_size_ends_the_channel() -> None:
    """Memory is bounded."""
    push = subscribed()
    assert push.receive_text("x" * 300_000, NOON + 2) is None
    assert push.error
