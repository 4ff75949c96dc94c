"""Browser sessions: random ids in memory, so that a restart signs all browsers out.

A session belongs to the token it began with, or to a user and a version of the password: when the token or the user is
removed, or the password changed, the session is invalid.
"""

import hashlib
import secrets
from collections import OrderedDict

import msgspec

SESSIONS_MAX = 1_000
"""Signed-in browsers; the oldest session ends."""

SESSION_SECONDS = 7 * 86_400
"""Long enough for a working week, short enough for a lost telephone."""

ID_BYTES = 32

_MICROSECONDS = 1_000_000


class BrowserSession(msgspec.Struct, frozen=True, kw_only=True):
    """The credential of a browser: a token's text, or a user and the password version.

    `number` is for lists: it grants no access. Times are microseconds since 1970.
    """

    number: int
    started_at: int
    expires_at: int
    address: str
    token_text: str = ""
    user_name: str = ""
    password_version: int = 0

    def __repr__(self) -> str:
        return f"BrowserSession(number={self.number})"


class SessionStore:
    """Sessions by the hash of their id: a memory dump grants no access."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, BrowserSession] = OrderedDict()
        self._last_number = 0

    def start(
        self, now_us: int, *, address: str = "", token_text: str = "", user_name: str = "", password_version: int = 0
    ) -> str:
        """Begin a session; return its id, for the cookie."""
        session_id = secrets.token_urlsafe(ID_BYTES)
        self._last_number += 1
        self._sessions[_hash_session_id(session_id)] = BrowserSession(
            number=self._last_number,
            started_at=now_us,
            expires_at=now_us + SESSION_SECONDS * _MICROSECONDS,
            address=address,
            token_text=token_text,
            user_name=user_name,
            password_version=password_version,
        )
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return session_id

    def find(self, session_id: str, now_us: int) -> BrowserSession | None:
        """Return the session with this id, or None."""
        session = self._sessions.get(_hash_session_id(session_id))
        if session is not None and session.expires_at <= now_us:
            del self._sessions[_hash_session_id(session_id)]
            return None
        return session

    def all(self, now_us: int) -> list[BrowserSession]:
        """Return the open sessions, the latest first."""
        return [session for session in reversed(self._sessions.values()) if session.expires_at > now_us]

    def end_by_number(self, number: int) -> None:
        """End the session with this number, if there is one."""
        for id_hash, session in list(self._sessions.items()):
            if session.number == number:
                del self._sessions[id_hash]

    def end(self, session_id: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(_hash_session_id(session_id), None)


def _hash_session_id(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode(errors="replace")).digest()
