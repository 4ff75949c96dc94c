"""Paths and their handlers; any other path is answered 10001."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from onhook.pbx_api import cdr, directory, login, recordings, reports, system, webhooks
from onhook.pbx_api.codes import ApiResponse
from onhook.pbx_api.pass_through import CONTROL_PATHS
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState

Handler = Callable[[ApiState, ApiRequest], Awaitable[ApiResponse | bytes]]
"""Return a response, as an object or as encoded bytes. Raises `ApiRequestError`."""

SUBSCRIBE_PATH: Final = "/openapi/v1.0/subscribe"
"""The path of the WebSocket."""


class Route(msgspec.Struct, frozen=True):
    """Method and handler of a path. All routes except logins need a token."""

    method: str
    handler: Handler
    needs_token: bool = True


def _passed_on(path: str, handler: Handler) -> Route:
    """Return a route that the app's PBX answers if it can, and the handler else."""

    async def read(state: ApiState, request: ApiRequest) -> ApiResponse | bytes:
        response = await state.pass_through.read(request, path)
        return await handler(state, request) if response is None else response

    return Route("GET", read)


def _control_routes() -> Mapping[str, Route]:
    """Return the routes that place, end and watch calls."""

    async def control(state: ApiState, request: ApiRequest, *, path: str) -> ApiResponse:
        return await state.pass_through.control(request, path)

    return {path: Route(method, partial(control, path=path)) for path, method in CONTROL_PATHS.items()}


DIRECTORY_ACTIONS: Final = {
    "list": directory.list_entries,
    "search": directory.search_entries,
    "query": directory.query_entries,
    "get": directory.get_entry,
}


def _directory_routes() -> Mapping[str, Route]:
    """Return the routes of all kinds of directory rows: `extension/list` and so on."""
    return {
        f"{name}/{action}": _passed_on(f"{name}/{action}", partial(handler, kind=kind))
        for name, kind in directory.KINDS.items()
        for action, handler in DIRECTORY_ACTIONS.items()
    }


V1_ROUTES: Final[Mapping[str, Route]] = {
    **_directory_routes(),
    **_control_routes(),
    "call_report/list": _passed_on("call_report/list", reports.list_report),
    "get_token": Route("POST", login.get_token, needs_token=False),
    "refresh_token": Route("POST", login.refresh_token, needs_token=False),
    "del_token": Route("GET", login.del_token),
    "system/information": Route("GET", system.read_information),
    "cdr/list": Route("GET", cdr.list_rows),
    "cdr/search": Route("GET", cdr.search_rows),
    "cdr/download": Route("GET", cdr.download_rows),
    "recording/list": Route("GET", recordings.list_recordings),
    "recording/search": Route("GET", recordings.search_recordings),
    "recording/query": Route("GET", recordings.search_recordings),
    "recording/download": Route("GET", recordings.download_recording),
    "webhook/query": Route("GET", webhooks.query_webhooks),
    "webhook/update": Route("POST", webhooks.update_webhooks),
    "webhook/test": Route("GET", webhooks.test_webhook),
}

V2_ROUTES: Final[Mapping[str, Route]] = {
    "cdr/list": Route("GET", cdr.list_calls),
    "cdr/search": Route("GET", cdr.search_calls),
    "cdr/detail": Route("GET", cdr.read_detail),
    "cdr/download": Route("GET", cdr.download_calls),
    "call_report/list": _passed_on("call_report/list", reports.list_report),
}

ROUTES_BY_VERSION: Final[Mapping[str, Mapping[str, Route]]] = {"v1.0": V1_ROUTES, "v2.0": V2_ROUTES}


_SLASHES: Final = re.compile("/{2,}")


def normalize_path(path: str) -> str:
    """Return a path without doubled slashes and a slash at its end, which clients produce when they join addresses.

    >>> normalize_path("//openapi/v1.0//cdr/list/")
    '/openapi/v1.0/cdr/list'
    """
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def find_route(method: str, path: str) -> tuple[str, Route] | None:
    """Return the version and the route of a request, or None."""
    parts = path.split("/", 3)
    if len(parts) != 4 or parts[1] != "openapi":
        return None
    route = ROUTES_BY_VERSION.get(parts[2], {}).get(parts[3])
    return None if route is None or route.method != method else (parts[2], route)
