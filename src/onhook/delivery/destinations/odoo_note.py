"""What a call is in Odoo: whose number it has, the text of its note, and by what a repeat is recognised. Pure."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from html import escape, unescape
from typing import Any
from urllib.parse import quote

import phonenumbers

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import is_masked
from onhook.cdr.record import Record

SEARCH_DIGITS = 7
"""Last digits of a number by which Odoo is searched: a country or area code may be written or not."""

NUMBER_DIGITS_MIN = 5
"""Shorter ones are numbers of a PBX itself, and would match any number."""

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


def external_number(record: Record) -> str:
    """Return the number of the far side as the PBX writes it; empty for an internal call, and where it is masked: what
    is left of it may be another number.
    """
    party = {"inbound": record.call_from, "outbound": record.call_to}.get(record.type.lower(), "")
    number = extract_number(party)
    return number if len(_digits(number)) >= NUMBER_DIGITS_MIN and not is_masked(number) else ""


def normalize_number(text: str, country: str) -> str:
    """Return a number in E.164, in whichever notation it is; its digits alone where it is not known which country's
    number it is.

    >>> normalize_number("(030) 90 18-20", "DE"), normalize_number("0049 30 901820", "DE")
    ('+4930901820', '+4930901820')
    >>> normalize_number("901820", "")
    '901820'
    """
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        return _digits(text)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def search_pattern(number: str) -> str:
    """Return the pattern of `ilike` that matches a number with any separators between its digits.

    >>> search_pattern("+49 30 901820")
    '0%9%0%1%8%2%0'
    """
    return "%".join(_digits(number)[-SEARCH_DIGITS:])


def message_id(record: Record, notifies_of: str) -> str:
    """Return the identity of a note: that of its record or call, in all of its events."""
    prefix = message_id_prefix(record.sn, record.call_id)
    return f"{prefix}@onhook>" if notifies_of == "calls" else f"{prefix}.{_digest(record.record_id)}@onhook>"


def message_id_prefix(sn: str, call_id: str) -> str:
    """Return the beginning of the identities of all notes of a call."""
    identity = f"{sn}\n{call_id}"
    return f"<{_digest(identity)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def format_title(record: Record) -> str:
    """Return a line about a call, which its activity has too."""
    return f"{record.type} {record.status}: {record.call_from} → {record.call_to}, {record.time_start}"


def format_note(record: Record, console_url: str) -> str:
    """Return the HTML of a note: a title, durations, and a link to the call, where its recording is."""
    durations: Mapping[str, Any] = {"Ring": record.ring_duration, "Talk": record.talk_duration}
    lines = [escape(format_title(record))]
    lines += [f"{name}: {seconds} s" for name, seconds in durations.items() if seconds is not None]
    if record.did_number:
        lines.append(f"DID: {escape(record.did_number)}")
    if console_url:
        url = f"{console_url.rstrip('/')}/calls/{quote(record.sn, safe='')}/{quote(record.call_id, safe='')}"
        name = f"Recording {record.recording}" if record.recording else "Call"
        lines.append(f'<a href="{escape(url)}">{escape(name)}</a>')
    elif record.recording:
        lines.append(f"Recording: {escape(record.recording)}")
    return f"<p>{'<br/>'.join(lines)}</p>"


def read_title(note: str) -> str:
    """Return the title of a note, from its HTML as Odoo has it; empty where it has none.

    >>> read_title("<p>Inbound BUSY: 030901820 \u2192 A &amp; B, 27/04<br>Ring: 5 s</p>")
    'Inbound BUSY: 030901820 \u2192 A & B, 27/04'
    """
    return unescape(_TAG.sub("", _LINE_BREAK.split(note, maxsplit=1)[0])).strip()


def is_missed(record: Record) -> bool:
    """Return whether a call from outside reached no person."""
    return fold_word(record.type) == "INBOUND" and fold_word(record.status) != "ANSWERED"


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isascii() and character.isdigit())
