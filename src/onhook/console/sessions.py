"""Who is signed in by a browser: random ids in memory, so that a restart signs everybody out.

A session stands for the token it began with: when that token is removed, the session is worth nothing.
"""

import hashlib
import secrets
from collections import OrderedDict

import msgspec

SESSIONS_MAX = 1_000
"""Browsers signed in at once; the oldest goes."""

SESSION_SECONDS = 7 * 86_400
"""Long enough for a working week, short enough for a lost telephone."""

ID_BYTES = 32

_MICROSECONDS = 1_000_000


class Session(msgspec.Struct, frozen=True):
    """The token a browser signed in with, and until when that counts (microseconds since 1970)."""

    token_text: str
    ends_at: int

    def __repr__(self) -> str:
        return f"Session(ends_at={self.ends_at})"


class Sessions:
    """Sessions by the hash of their id: what a dump of memory shows opens no page."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, token_text: str, at: int) -> str:
        """Begin a session; its id, for the cookie."""
        text = secrets.token_urlsafe(ID_BYTES)
        self._open[_name(text)] = Session(token_text, at + SESSION_SECONDS * _MICROSECONDS)
        while len(self._open) > SESSIONS_MAX:
            self._open.popitem(last=False)
        return text

    def token_text(self, session_id: str, at: int) -> str:
        """The token that the session with this id began with; empty where there is none any more."""
        session = self._open.get(_name(session_id))
        if session is None:
            return ""
        if session.ends_at <= at:
            del self._open[_name(session_id)]
            return ""
        return session.token_text

    def end(self, session_id: str) -> None:
        """End a session, if there is one."""
        self._open.pop(_name(session_id), None)


def _name(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode(errors="replace")).digest()
