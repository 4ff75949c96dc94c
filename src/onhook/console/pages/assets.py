"""`/static`: Onhook's style, scripts and icon, and vendored libraries; nothing is loaded from other hosts."""

import gzip
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.params import PathParameter

from onhook.console.auth.access import OPEN
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

MEDIA_TYPES: Mapping[str, str] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

CACHE_FOREVER = "public, max-age=31536000, immutable"
"""A year is the longest time that HTTP caches use (RFC 9111)."""

FileName = Annotated[str, PathParameter(max_length=100)]


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent, and compressed; `stamp` changes with its content."""

    body: bytes
    gzipped: bytes
    media_type: str
    content_hash: str


@get("/static/{name:str}", opt=OPEN, include_in_schema=False)
async def read_asset(request: Request[Any, Any, Any], name: FileName) -> Response[bytes]:
    """Return a file. Under the name with its stamp (see `asset_path`) it never changes and is cached; under its plain
    name it is revalidated with 304. Public, because the sign-in page needs it.
    """
    asset, has_content_hash = _find_asset(name)
    etag = f'"{asset.content_hash}"'
    headers = {
        "ETag": etag,
        "Cache-Control": CACHE_FOREVER if has_content_hash else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(b"", status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.gzipped, media_type=asset.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.media_type, headers=headers)


def asset_path(name: str) -> str:
    """Return the path of a file: an upgrade that changes the file changes its path, so that browsers load
    it at once.
    """
    stem, _dot, extension = name.rpartition(".")
    return f"/static/{stem}.{_load_assets()[name].content_hash}.{extension}"


def _find_asset(name: str) -> tuple[Asset, bool]:
    """Return the file, and whether the stamp was requested; another stamp belongs to another version."""
    stem, _dot, extension = name.rpartition(".")
    base_name, _dot, content_hash = stem.rpartition(".")
    hashed_asset = _load_assets().get(f"{base_name}.{extension}")
    if hashed_asset is not None and hashed_asset.content_hash == content_hash:
        return hashed_asset, True
    asset = _load_assets().get(name)
    if asset is None:
        raise NotFound(_("there is no such file"))
    return asset, False


@lru_cache(maxsize=1)
def _load_assets() -> Mapping[str, Asset]:
    """Read all files at the first use: a megabyte at most, and no name of a request is ever used as a path."""
    static_directory = files("onhook.console").joinpath("static")
    assets = {}
    for file in (*static_directory.iterdir(), *static_directory.joinpath("vendor").iterdir()):
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type:
            body = file.read_bytes()
            content_hash = hashlib.sha256(body).hexdigest()[:16]
            assets[file.name] = Asset(body, gzip.compress(body), media_type, content_hash)
    return assets
