"""`/api/v1/notes` and `/api/v1/tags`: what people wrote about calls, with all that was written before."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg, QueryParameter

from onhook.appdb.notes import NOTE_CHARACTERS_MAX, TAG_CHARACTERS_MAX, TAGS_MAX, Note
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.api.calls import AnyRequest, find_call
from onhook.console.auth.access import LIMITED, limits_of, visitor_of
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed, Rooms

SnAsked = Annotated[str, QueryParameter(description="Serial number of the PBX", max_length=TEXT_CHARACTERS_MAX)]
CallIdAsked = Annotated[str, QueryParameter(description="The call's id", max_length=TEXT_CHARACTERS_MAX)]
IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
TagText = Annotated[str, msgspec.Meta(min_length=1, max_length=TAG_CHARACTERS_MAX, pattern="^[^,]+$")]


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to stand about a call from now on; neither `text` nor `tags` takes the note away."""

    sn: IdText
    call_id: IdText
    text: Annotated[str, msgspec.Meta(max_length=NOTE_CHARACTERS_MAX)] = ""
    tags: Annotated[list[TagText], msgspec.Meta(max_length=TAGS_MAX)] = []


class History(msgspec.Struct, frozen=True):
    """All that was written about a call, the latest first: that one counts."""

    data: list[Note]
    next: None = None


class Tags(msgspec.Struct, frozen=True):
    """All tags that calls have now, in order."""

    data: list[str]
    next: None = None


@get("/notes", opt=LIMITED, summary="What was written about a call", tags=["calls"], responses=PROBLEMS)
async def read_notes(request: AnyRequest, rooms: Handed, sn: SnAsked, call_id: CallIdAsked) -> History:
    """Notes and tags, the latest first; a note is never overwritten."""
    call = await find_call(rooms, sn, call_id, limits_of(request.scope))
    return _history(rooms, call.sn, call.call_id)


@post("/notes", summary="Write about a call", tags=["calls"], responses=PROBLEMS)
async def write_note(request: AnyRequest, rooms: Handed, data: Annotated[Written, BodyKwarg()]) -> History:
    """What was written before stays in the history; the same again is not kept twice."""
    call = await find_call(rooms, data.sn, data.call_id, limits_of(request.scope))
    visitor = visitor_of(request.scope)
    rooms.settings.notes.write(
        call.sn,
        call.call_id,
        data.text,
        ",".join(data.tags),
        who=visitor.name if visitor else "",
        at=rooms.clock.microseconds(),
    )
    return _history(rooms, call.sn, call.call_id)


@get("/tags", summary="The tags that calls have", tags=["calls"], responses=PROBLEMS)
async def list_tags(rooms: Handed) -> Tags:
    """Each once; `GET /calls?tag=…` has the calls."""
    return Tags(rooms.settings.notes.tags())


ROUTES = (read_notes, write_note, list_tags)


def _history(rooms: Rooms, sn: str, call_id: str) -> History:
    return History(rooms.settings.notes.history(sn, call_id))
