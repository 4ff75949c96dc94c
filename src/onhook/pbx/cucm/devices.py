"""The devices of a CUCM, by their names (cucm.md 3). Pure."""

import ipaddress
import re
from typing import Literal

DeviceKind = Literal["telephone", "trunk", "conference", "voicemail", "unknown"]

EXTENSION_DIGITS_MAX = 7
"""A number with more digits is outside, at a device that is not known."""

_TELEPHONE = re.compile(r"(?:SEP|ATA|CSF|BOT|TCT|TAB|VGC|CTI|AN)[0-9A-Z_.-]+", re.IGNORECASE)
"""Desk telephones, adapters, Jabber on computers and mobiles, analogue ports: the vendor's prefixes of their names."""

_VOICEMAIL = re.compile(r".+-VI[0-9]+", re.IGNORECASE)
_CONFERENCE = re.compile(r"(?:CFB|CFH|CMB)[0-9A-Z_.-]*", re.IGNORECASE)
_TRUNK = re.compile(r"trunk|gateway|\bgw|gw\b|@|carrier|cube|sbc", re.IGNORECASE)
_BRIDGE_NUMBER = re.compile(r"b00[0-9]{6,20}", re.IGNORECASE)


def find_device_kind(name: str, number: str) -> DeviceKind:
    """Return the kind of a device with this name, that has or has called this number.

    >>> find_device_kind("SEP001122334455", "7001"), find_device_kind("SIPTrunk-Carrier", "00441632960001")
    ('telephone', 'trunk')
    >>> find_device_kind("", "b0029901001"), find_device_kind("CiscoUM1-VI3", "7900"), find_device_kind("Lobby", "7003")
    ('conference', 'voicemail', 'unknown')
    """
    if _BRIDGE_NUMBER.fullmatch(number) or _CONFERENCE.fullmatch(name):
        return "conference"
    if _VOICEMAIL.fullmatch(name):
        return "voicemail"
    if _TRUNK.search(name) or _is_address(name):
        return "trunk"
    if not name or _TELEPHONE.fullmatch(name):
        return "telephone" if name else "unknown"
    return "trunk" if len(number.lstrip("+")) > EXTENSION_DIGITS_MAX else "unknown"


def decode_address(text: str) -> str:
    """Return an IPv4 address of a CDR: a signed number, whose lowest byte is the first one. Empty where it is none.

    >>> decode_address("-1139627840"), decode_address("192.0.2.10"), decode_address("0"), decode_address("x")
    ('192.168.18.188', '192.0.2.10', '', '')
    """
    if re.fullmatch(r"-?[0-9]{1,10}", text):
        number = int(text) & 0xFFFFFFFF
        return str(ipaddress.IPv4Address(number.to_bytes(4, "little"))) if number else ""
    return text if _is_address(text) else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
