"""Dial strings, the first argument of `Dial`: which trunks were called, and at which numbers.

`PJSIP/1001&PJSIP/5550123@trunk-a` rings a telephone, and a number by a trunk. Invariant: a number comes from a device
that certainly is that of the channel; user names and passwords are never returned.
"""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.cdr.identity import extract_number
from onhook.pbx.asterisk.channels import LINE_TECHNOLOGIES, LOCAL_TECHNOLOGY, Channel

DEVICES_MAX = 100
"""Devices of a dial string that are read: a group rings some dozens at most."""

_USER_TECHNOLOGIES = frozenset({"IAX2", "SIP"})
"""In their dial strings a user may stand before the endpoint: `IAX2/user:password@voipms/5550123`."""


class DialledDevice(msgspec.Struct, frozen=True):
    """One device of a dial string: its endpoint, and the number that was called there, or empty."""

    technology: str
    endpoint: str
    number: str

    def is_device_of(self, channel: Channel) -> bool:
        """Return whether a channel was certainly created for this device."""
        return (self.technology, self.endpoint) == (channel.technology, channel.endpoint)

    def is_line_of(self, channel: Channel) -> bool:
        """Return whether a channel may be a line of the group of lines that this device names (`DAHDI/g1`)."""
        is_line = channel.technology.lower() in LINE_TECHNOLOGIES
        return is_line and self.technology == channel.technology and bool(self.number)


def parse_devices(dial_string: str) -> list[DialledDevice]:
    """Return the devices in the first argument of a dial string."""
    return [parse_device(text) for text in dial_string.partition(",")[0].split("&")[:DEVICES_MAX]]


def parse_device(text: str) -> DialledDevice:
    """Parse one device: the number stands before the endpoint, or behind it.

    >>> parse_device("PJSIP/5550123@trunk-a")
    DialledDevice(technology='PJSIP', endpoint='trunk-a', number='5550123')
    >>> parse_device("IAX2/office:secret@voipms/5550123").endpoint
    'voipms'
    """
    technology, _, address = text.partition("/")
    place, has_number_behind, behind = address.partition("/")
    user, has_user, host = place.partition("@")
    if not has_number_behind or technology == LOCAL_TECHNOLOGY:
        endpoint, number = (host, user) if has_user else (place, "")
    else:
        endpoint = host if has_user and technology.upper() in _USER_TECHNOLOGIES else place
        number = extract_number(behind.partition("@")[0])
    return DialledDevice(technology, endpoint.partition(":")[0], "" if ":" in number else number)


def rings_several(dial_string: str) -> bool:
    """Return whether several parties are called at once, and not one number by several trunks."""
    devices = parse_devices(dial_string)
    return len(devices) > 1 and (not devices[0].number or len({device.number for device in devices}) > 1)


def match_numbers(dial_string: str, channels: Sequence[Channel]) -> Mapping[str, str]:
    """Return the number at which each channel of one trunk was called, by the channel's name, as far as it is certain.

    Asterisk creates the channels in the order of the dial string, and counts them.
    """
    devices = parse_devices(dial_string)
    own_devices = [device for device in devices if channels and device.is_device_of(channels[0])]
    ordered_channels = sorted(channels, key=lambda channel: (len(channel.name), channel.name))
    if len(own_devices) == len(channels):
        return {channel.name: device.number for channel, device in zip(ordered_channels, own_devices, strict=True)}
    line_devices = [device for device in devices if channels and device.is_line_of(channels[0])]
    numbers = {device.number for device in own_devices or line_devices}
    return dict.fromkeys((channel.name for channel in channels), numbers.pop()) if len(numbers) == 1 else {}
