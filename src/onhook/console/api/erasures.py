"""`/api/v1/erasures`: erasure of a telephone number from all that is stored, with a preview; for administrators."""

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg

from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.actions import ErasureCounts
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


class ErasureSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What has the number: calls, raw events, rows. `settings` names destinations, users and tokens that name it: they
    stay as they are.
    """

    calls: int
    raw_events: int
    notes: int
    recordings: int
    deliveries: int
    saved_searches: int
    share_tokens: int
    audit_entries: int
    settings: list[str]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: the number of its entry in the ledger, its calls, and its state. `erasing`: the number is neither
    shown nor sent; `rewritten`: no event and no row has it; `finished`: no file has it.
    """

    seq: int
    calls: int
    state: Literal["erasing", "rewritten", "finished"]


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
async def preview_erasure(
    app_state: AppStateDep, data: Annotated[ErasurePreviewRequest, BodyKwarg()]
) -> ErasureSummary:
    """Count what has a number. All raw events are read: for ten million of them that takes some minutes."""
    return to_summary(await app_state.erasure.preview(data.number))


@post("/erasures", summary="Erase a number", tags=["erasures"], responses=PROBLEMS)
async def erase_number(app_state: AppStateDep, data: Annotated[ErasureRequest, BodyKwarg()]) -> ErasureSummary:
    """Erase a number from calls, which stay, and from all else that is stored. It cannot be undone. Calls that are
    received later are stored with the number.
    """
    return to_summary(await app_state.erasure.erase(data.number, calls=data.calls))


@get("/erasures", opt=FOR_ADMINISTRATORS, summary="List erasures", tags=["erasures"], responses=PROBLEMS)
async def list_erasures(app_state: AppStateDep) -> ErasureList:
    """List all erasures, the latest first, with their states; not which numbers they were."""
    return ErasureList(
        [
            Erasure(seq=status.seq, calls=status.calls, state=status.state)
            for status in await app_state.erasure.list_erasures()
        ]
    )


ROUTES = (preview_erasure, erase_number, list_erasures)


def to_summary(counts: ErasureCounts) -> ErasureSummary:
    """Return the counts as they are shown."""
    names = (name for name in ErasureSummary.__struct_fields__ if name != "settings")
    return ErasureSummary(settings=list(counts.settings), **{name: getattr(counts, name) for name in names})
