"""`/api/v1/notes` and `/api/v1/tags`: notes and tags of calls, with all earlier versions."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg

from onhook.appdb.notes import NOTE_CHARACTERS_MAX, TAG_CHARACTERS_MAX, TAGS_MAX, Note
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import ANNOTATES, SCOPED, get_access_scope, get_principal
from onhook.console.parameters import CallIdQuery, SnQuery
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.calls import find_call, list_notes
from onhook.console.queries.calls import write_note as write_call_note
from onhook.console.state import AnyRequest, AppStateDep

IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
TagText = Annotated[str, msgspec.Meta(min_length=1, max_length=TAG_CHARACTERS_MAX, pattern="^[^,]+$")]


class NewNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new version of a call's note; without `text` and `tags` it removes the note."""

    sn: IdText
    call_id: IdText
    text: Annotated[str, msgspec.Meta(max_length=NOTE_CHARACTERS_MAX)] = ""
    tags: Annotated[list[TagText], msgspec.Meta(max_length=TAGS_MAX)] = []


class NoteHistory(msgspec.Struct, frozen=True):
    """All versions of a call's note, the latest first."""

    data: list[Note]
    next: None = None


class TagList(msgspec.Struct, frozen=True):
    """All current tags, sorted."""

    data: list[str]
    next: None = None


@get("/notes", opt=SCOPED, summary="Read the note of a call", tags=["calls"], responses=PROBLEMS)
async def read_notes(request: AnyRequest, app_state: AppStateDep, sn: SnQuery, call_id: CallIdQuery) -> NoteHistory:
    """Read the note of a call with all versions, the latest first."""
    call = await find_call(app_state, sn, call_id, get_access_scope(request.scope))
    return NoteHistory(await list_notes(app_state, call))


@post("/notes", opt=ANNOTATES, summary="Change the note of a call", tags=["calls"], responses=PROBLEMS)
async def write_note(request: AnyRequest, app_state: AppStateDep, data: Annotated[NewNote, BodyKwarg()]) -> NoteHistory:
    """Change the note of a call, as an annotator or administrator. Earlier versions stay; an unchanged note is not
    stored again.
    """
    call = await find_call(app_state, data.sn, data.call_id, get_access_scope(request.scope))
    principal = get_principal(request.scope)
    await write_call_note(app_state, call, data.text, ",".join(data.tags), principal.name if principal else "")
    return NoteHistory(await list_notes(app_state, call))


@get("/tags", summary="List tags", tags=["calls"], responses=PROBLEMS)
async def list_tags(app_state: AppStateDep) -> TagList:
    """List all tags, each once; `GET /calls?tag=…` has the calls."""
    return TagList(await app_state.appdb.notes.tags())


ROUTES = (read_notes, write_note, list_tags)
