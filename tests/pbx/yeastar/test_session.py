"""The push channel of the P-Series as a state machine: texts and time in, texts and proven time out."""

from pathlib import Path

import msgspec

from onhook.pbx.yeastar.session import HEARTBEAT_SECONDS, RESPONSE_SECONDS_MAX, TOPICS, YeastarPushChannel

EVENT = (Path(__file__).parents[2] / "payloads" / "p2026_inbound_voicemail.json").read_text()
SUCCESS = '{"errcode":0,"errmsg":"SUCCESS"}'
NOON = 1000.0


def open_subscribed_channel() -> YeastarPushChannel:
    channel = YeastarPushChannel()
    channel.on_open(NOON)
    channel.receive_text(SUCCESS, NOON + 1)
    return channel


def test_push_channel_subscribes_to_call_ends_and_is_alive_after_response() -> None:
    channel = YeastarPushChannel()
    (text,) = channel.on_open(NOON)
    assert msgspec.json.decode(text) == {"topic_list": [30012]}
    assert not channel.alive_since
    channel.receive_text(SUCCESS, NOON + 1)
    assert channel.alive_since == NOON + 1
    assert not channel.error


def test_trouble_15_push_channel_topic_list_is_never_empty() -> None:
    """yeastar-p-series.md 12, 15: an empty list unsubscribes everything; the keep-alive is a separate text."""
    assert TOPICS
    channel = open_subscribed_channel()
    assert channel.on_tick(channel.deadline) == ["heartbeat"]


def test_trouble_16_push_channel_sends_bare_heartbeat_every_thirty_seconds() -> None:
    """yeastar-p-series.md 12, 16: not JSON."""
    channel = open_subscribed_channel()
    assert channel.on_tick(NOON + HEARTBEAT_SECONDS - 1) == []
    assert channel.on_tick(NOON + HEARTBEAT_SECONDS) == ["heartbeat"]
    channel.receive_text("heartbeat response", NOON + HEARTBEAT_SECONDS + 2)
    assert channel.on_tick(NOON + 2 * HEARTBEAT_SECONDS - 1) == []
    assert channel.on_tick(NOON + 2 * HEARTBEAT_SECONDS) == ["heartbeat"]


def test_push_channel_is_proven_alive_until_last_answered_heartbeat() -> None:
    """Not until the response: earlier events may still be on their way."""
    channel = open_subscribed_channel()
    channel.on_tick(NOON + 30)
    channel.receive_text("heartbeat response", NOON + 33)
    assert (channel.alive_since, channel.alive_until) == (NOON + 1, NOON + 30)
    channel.receive_text("heartbeat response", NOON + 50)
    assert channel.alive_until == NOON + 30, "a response without a request proves nothing"


def test_trouble_14_push_channel_without_response_ends() -> None:
    """yeastar-p-series.md 12, 14: after its token expired, a socket stayed open and sent nothing."""
    channel = open_subscribed_channel()
    channel.on_tick(NOON + 30)
    channel.on_tick(NOON + 30 + RESPONSE_SECONDS_MAX - 1)
    assert not channel.error
    channel.on_tick(channel.deadline)
    assert "no response" in channel.error
    assert channel.alive_until == NOON + 1


def test_push_channel_rejected_or_unanswered_subscription_ends() -> None:
    channel = YeastarPushChannel()
    channel.on_open(NOON)
    channel.receive_text('{"errcode":10004,"errmsg":"TOKEN EXPIRED"}', NOON + 1)
    assert "10004 TOKEN EXPIRED" in channel.error
    unanswered_channel = YeastarPushChannel()
    unanswered_channel.on_open(NOON)
    unanswered_channel.on_tick(NOON + RESPONSE_SECONDS_MAX)
    assert "no response" in unanswered_channel.error


def test_push_channel_returns_events_unchanged() -> None:
    """So does any text that is neither a response nor an event."""
    channel = open_subscribed_channel()
    assert channel.receive_text(EVENT, NOON + 2) == EVENT.encode()
    assert channel.receive_text('{"type":30012,"msg":broken', NOON + 2) == b'{"type":30012,"msg":broken'
    assert channel.receive_text(SUCCESS, NOON + 3) is None
    assert not channel.error


def test_push_channel_oversized_text_ends_channel() -> None:
    channel = open_subscribed_channel()
    assert channel.receive_text("x" * 300_000, NOON + 2) is None
    assert channel.error
