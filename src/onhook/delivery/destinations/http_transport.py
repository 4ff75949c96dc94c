"""HTTP requests of destinations: one session each, through the SSRF guard, directly or through a proxy.

Invariants: redirects are not followed. Behind a proxy the guard holds too: the name is looked up here, and the proxy is
asked for the address that was checked. Each result has the exchange for the log, in which no secret is.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence

import aiohttp
import msgspec
from yarl import URL

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.destinations.http_exchange import RequestDescriber, describe_response_headers, hide_texts
from onhook.delivery.destinations.interim_responses import LimitedResponse
from onhook.delivery.destinations.webhook_response import describe_error, read_result
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard, resolve_host
from onhook.lib.certificates import create_trust
from onhook.lib.hosts import NO_PROXY, parse_url_host
from onhook.lib.messages import _

CONNECTIONS_MAX = 16
"""Connections to one destination: twice the concurrent attempts, so that a closing connection delays none."""

HEADER_BYTES_MAX = 16 * 1024
"""Of one header of a response, and of its first line."""

TEST_HEADER = "X-Onhook-Test"
"""Marks a test, also one with a sample event."""

USER_AGENT = "Onhook"


class OutgoingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, to a URL at the destination's host."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None

    def __repr__(self) -> str:
        return f"OutgoingRequest({self.method} {self.url.host})"


ReadResponse = Callable[[DeliveryResult], DeliveryResult]
"""Returns a result with what only its destination reads in the response."""


class HttpTransport:
    """Session of one destination. `headers` are sent with each request; no response is shown with one of the
    `secrets`. The log hides the values of `hidden_headers`, as those that a person has set.
    """

    def __init__(
        self,
        spec: DestinationSpec,
        guard: SsrfGuard,
        proxy: str,
        headers: Mapping[str, str],
        secrets: Sequence[str] = (),
        *,
        hidden_headers: Iterable[str] = (),
    ) -> None:
        self._spec = spec
        headers = {"User-Agent": USER_AGENT, **headers}
        self._describer = RequestDescriber(headers, (*spec.headers, *hidden_headers), secrets)
        self._guard = guard
        self._proxy = URL(proxy) if proxy else None
        # Not by threads: slow look-ups would delay all other names, and the stop of the process.
        self._resolver = aiohttp.AsyncResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                # A proxy is the operator's, and in a private network as a rule.
                socket_factory=(msgspec.structs.replace(guard, allow_private=True) if proxy else guard).create_socket,
                resolver=self._resolver,
                ssl=_build_trust(spec),
            ),
            headers=headers,
            # Responses are never decompressed, which could cost much, so no compressed ones are asked for; and never
            # stored as cookies.
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=LimitedResponse,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    async def request(
        self,
        request: OutgoingRequest,
        attempted_at: int,
        body_bytes_max: int | None = None,
        *,
        logged_request: OutgoingRequest | None = None,
        read_response: ReadResponse | None = None,
    ) -> DeliveryResult:
        """Make one attempt within the time-out. The result has the beginning of the response, or all of it up to
        `body_bytes_max`. Never raises for what the other side does. `logged_request` is the request as the log shows
        it, with its body; without one it is the request, whose body is the notification. `read_response` completes the
        result, from a response in which nothing is hidden yet.
        """
        hidden_texts = self._describer.list_hidden(request.headers)
        exchange = self._describer.describe(
            request.method,
            str((logged_request or request).url),
            request.headers,
            None if logged_request is None else logged_request.body or b"",
        )
        result, response_headers = await self._request(request, attempted_at, body_bytes_max)
        if read_response is not None:
            result = read_response(result)
        return msgspec.structs.replace(
            result,
            detail=hide_texts(result.detail.encode(errors="replace"), hidden_texts).decode(),
            body=hide_texts(result.body, hidden_texts),
            exchange=msgspec.structs.replace(
                exchange, response_headers=describe_response_headers(response_headers, hidden_texts)
            ),
        )

    async def _request(
        self, request: OutgoingRequest, attempted_at: int, body_bytes_max: int | None
    ) -> tuple[DeliveryResult, Iterable[tuple[str, str]]]:
        """Make one attempt; return its result, and the headers of the response."""
        time = asyncio.get_running_loop().time
        deadline = time() + self._spec.timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                target = _Target(request.url) if self._proxy is None else await self._resolve_target(request.url)
            async with self._session.request(
                request.method,
                target.url,
                data=request.body,
                headers={**request.headers, **target.headers},
                server_hostname=target.server_hostname,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=deadline - time()),
                allow_redirects=False,
            ) as response:
                result = await read_result(
                    response,
                    attempted_at,
                    accept_redirects=self._spec.accept_redirects,
                    body_bytes_max=body_bytes_max,
                )
                return result, response.headers.items()
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp raises ValueError for a name that cannot be encoded, or an invalid URL.
            detail = describe_error(error)
        return DeliveryResult(outcome="unreachable", detail=detail), ()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._resolver.close()

    async def _resolve_target(self, url: URL) -> "_Target":
        """Return the address to ask the proxy for. Raises `OSError` for a name without an address, `PermissionError`
        for an address that is not allowed.
        """
        host = parse_url_host(str(url))
        addresses, reason = ([host.address], "") if host.address else await resolve_host(host, self._resolver)
        if not addresses:
            raise OSError(_("{host} has no address: {reason}", host=host.text, reason=reason))
        for candidate in addresses:
            self._guard.require_allowed(candidate)
        # A proxy without IPv6 is more frequent than a receiver without IPv4.
        address = min(addresses, key=lambda candidate: candidate.version)
        return _Target(
            url.with_host(str(address)),
            headers={"Host": url.host_port_subcomponent or host.text},
            server_hostname=host.text,
        )


class _Target(msgspec.Struct, frozen=True):
    """What to request: the URL, with the address instead of the name behind a proxy, which `headers` then contain."""

    url: URL
    headers: dict[str, str] = {}
    server_hostname: str | None = None


def _build_trust(spec: DestinationSpec) -> aiohttp.Fingerprint | ssl.SSLContext | bool:
    """Return the certificates that are trusted: a pinned one, those of the destination, or the system's."""
    if spec.fingerprint:
        return aiohttp.Fingerprint(bytes.fromhex(spec.fingerprint))
    return create_trust(spec.ca_certificates) if spec.ca_certificates else True


def guard_and_proxy(config: Config, spec: DestinationSpec) -> tuple[SsrfGuard, str]:
    """Return the guard and the proxy of a destination; the proxy is empty where there is none."""
    proxy = spec.proxy or config.proxy
    return create_ssrf_guard(config.private_networks, allow_private=spec.allow_private), (
        "" if proxy == NO_PROXY else proxy
    )
