"""Addresses of mailboxes (RFC 5321), as people write them. Pure."""

import re

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import split_list

ADDRESS_CHARACTERS_MAX = 254
"""Of an address (RFC 5321, 4.5.3.1.3, without the angle brackets)."""

RECIPIENTS_MAX = 50
"""Of one mail; every server takes a hundred (RFC 5321, 4.5.3.1.8)."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"(?P<local>{_LOCAL}(?:\.{_LOCAL})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)")
_NAMED = re.compile(r'"?(?P<name>[^"<>\r\n]*?)"?\s*<(?P<address>[^<>\s]+)>')


class Mailbox(msgspec.Struct, frozen=True):
    """An address and the name that is displayed with it, which may be empty."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def parse_address(text: str, location: str) -> str:
    """Return an address without blanks around it. Raises `UsageError` at `location`.

    >>> parse_address(" ann@example.com ", "email")
    'ann@example.com'
    """
    address = text.strip()
    match = _ADDRESS.fullmatch(address)
    if match is None or len(address) > ADDRESS_CHARACTERS_MAX or len(match["local"]) > 64:
        raise UsageError(
            _("{address} is not an e-mail address", address=repr(text[:80])),
            location=location,
            hint=_("write one such as {example}", example="ann@example.com"),
        )
    return address


def parse_mailbox(text: str, location: str) -> Mailbox:
    """Return an address with or without a name. Raises `UsageError` at `location`.

    >>> parse_mailbox("Call history <calls@example.com>", "mail_from")
    Mailbox(address='calls@example.com', name='Call history')
    """
    match = _NAMED.fullmatch(text.strip())
    if match is None or not match["name"].isprintable():
        return Mailbox(parse_address(text, location))
    return Mailbox(parse_address(match["address"], location), match["name"].strip())


def parse_addresses(text: str, location: str) -> list[str]:
    """Return addresses that are separated by commas, each once. Raises `UsageError` at `location`.

    >>> parse_addresses("ann@example.com, bob@example.com,", "mail_to")
    ['ann@example.com', 'bob@example.com']
    """
    addresses = list(dict.fromkeys(parse_address(part, location) for part in split_list(text)))
    if len(addresses) > RECIPIENTS_MAX:
        raise UsageError(
            _("a mail has at most {maximum} recipients", maximum=RECIPIENTS_MAX),
            location=location,
            hint=_("use an address that distributes mails"),
        )
    return addresses
