"""The end of a page as an opaque text. Pages are in order of (`started_at`, a name that never changes), latest first.

The name is `record_id` for records and the same kind of name for calls; so a cursor is short, and stays valid while
calls arrive.
"""

import base64
import binascii
from typing import Literal

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

CURSOR_CHARACTERS_MAX = 200
"""Cursors of Onhook have some 70."""


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page of records or calls."""

    list_name: Literal["records", "calls"]
    started_at: int
    name: str


def encode_cursor(cursor: Cursor) -> str:
    """Encode a cursor as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, list_name: Literal["records", "calls"]) -> Cursor:
    """Decode a cursor. Raises `UsageError` for any other text, or for a cursor of another list."""
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise ValueError("too long")
        cursor = msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True), type=Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        cursor = None
    if cursor is None or cursor.list_name != list_name or abs(cursor.started_at) >= 1 << 40:
        raise UsageError(_("invalid cursor"), location="cursor", hint=_("leave it out to begin with the first page"))
    return cursor
