"""Values of settings as texts: names, networks, addresses of web pages, flags."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list

QUOTED_CHARACTERS_MAX = 80
"""Of a rejected value in an error: enough to recognise it."""

_ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")


def parse_names(value: Any, location: str) -> str:
    """Parse host names separated by commas; return them in lower case, without blanks. Raises `UsageError`."""
    names = [name.lower() for name in split_list(parse_text(value, location))]
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise UsageError(
                _("{value} is not a host name", value=quote(name)),
                location=location,
                hint=_("write calls.example.com"),
            )
    return ",".join(names)


def parse_networks(value: Any, location: str) -> str:
    """Parse networks or single addresses separated by commas; return them as networks. Raises `UsageError`."""
    networks = []
    for text in split_list(parse_text(value, location)):
        try:
            networks.append(str(ipaddress.ip_network(text)))
        except ValueError as error:
            raise UsageError(
                _("{value} is not a network", value=quote(text)), location=location, hint=_("write 10.0.0.0/8")
            ) from error
    return ",".join(networks)


def parse_origins(value: Any, location: str) -> str:
    """Parse origins of web pages separated by commas, as `https://crm.example.com`. Raises `UsageError`."""
    origins = [origin.lower() for origin in split_list(parse_text(value, location))]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(
                _("{value} is not an origin", value=quote(origin)),
                location=location,
                hint=_("write https://crm.example.com, without a path"),
            )
    return ",".join(dict.fromkeys(origins))


def parse_flag(value: Any, location: str) -> bool:
    """Parse `true`, `yes`, `on`, `1` and their opposites. Raises `UsageError`."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if not isinstance(value, bool | str) or str(value).lower() not in words:
        raise UsageError(
            _("{value} is neither true nor false", value=quote(value)),
            location=location,
            hint=_("write true or false"),
        )
    return words[str(value).lower()]


def parse_choice(value: Any, location: str, choices: Sequence[str]) -> str:
    """Return one of some words. Raises `UsageError`."""
    if value not in choices:
        raise UsageError(
            _("{value} is not known", value=quote(value)),
            location=location,
            hint=_("use one of {choices}", choices=", ".join(choices)),
        )
    return str(value)


def parse_text(value: Any, location: str) -> str:
    """Return a text that can be passed to the system and to other processes. Raises `UsageError`."""
    if not isinstance(value, str):
        raise UsageError(
            _("{value} is not a text", value=quote(value)), location=location, hint=_('write it as "text"')
        )
    if "\0" in value or not _is_utf8(value):
        raise UsageError(
            _("{value} contains invalid characters", value=quote(value)),
            location=location,
            hint=_("write it in UTF-8, without NUL"),
        )
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote(value: Any) -> str:
    """Return a rejected value for an error, shortened."""
    text = repr(value)
    return text if len(text) <= QUOTED_CHARACTERS_MAX else f"{text[:QUOTED_CHARACTERS_MAX]}…"
