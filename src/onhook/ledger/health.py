"""How the servers of a shared ledger are: what `onhook doctor --cluster` shows."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A server by its host. `error` says why it does not answer; then nothing else is known. `clock_offset` is by how
    much its clock is ahead of that of this process, as far as the time of the answer shows it.
    """

    host: str
    error: str = ""
    name: str = ""
    version: str = ""
    is_version_sufficient: bool = True
    writes_before_it_confirms: bool = True
    clock_offset: timedelta = timedelta()


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A stream and its replicas: the name of the server that leads, and of those that are away or behind. `wanted` is
    how many replicas the setting demands, `configured` how many the stream has.
    """

    name: str
    leader: str
    configured: int
    wanted: int
    away: Sequence[str] = ()
    behind: Sequence[str] = ()


class LedgerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The servers, and the streams; `error` and `hint` say why these cannot be asked for."""

    servers: Sequence[ServerHealth] = ()
    streams: Sequence[StreamHealth] = ()
    error: str = ""
    hint: str = ""
