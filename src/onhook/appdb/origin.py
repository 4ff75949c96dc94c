"""Who changes the application database, and by which way: set for a request or a command, read by the audit log."""

from contextvars import ContextVar
from typing import Literal

import msgspec

Way = Literal["page", "api", "cli", "pbx-api", "onhook"]
"""`onhook` is the server itself, such as a worker that disables a destination."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The actor's name, the kind of credential, the address of the client, and the way."""

    actor: str
    credential: str
    address: str
    way: Way


_SERVER = Origin(actor="onhook", credential="", address="", way="onhook")

_origin: ContextVar[Origin] = ContextVar("origin", default=_SERVER)


def set_origin(origin: Origin) -> None:
    """Set the origin of all changes of this task from now on, and of the tasks that it starts."""
    _origin.set(origin)


def get_origin() -> Origin:
    """Return the origin of the changes of this task."""
    return _origin.get()
