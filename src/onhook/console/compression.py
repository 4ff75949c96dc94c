"""Answers are packed on their way: pages and lists are a tenth as long then.

Laws: only what was asked for by GET is packed. Secrets are shown in answers to POST alone, and no other site can have a
page of ours asked for with a visitor's cookie and read how long it is (BREACH). What is live, and files of any length,
go as they are: to pack a piece at a time would hold events back, and files keep a processor busy enough.
"""

from litestar.config.compression import CompressionConfig
from litestar.middleware.compression import CompressionMiddleware
from litestar.types import Receive, Scope, Send

GZIP_LEVEL = 6
"""Above it a page gets one per cent shorter and takes twice as long."""

COMPRESSED_BYTES_MIN = 1_024
"""What is shorter fits into one packet of the network anyway."""

UNCOMPRESSED_PATHS = (r"^/static/", r"^/api/v1/(live|export)", r"^/exports/", r"^/metrics$")
"""Files of ours are packed once, not each time."""


class GetOnlyCompression(CompressionMiddleware):
    """Packs answers to GET."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the laws above."""
        if scope.get("method") == "GET":
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def compression_config() -> CompressionConfig:
    """How answers are packed: by gzip, which every browser and client takes."""
    return CompressionConfig(
        backend="gzip",
        gzip_compress_level=GZIP_LEVEL,
        minimum_size=COMPRESSED_BYTES_MIN,
        middleware_class=GetOnlyCompression,
        exclude=list(UNCOMPRESSED_PATHS),
    )
