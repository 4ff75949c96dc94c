"""What a NATS server must have, so that what it confirms is not lost."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from nats.aio.client import ServerVersion

from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

VERSION_MIN = (2, 15, 1)
"""Before, a power failure could take what was confirmed (nats-server 8475)."""

PAYLOAD_BYTES_MIN = 2 * 1024 * 1024
"""An entry has up to 1 MiB (`CONTROL_BODY_BYTES_MAX`), and the default of the servers is 1 MiB with all headers."""

PAGE_BYTES_MAX = 1024 * 1024
PAGE_SECONDS_MAX = 1.0


def check_server(version: ServerVersion, payload_bytes: int, location: str) -> None:
    """Check the version of a server and its largest message. Raises `UsageError`."""
    if (version.major, version.minor, version.patch) < VERSION_MIN:
        raise UsageError(
            _("the NATS server has version {version}", version=f"{version.major}.{version.minor}.{version.patch}"),
            location=location,
            hint=_("upgrade it to {version} or later", version=".".join(map(str, VERSION_MIN))),
        )
    if payload_bytes < PAYLOAD_BYTES_MIN:
        raise UsageError(
            _("the NATS server takes messages of {size:,} bytes at most", size=payload_bytes),
            location=location,
            hint=_("write `max_payload: 8MB` in the configuration of each server"),
        )


async def check_sync(host: str, port: int, *, is_required: bool) -> None:
    """Check that a server writes to disk before it confirms. One that does not answer is away, which is no reason to
    refuse the others, unless it is required. Raises `UsageError`, `Unavailable`.
    """
    location = f"http://{host}:{port}/varz"
    try:
        settings = await read_settings(host, port)
    except (OSError, TimeoutError, ValueError) as error:
        if is_required:
            raise Unavailable(
                _(
                    "the settings of the NATS server cannot be read: {error}",
                    error=str(error) or _("no answer in time"),
                ),
                location=location,
                hint=_("write `http: PORT` in the configuration of each server, and monitor=PORT in the address"),
            ) from error
        return
    if not writes_before_confirming(settings):
        raise UsageError(
            _("the NATS server confirms what is not on disk yet"),
            location=location,
            hint=_("write `sync_interval: always` in the section `jetstream` of the configuration of each server"),
        )


def writes_before_confirming(settings: Mapping[str, Any]) -> bool:
    """Return whether a server writes to disk before it confirms, by its settings as `read_settings` returns them
    (`sync_interval: always` of its configuration).
    """
    return bool(settings.get("jetstream", {}).get("config", {}).get("sync_always"))


async def read_settings(host: str, port: int) -> dict[str, Any]:
    """Return the settings and figures that a server shows. Raises `OSError`, `TimeoutError` after `PAGE_SECONDS_MAX`,
    `ValueError` where that is no page of a NATS server.
    """
    async with asyncio.timeout(PAGE_SECONDS_MAX):
        return await _read_page(host, port)


async def _read_page(host: str, port: int) -> dict[str, Any]:
    """Return the settings of a server: one request without anything that HTTP clients are for."""
    reader, writer = await asyncio.open_connection(host, port, limit=PAGE_BYTES_MAX)
    try:
        writer.write(f"GET /varz HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        await writer.drain()
        page = await reader.read(PAGE_BYTES_MAX)
        while chunk := await reader.read(PAGE_BYTES_MAX):
            page += chunk
            if len(page) > PAGE_BYTES_MAX:
                raise ValueError(_("the page is too large"))
    finally:
        writer.close()
    settings = json.loads(page.partition(b"\r\n\r\n")[2])
    if not isinstance(settings, dict):
        raise ValueError(_("this is no page of a NATS server"))
    return settings
