"""Objects of one bucket, by the interface of S3 over HTTP.

Invariants: each request is signed, with the headers of the interface that a person has set. What a request says by its
status is a value; everything else raises `OSError` with a reason without a secret. An object is read as it is: nothing
is hidden in it.
"""

import re
from collections.abc import Mapping
from html import unescape
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

import msgspec
from yarl import URL

from onhook.appdb.destination_spec import DestinationSpec
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult
from onhook.delivery.destinations.http_transport import HttpTransport, OutgoingRequest
from onhook.delivery.destinations.s3_signing import SigningKey, encode_path, encode_query, sign_request
from onhook.lib.clock import Clock

ANSWER_BYTES_MAX = 65_536
"""Of errors and lists."""

SIGNED_HEADERS_PREFIX = "x-amz-"
"""Servers refuse a request with such a header that is not signed."""

_KEY = re.compile(rb"<Key>([^<]*)</Key>")
_CODE = re.compile(rb"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")


class S3Bucket:
    """Objects below the path of a destination's URL; `is_named_by_host` says that the path has no bucket. Keys are
    those below the path, with a `/` between. The transport sends the headers of the destination.
    """

    def __init__(
        self, spec: DestinationSpec, transport: HttpTransport, key: SigningKey, clock: Clock, *, is_named_by_host: bool
    ) -> None:
        parts = urlsplit(spec.url)
        segments = [segment for segment in unquote(parts.path).split("/") if segment]
        bucket = [] if is_named_by_host else segments[:1]
        self._origin = URL(spec.url).origin()
        self._bucket_path = "/" + "/".join(bucket)
        self._prefix = "".join(f"{segment}/" for segment in segments[len(bucket) :])
        self._signed_headers = {
            name: value for name, value in spec.headers.items() if name.lower().startswith(SIGNED_HEADERS_PREFIX)
        }
        self._transport = transport
        self._key = key
        self._clock = clock

    async def put_new(self, key: str, body: bytes, content_type: str) -> bool:
        """Store an object. Return False where there is one with this key already, which stays as it is."""
        result = await self._request("PUT", key, body=body, headers={"If-None-Match": "*"}, content_type=content_type)
        if result.status == HTTPStatus.PRECONDITION_FAILED:
            return False
        _require_success(result)
        return True

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        """Store an object in place of one with this key."""
        _require_success(await self._request("PUT", key, body=body, content_type=content_type))

    async def get(self, key: str, bytes_max: int) -> bytes | None:
        """Return the content of an object, or None where there is none."""
        result = await self._request("GET", key, answer_bytes_max=bytes_max)
        if result.status == HTTPStatus.NOT_FOUND:
            return None
        _require_success(result)
        return result.body

    async def delete(self, key: str) -> None:
        """Delete an object."""
        _require_success(await self._request("DELETE", key))

    async def first_key(self, prefix: str) -> str | None:
        """Return the first key, in order, that begins with this prefix, without it; None where there is none."""
        full_prefix = self._prefix + prefix
        query = {"list-type": "2", "max-keys": "1", "prefix": full_prefix}
        result = await self._send(
            "GET", self._bucket_path, query, body=b"", headers={}, answer_bytes_max=ANSWER_BYTES_MAX
        )
        _require_success(result)
        match = _KEY.search(result.body)
        return unescape(match[1].decode(errors="replace")).removeprefix(full_prefix) if match else None

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _request(
        self,
        method: str,
        key: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        content_type: str = "",
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> DeliveryResult:
        path = f"{self._bucket_path.rstrip('/')}/{self._prefix}{key}"
        all_headers = {**(headers or {}), **({"Content-Type": content_type} if content_type else {})}
        return await self._send(method, path, {}, body=body, headers=all_headers, answer_bytes_max=answer_bytes_max)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: bytes,
        headers: Mapping[str, str],
        answer_bytes_max: int,
    ) -> DeliveryResult:
        encoded_path, now = encode_path(path), self._clock.now()
        url = URL(f"{self._origin}{encoded_path}{'?' if query else ''}{encode_query(query)}", encoded=True)
        signed = sign_request(
            method,
            encoded_path,
            query,
            {"host": url.host_port_subcomponent or "", **self._signed_headers, **headers},
            body=body,
            key=self._key,
            now=now,
        )
        request = OutgoingRequest(method=method, url=url, headers={**headers, **signed}, body=body or None)
        content = b""

        def read_content(result: DeliveryResult) -> DeliveryResult:
            nonlocal content
            content = result.body
            return result

        result = await self._transport.request(
            request, self._clock.microseconds(), answer_bytes_max, read_response=read_content
        )
        return msgspec.structs.replace(result, body=content) if result.outcome == "accepted" else result


def _require_success(result: DeliveryResult) -> None:
    if result.outcome != "accepted":
        reasons = [
            match[1].decode(errors="replace")
            for match in (_CODE.search(result.body), _MESSAGE.search(result.body))
            if match
        ]
        text = ": ".join([result.detail, *map(unescape, reasons)])
        raise OSError(" ".join(text.split())[:DETAIL_CHARACTERS_MAX])
