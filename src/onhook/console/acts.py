"""What the console is handed of the house beyond its own rooms: trying out the way in, and a made-up PBX to look at."""

from collections.abc import Awaitable, Callable

import msgspec


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """`try_intake` posts a signed test as the PBX with that serial number would, and answers with what came of it, in a
    sentence. `show_made_up` lets a made-up PBX call, for a while. Both raise `OnhookError` where they cannot."""

    try_intake: Callable[[str], Awaitable[str]]
    show_made_up: Callable[[], Awaitable[None]]
