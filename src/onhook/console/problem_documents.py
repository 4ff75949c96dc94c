"""Errors as problem documents (RFC 9457) for programs and as pages for people."""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from traceback import format_exception
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Redirect

from onhook.appdb.reader_settings import Theme
from onhook.console.auth.access import Principal, get_principal
from onhook.console.pages.rendering import View, render
from onhook.console.parameters import known_parameter_names
from onhook.console.reader import loaded_theme
from onhook.console.state import AnyRequest
from onhook.lib.errors import RETRY_AFTER_SECONDS, OnhookError, UsageError
from onhook.lib.messages import _, mark

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. `type` is `about:blank`: the status says the kind; `detail` is one sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    hint: str | msgspec.UnsetType = msgspec.UNSET
    """What to do about it."""
    parameters: list[str] | msgspec.UnsetType = msgspec.UNSET
    """The invalid parameters, if any."""
    lag: int | msgspec.UnsetType = msgspec.UNSET
    """What `/readyz` returns, ready or not."""


PROBLEMS: dict[int, ResponseSpec] = {
    status: ResponseSpec(data_container=Problem, description=text, media_type=PROBLEM_TYPE, generate_examples=False)
    for status, text in {
        400: "A parameter or the body is invalid",
        401: "No token, or an invalid one",
        403: "The token may not do this",
        404: "Not found",
        413: "The body is larger than 64 KiB",
        421: "The host name is not allowed",
        429: "Too many wrong tokens from this address",
        500: "An internal error; see the log",
        503: "Temporarily unavailable: try again",
    }.items()
}
"""Error responses of every route, for the schema."""


_VALIDATION_MESSAGES = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"Expected `int(?: \| null)?`, got `str`", mark("write a whole number")),
        (r"Expected `int` >= (-?\d+)", mark(r"write a whole number, at least \1")),
        (r"Expected `int` <= (\d+)", mark(r"write a whole number, at most \1")),
        (r"Expected `str` of length <= (\d+)", mark(r"write at most \1 characters")),
        (r"Expected `str` matching regex '\^\[0-9\]\{0,(\d+)\}\$'", mark(r"write digits only, at most \1")),
        (r"Expected `str`, got `.*`", mark("write a text")),
        (r"Object missing required field `(.*)`", mark(r"`\1` is missing")),
        (r"Object contains unknown field `(.*)`", mark(r"there is no `\1`")),
    )
)
"""Messages of msgspec about an invalid value, and Onhook's texts."""

_HTTP_ERROR_DETAILS = {
    "Not Found": mark("there is nothing at this address"),
    "Method Not Allowed": mark("this address does not support the method"),
}
"""Messages of the framework that only repeat the title, and Onhook's texts."""


_TITLES = frozenset(
    {
        *(mark("Bad Request"), mark("Unauthorized"), mark("Forbidden"), mark("Not Found"), mark("Method Not Allowed")),
        *(mark("Conflict"), mark("Content Too Large"), mark("Request Entity Too Large"), mark("Misdirected Request")),
        *(mark("Unprocessable Entity"), mark("Unprocessable Content"), mark("Too Many Requests")),
        *(mark("Internal Server Error"), mark("Service Unavailable")),
    }
)
"""Phrases of the statuses of errors (RFC 9110), as Python spells them in its versions."""

NOT_CORRECTABLE = frozenset({"cursor", "token", "row"})
"""Parameters that a person does not write, and a token, which no page shows."""


_INVALID_PAGE = "onhook_invalid_page"


class ProblemView(View, frozen=True, kw_only=True):
    """Values of the page of a problem. `texts` are the parameters to correct, by name; the menu is that of the user."""

    template: ClassVar = "problem.html"
    problem: Problem
    principal: Principal | None = None
    theme: Theme = "system"
    path: str = ""
    texts: Sequence[tuple[str, str]] = ()


def handle_onhook_error(request: AnyRequest, error: OnhookError) -> Response[Any]:
    """Return the response for an `OnhookError`."""
    problem = Problem(
        title=_title(error.http_status),
        status=error.http_status,
        detail=f"{error.message} ({error.location})" if error.location else error.message,
        hint=error.hint or msgspec.UNSET,
        parameters=[error.parameter] if error.parameter and isinstance(error, UsageError) else msgspec.UNSET,
    )
    headers = {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="onhook"'
    if not error.permanent:
        extra = {"path": request.url.path, "error": problem.detail}
        logging.getLogger("onhook.console").warning("request cannot be served now", extra=extra)
        headers["Retry-After"] = str(getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS))
    return problem_response(request, problem, headers)


def handle_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Return the response for an error of the framework: an unknown route, an invalid parameter."""
    parameter_errors = list_parameter_errors(error)
    problem = Problem(
        title=_title(error.status_code),
        status=error.status_code,
        detail="; ".join(f"{name}: {text}" for name, text in parameter_errors)
        or _(_HTTP_ERROR_DETAILS.get(error.detail, error.detail)),
        parameters=[name for name, _ in parameter_errors] or msgspec.UNSET,
    )
    return problem_response(request, problem, dict(error.headers or {}))


def handle_unexpected_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Return the response for an internal error: logged, without details for the client. The query is not logged,
    because it may contain a token.
    """
    # As text: a renderer that shows local variables would show tokens.
    trace = "".join(format_exception(error))
    extra = {"path": request.url.path, "trace": trace}
    logging.getLogger("onhook.console").error("request failed", extra=extra)
    problem = Problem(
        title=_title(500),
        status=500,
        detail=_("internal error"),
        hint=_("see the log of the hub"),
    )
    return problem_response(request, problem, {})


def problem_response(request: AnyRequest, problem: Problem, headers: dict[str, str]) -> Response[Any]:
    """Return the problem as a document or a page; a browser without a token is redirected to the sign-in page."""
    if not accepts_html(request):
        return Response(problem, status_code=problem.status, headers=headers, media_type=PROBLEM_TYPE)
    if problem.status == 401 and request.method == "GET":
        return Redirect("/sign-in?next=" + quote(_path_and_query(request), safe=""), status_code=303)
    principal = get_principal(request.scope)
    if problem.status == 403 and request.method == "GET" and principal is not None and principal.needs_factor:
        return Redirect("/account", status_code=303)
    page = request.scope["state"].get(_INVALID_PAGE) or render(
        ProblemView(
            problem=problem,
            principal=principal,
            theme=loaded_theme(request.scope),
            path=request.url.path,
            texts=_correctable_texts(request, problem.status),
        )
    )
    return Response(page, status_code=problem.status, headers=headers, media_type="text/html")


def _title(status: int) -> str:
    phrase = HTTPStatus(status).phrase
    return _(phrase) if phrase in _TITLES else phrase


def _correctable_texts(request: AnyRequest, status: int) -> list[tuple[str, str]]:
    """Return the parameters of a page whose values are invalid, so that nothing has to be typed twice."""
    if status != HTTPStatus.BAD_REQUEST or request.method != "GET":
        return []
    known_names = known_parameter_names(request)
    return [
        (name, text)
        for name, text in dict(request.query_params.multi_items()).items()
        if text and name in known_names and name not in NOT_CORRECTABLE
    ]


def accepts_html(request: AnyRequest) -> bool:
    """Return whether the client is a browser: it accepts HTML, and the address is not in the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _path_and_query(request: AnyRequest) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def set_invalid_page(request: AnyRequest, page: str) -> None:
    """Set the page that browsers receive instead of that of the problem."""
    request.scope["state"][_INVALID_PAGE] = page


def list_parameter_errors(error: Exception) -> list[tuple[str, str]]:
    """Return the invalid parameters and what is wrong with each; none for an error of another kind."""
    if isinstance(error, OnhookError):
        message = f"{error.message}: {error.hint}" if error.hint else error.message
        return [(error.parameter, message)] if error.parameter else []
    if not isinstance(error, HTTPException):
        return []
    extra = error.extra if isinstance(error.extra, list) else []
    return [
        (str(entry.get("key", "")), _translate_validation_message(str(entry.get("message", ""))))
        for entry in extra
        if isinstance(entry, dict)
    ]


def _translate_validation_message(text: str) -> str:
    """Return a message of the decoder in Onhook's words; other texts are unchanged.

    >>> _translate_validation_message("Expected `int`, got `str`")
    'write a whole number'
    >>> _translate_validation_message("Expected `int` <= 1000")
    'write a whole number, at most 1000'
    """
    for pattern, message in _VALIDATION_MESSAGES:
        if match := pattern.fullmatch(text):
            return match.expand(_(message))
    return text
