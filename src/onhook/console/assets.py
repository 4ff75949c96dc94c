"""`/static`: our own style, script and icon; nothing is fetched from outside."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.params import PathParameter

from onhook.console.access import OPEN
from onhook.errors import NotFound

MEDIA_TYPES: Mapping[str, str] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

FileName = Annotated[str, PathParameter(max_length=100)]


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent; `etag` changes with its bytes."""

    body: bytes
    media_type: str
    etag: str


@get("/static/{name:str}", opt=OPEN, include_in_schema=False)
async def read_asset(request: Request[Any, Any, Any], name: FileName) -> Response[bytes]:
    """Asked again each time and answered 304: an upgrade shows at once. Open, because the sign-in page needs it."""
    asset = _assets().get(name)
    if asset is None:
        raise NotFound("there is no such file")
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


@lru_cache(maxsize=1)
def _assets() -> Mapping[str, Asset]:
    """Read whole at the first use: some kilobytes, and no name from outside ever becomes a path."""
    found = {}
    for file in files("onhook.console").joinpath("static").iterdir():
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found[file.name] = Asset(body, media_type, etag)
    return found
