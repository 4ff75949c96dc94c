"""Compression of responses: pages and lists are a tenth as long.

Invariants: only responses to GET are compressed. Secrets are in responses to POST only, and no other site can request a
page with a visitor's cookie and read its length (BREACH). Live streams, and files of any length, are not compressed:
compressing piece by piece would hold events back, and files keep a processor busy enough.
"""

import zlib
from io import BytesIO

from litestar.config.compression import CompressionConfig
from litestar.enums import CompressionEncoding
from litestar.middleware.compression import CompressionMiddleware
from litestar.middleware.compression.facade import CompressionFacade
from litestar.types import Receive, Scope, Send

GZIP_LEVEL = 6
"""Above it a page gets one per cent shorter and takes twice as long."""

COMPRESSED_BYTES_MIN = 1_024
"""A shorter response fits into one packet anyway."""

UNCOMPRESSED_PATHS = (r"^/static/", r"^/api/v1/(live|export)", r"^/exports/", r"^/metrics$")
"""Static files are compressed once, not per request."""


_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS


class Gzip(CompressionFacade):
    """Compressor of one response. Nothing needs to be closed where the client goes away, as with `GzipFile`."""

    encoding = CompressionEncoding.GZIP

    def __init__(
        self, buffer: BytesIO, compression_encoding: CompressionEncoding | str, config: CompressionConfig
    ) -> None:
        self._buffer = buffer
        self._compressor = zlib.compressobj(config.gzip_compress_level, wbits=_GZIP_WINDOW_BITS)

    def write(self, body: bytes) -> None:
        """Compress a part, so that it can be read at once."""
        self._buffer.write(self._compressor.compress(body) + self._compressor.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> None:
        """End the compressed body."""
        self._buffer.write(self._compressor.flush())


class GetOnlyCompression(CompressionMiddleware):
    """Compresses responses to GET."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the invariants above."""
        if scope.get("method") == "GET":
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def compression_config() -> CompressionConfig:
    """Return the configuration: gzip, which every browser and client supports."""
    return CompressionConfig(
        backend="gzip",
        gzip_compress_level=GZIP_LEVEL,
        minimum_size=COMPRESSED_BYTES_MIN,
        middleware_class=GetOnlyCompression,
        compression_facade=Gzip,
        exclude=list(UNCOMPRESSED_PATHS),
    )
