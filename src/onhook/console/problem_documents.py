"""What went wrong, told to a program as a problem document (RFC 9457) and to a person as a page."""

import re
from http import HTTPStatus
from traceback import format_exception
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Redirect

from onhook.console.pages.rendering import render
from onhook.lib.errors import OnhookError

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""What we advise where a disk, a lock or a limit stood in the way."""

AnyRequest = Request[Any, Any, Any]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. `type` is `about:blank`: the status says the kind; `detail` is one sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    hint: str | msgspec.UnsetType = msgspec.UNSET
    """What to do about it."""
    parameters: list[str] | msgspec.UnsetType = msgspec.UNSET
    """The parameters that are to blame, where one is."""
    lag: int | msgspec.UnsetType = msgspec.UNSET
    """What `/readyz` tells, ready or not."""


PROBLEMS: dict[int, ResponseSpec] = {
    status: ResponseSpec(data_container=Problem, description=text, media_type=PROBLEM_TYPE, generate_examples=False)
    for status, text in {
        400: "A parameter or the body cannot be meant so",
        401: "No token, or one that does not count",
        403: "The token may read, not change",
        404: "What was asked for is not here",
        413: "The body is larger than 64 KiB",
        421: "This console has another name",
        429: "Too many wrong tokens from this address",
        500: "A fault of ours; it stands in the log",
        503: "Not now: try again",
    }.items()
}
"""How every route may answer besides its own answer, for the schema."""


_VALIDATION_MESSAGES = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"Expected `int(?: \| null)?`, got `str`", "write a whole number"),
        (r"Expected `int` >= (-?\d+)", r"write a whole number, at least \1"),
        (r"Expected `int` <= (\d+)", r"write a whole number, at most \1"),
        (r"Expected `str` of length <= (\d+)", r"write at most \1 characters"),
        (r"Expected `str` matching regex '\^\[0-9\]\{0,(\d+)\}\$'", r"write digits only, at most \1"),
        (r"Expected `str`, got `.*`", "write a text"),
        (r"Object missing required field `(.*)`", r"`\1` is missing"),
        (r"Object contains unknown field `(.*)`", r"there is no `\1`"),
    )
)
"""What msgspec says of a value that does not fit, and how we say it."""

_HTTP_ERROR_DETAILS = {
    "Not Found": "there is nothing at this address",
    "Method Not Allowed": "what is at this address cannot be asked for in this way",
}
"""What the framework says of an address, which is the title once more, and how we say it."""


def handle_onhook_error(request: AnyRequest, error: OnhookError) -> Response[Any]:
    """An error of ours says itself what it is."""
    problem = Problem(
        title=HTTPStatus(error.http_status).phrase,
        status=error.http_status,
        detail=f"{error.message} ({error.location})" if error.location else error.message,
        hint=error.hint or msgspec.UNSET,
    )
    headers = {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="onhook"'
    if not error.permanent:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return problem_response(request, problem, headers)


def handle_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """An error of the framework: no such route, a parameter that does not fit."""
    parameter_errors = _parameter_errors(error)
    problem = Problem(
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail="; ".join(f"{name}: {text}" for name, text in parameter_errors)
        or _HTTP_ERROR_DETAILS.get(error.detail, error.detail),
        parameters=[name for name, _ in parameter_errors] or msgspec.UNSET,
    )
    return problem_response(request, problem, dict(error.headers or {}))


def handle_unexpected_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """A fault of ours: told in the log, not to the caller. The query stays out of the log, it may hold a token."""
    # As text: a renderer that shows local variables would show tokens.
    trace = "".join(format_exception(error))
    structlog.get_logger("onhook.console").error("request failed", path=request.url.path, trace=trace)
    problem = Problem(
        title="Internal Server Error",
        status=500,
        detail="a fault of ours",
        hint="see the log of the hub for what it was",
    )
    return problem_response(request, problem, {})


def problem_response(request: AnyRequest, problem: Problem, headers: dict[str, str]) -> Response[Any]:
    """The problem as a program or a person reads it; a person without a token is led to the sign-in page."""
    if not accepts_html(request):
        return Response(problem, status_code=problem.status, headers=headers, media_type=PROBLEM_TYPE)
    if problem.status == 401 and request.method == "GET":
        return Redirect("/sign-in?next=" + quote(_path_and_query(request), safe=""), status_code=303)
    page = render("problem.html", problem=problem)
    return Response(page, status_code=problem.status, headers=headers, media_type="text/html")


def accepts_html(request: AnyRequest) -> bool:
    """Whether a person looks: a browser asks for HTML, and never at the API's address."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _path_and_query(request: AnyRequest) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _parameter_errors(error: HTTPException) -> list[tuple[str, str]]:
    """The parameters and what is wrong with each: as the framework tells it, in words of ours."""
    extra = error.extra if isinstance(error.extra, list) else []
    return [
        (str(entry.get("key", "")), _translate_validation_message(str(entry.get("message", ""))))
        for entry in extra
        if isinstance(entry, dict)
    ]


def _translate_validation_message(text: str) -> str:
    """What the decoder expected, as a person says it; what it says of other things is well said.

    >>> _translate_validation_message("Expected `int`, got `str`")
    'write a whole number'
    >>> _translate_validation_message("Expected `int` <= 1000")
    'write a whole number, at most 1000'
    """
    for pattern, message in _VALIDATION_MESSAGES:
        if match := pattern.fullmatch(text):
            return match.expand(message)
    return text
