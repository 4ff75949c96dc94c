"""`/erasure`: erase a telephone number, with a preview; for administrators only."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
from litestar import Response, get, post

from onhook.cdr.erasure_types import Erasure, ErasureCounts
from onhook.console.actions import ERASURE_LABELS
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone
from onhook.console.state import AnyRequest, AppStateDep
from onhook.lib.errors import OnhookError

ERASURES_SHOWN_MAX = 100


class ErasureForm(msgspec.Struct, frozen=True):
    """Content of the form; `calls` is the count of the preview that it confirms, or empty."""

    number: str = ""
    calls: str = ""


class ErasureView(View, frozen=True, kw_only=True):
    """Values of the page: a preview to confirm, or what was erased, and all erasures."""

    template: ClassVar = "erasure.html"
    number: str = ""
    preview: ErasureCounts | None = None
    erased: ErasureCounts | None = None
    error: str = ""
    labels: Sequence[tuple[str, str]] = ERASURE_LABELS
    erasures: Sequence[Erasure] = ()


@get("/erasure", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def erasure_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page with its form, and all erasures."""
    erasures = await app_state.erasure.list_erasures()
    return await render_page(request, app_state, reader_zone, ErasureView(erasures=erasures[:ERASURES_SHOWN_MAX]))


@post("/erasure/preview", include_in_schema=False, status_code=200)
async def preview_erasure(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ErasureForm, FORM_BODY]
) -> Response[str]:
    """Return the page with what has a number, and the button that erases it."""
    number = data.number.strip()
    try:
        view = ErasureView(number=number, preview=await app_state.erasure.preview(number))
    except OnhookError as error:
        view = ErasureView(number=number, error=str(error))
    return await render_page(request, app_state, reader_zone, view)


@post("/erasure", include_in_schema=False, status_code=200)
async def erase_number(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ErasureForm, FORM_BODY]
) -> Response[str]:
    """Erase a number whose preview was confirmed."""
    confirmed = int(data.calls) if data.calls.isascii() and data.calls.isdigit() and len(data.calls) < 16 else None
    try:
        view = ErasureView(erased=await app_state.erasure.erase(data.number, calls=confirmed))
    except OnhookError as error:
        view = ErasureView(number=data.number.strip(), error=str(error))
    erasures = (await app_state.erasure.list_erasures())[:ERASURES_SHOWN_MAX]
    return await render_page(request, app_state, reader_zone, msgspec.structs.replace(view, erasures=erasures))


ROUTES = (erasure_page, preview_erasure, erase_number)
