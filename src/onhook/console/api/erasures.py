"""`/api/v1/erasures`: erasure of a telephone number from all that is stored, with a preview; for administrators."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg

from onhook.cdr.erasure_types import Erasure, ErasureCounts
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep

CALLS_MAX = 2**53

NumberText = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]


class ErasurePreviewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number in any notation, or an extension. It is in the body, because addresses are logged."""

    number: NumberText


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number to erase. `calls` is how many calls the preview said: for more than 1,000 it must be right."""

    number: NumberText
    calls: Annotated[int, msgspec.Meta(ge=0, le=CALLS_MAX)] | None = None


class ErasureList(msgspec.Struct, frozen=True):
    """All erasures, the latest first."""

    data: list[Erasure]
    next: None = None


@post(
    "/erasures/preview",
    summary="Preview an erasure",
    tags=["erasures"],
    responses=PROBLEMS,
    status_code=200,
)
async def preview_erasure(app_state: AppStateDep, data: Annotated[ErasurePreviewRequest, BodyKwarg()]) -> ErasureCounts:
    """Count what has a number. All raw events are read: for ten million of them that takes some minutes."""
    return await app_state.erasure.preview(data.number)


@post("/erasures", summary="Erase a number", tags=["erasures"], responses=PROBLEMS)
async def erase_number(app_state: AppStateDep, data: Annotated[ErasureRequest, BodyKwarg()]) -> ErasureCounts:
    """Erase a number from calls, which stay, and from all else that is stored. It cannot be undone. Calls that are
    received later are stored with the number.
    """
    return await app_state.erasure.erase(data.number, calls=data.calls)


@get("/erasures", opt=FOR_ADMINISTRATORS, summary="List erasures", tags=["erasures"], responses=PROBLEMS)
async def list_erasures(app_state: AppStateDep) -> ErasureList:
    """List all erasures, the latest first, with their states; not which numbers they were."""
    return ErasureList(await app_state.erasure.list_erasures())


ROUTES = (preview_erasure, erase_number, list_erasures)
