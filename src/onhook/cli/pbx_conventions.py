"""Options of `onhook pbx change` for what a PBX does its own way."""

from typing import Annotated

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_conventions import parse_encoding, parse_ring_time_meaning
from onhook.cli.options import option_with_default
from onhook.lib.messages import _

EncodingOption = Annotated[
    str | None,
    option_with_default(
        "--encoding", metavar="NAME", help_text=_("Encoding of its texts, such as gbk"), default="utf-8"
    ),
]
RingTimeOption = Annotated[
    str | None,
    option_with_default(
        "--ring-time",
        metavar="MEANING",
        help_text=_("What agent_ring_time is: ring, of the telephone, or wait, of the caller"),
        default="auto",
    ),
]


async def change_conventions(appdb: AppDb, sn: str, encoding: str | None, ring_time: str | None) -> None:
    """Change the given conventions of a PBX; the others stay. Raises `UsageError`."""
    conventions = await appdb.pbx_conventions.get(sn)
    if encoding is not None:
        conventions = msgspec.structs.replace(conventions, encoding=parse_encoding(encoding))
    if ring_time is not None:
        meaning = parse_ring_time_meaning(ring_time)
        conventions = msgspec.structs.replace(conventions, ring_time_meaning=meaning)
    await appdb.pbx_conventions.put(sn, conventions)
