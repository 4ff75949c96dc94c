"""Dial strings: the number at which each channel of a trunk was called."""

import pytest

from onhook.pbx.asterisk.channels import parse_channel
from onhook.pbx.asterisk.dial_strings import DialledDevice, match_numbers, parse_device, parse_devices


@pytest.mark.parametrize(
    ("text", "endpoint", "number"),
    [
        ("PJSIP/5550123@trunk-a", "trunk-a", "5550123"),
        ("PJSIP/trunk-a/sip:5550123@sip.example.net:5060", "trunk-a", "5550123"),
        ("SIP/trunk-a/5550123", "trunk-a", "5550123"),
        ("SIP/+15550123@sip.example.net:5060", "sip.example.net", "+15550123"),
        ("IAX2/voipms/5550123", "voipms", "5550123"),
        ("IAX2/office:secret@voipms/5550123@from-office", "voipms", "5550123"),
        ("IAX2/office:secret@voipms", "voipms", ""),
        ("DAHDI/g1/5550123", "g1", "5550123"),
        ("Motif/+15551234567@voice.google.com/5550123", "+15551234567@voice.google.com", "5550123"),
        ("Dongle/dongle0/5550123", "dongle0", "5550123"),
        ("Local/5550123@from-internal/n", "from-internal", "5550123"),
        ("PJSIP/1001", "1001", ""),
        ("", "", ""),
    ],
)
def test_device_has_endpoint_and_number_and_no_password(text: str, endpoint: str, number: str) -> None:
    device = parse_device(text)
    assert (device.endpoint, device.number) == (endpoint, number)


def test_devices_are_those_of_the_first_argument() -> None:
    assert parse_devices("PJSIP/1001&PJSIP/5550123@trunk-a,20,tT") == [
        DialledDevice("PJSIP", "1001", ""),
        DialledDevice("PJSIP", "trunk-a", "5550123"),
    ]
    assert parse_devices("support,t") == [DialledDevice("support", "", "")]


def matched(dial_string: str, *names: str) -> list[str]:
    channels = [parse_channel(name) for name in names]
    numbers = match_numbers(dial_string, channels)
    return [numbers.get(name, "") for name in names]


def test_numbers_of_one_trunk_follow_the_order_of_the_dial_string() -> None:
    dial_string = "PJSIP/1001&PJSIP/5550111@trunk-a&PJSIP/5550122@trunk-a,20"
    assert matched(dial_string, "PJSIP/trunk-a-00000010", "PJSIP/trunk-a-0000000f") == ["5550122", "5550111"]


def test_number_is_unknown_where_a_channel_of_the_trunk_is_missing() -> None:
    """It may be either."""
    dial_string = "PJSIP/5550111@trunk-a&PJSIP/5550122@trunk-a,20"
    assert matched(dial_string, "PJSIP/trunk-a-00000010") == [""]
    assert matched("PJSIP/5550111@trunk-a&PJSIP/5550111@trunk-a", "PJSIP/trunk-a-00000010") == ["5550111"]


def test_number_of_a_line_is_that_of_its_group() -> None:
    """The dial string names a group of lines, the channel the line."""
    assert matched("PJSIP/1001&DAHDI/g1/5550111,20", "DAHDI/i1/5550111-3c") == ["5550111"]
    assert matched("DAHDI/g1/5550111&DAHDI/g1/5550122,20", "DAHDI/33-1", "DAHDI/34-1") == ["", ""]


def test_number_of_another_trunk_is_not_that_of_the_channel() -> None:
    assert matched("PJSIP/5550111@trunk-a&PJSIP/1001,20", "PJSIP/trunk-b-00000010") == [""]
    assert matched("support,t", "PJSIP/trunk-b-00000010") == [""]
