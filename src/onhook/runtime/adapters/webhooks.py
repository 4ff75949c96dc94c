"""Webhooks that apps manage through the PBX API: destinations like any others, each of one app.

An app that sees some PBXs only has a destination for each of them, because a filter names one; to the
app they are one webhook.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import msgspec

from onhook.appdb.api_clients import App
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec, Method, validate_spec
from onhook.appdb.destinations import Destination
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, validate_secret
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.delivery.address_check import check_destination
from onhook.delivery.destinations.contract import OpenDestination
from onhook.delivery.status import send_test
from onhook.lib.clock import Clock
from onhook.pbx_api.pushing import MAX_ATTEMPTS_LIMITS, AppWebhook, AppWebhookSettings

NAME_SUFFIX_CHARACTERS_MAX = 14
"""Of a destination's name, after that of its app."""

_DestinationKey = tuple[str, str]
"""URL and serial number: they identify a destination of an app."""


class DestinationWebhookStore:
    """See the contract, `pbx_api.pushing.AppWebhookStore`."""

    def __init__(self, config: Config, appdb: AppDb, open_destination: OpenDestination, clock: Clock) -> None:
        self._config = config
        self._appdb = appdb
        self._open_destination = open_destination
        self._clock = clock
        self._log = logging.getLogger("pbx_api")

    async def get(self, app: App) -> AppWebhookSettings:
        destinations = await self._appdb.destinations.list_for_app(app.client_id)
        webhooks = {destination.url: await self._to_app_webhook(destination) for destination in destinations}
        if not destinations:
            return AppWebhookSettings()
        return AppWebhookSettings(
            is_enabled=any(destination.state != "paused" for destination in destinations),
            webhooks=tuple(webhooks.values()),
            timeout_seconds=round(destinations[0].timeout_seconds),
            max_attempts=destinations[0].max_attempts if destinations[0].retry_policy == "original" else None,
        )

    async def change(self, app: App, webhook_settings: AppWebhookSettings, *, after: int, now_us: int) -> None:
        webhooks_by_key = {
            (webhook.url, sn): webhook for webhook in webhook_settings.webhooks for sn in app.pbxs or ("",)
        }
        # Before the first is changed, so that an error changes nothing.
        for webhook in webhook_settings.webhooks:
            validate_secret(webhook.secret)
            await self._check_spec(app, _build_spec(app, webhook_settings, webhook, ""))
        async with self._appdb.transaction():
            await self._store_webhooks(app, webhook_settings, webhooks_by_key, after=after, now_us=now_us)

    async def _store_webhooks(
        self,
        app: App,
        webhook_settings: AppWebhookSettings,
        webhooks_by_key: Mapping[_DestinationKey, AppWebhook],
        *,
        after: int,
        now_us: int,
    ) -> None:
        destinations_by_key = {
            _destination_key(destination): destination
            for destination in await self._appdb.destinations.list_for_app(app.client_id)
        }
        for key, destination in destinations_by_key.items():
            if key not in webhooks_by_key:
                await self._appdb.destinations.remove(destination.name)
        for key, webhook in webhooks_by_key.items():
            spec = _build_spec(app, webhook_settings, webhook, key[1])
            if key in destinations_by_key:
                name = await self._update(destinations_by_key[key], webhook, spec, now_us)
            else:
                name = await self._add(app, webhook, spec, after, now_us)
            await self._appdb.destinations.set_state(name, "active" if webhook_settings.is_enabled else "paused")

    async def send_test(self, app: App, webhook: AppWebhook) -> bool:
        spec = await self._check_spec(app, DestinationSpec(url=webhook.url, method=_method(webhook)))
        client = self._open_destination(spec, [validate_secret(webhook.secret)])
        result = await send_test(client, self._clock)
        if not result.accepted:
            self._log.warning("test notification not accepted", extra={"app": app.name, "detail": result.detail})
        return result.accepted

    async def _check_spec(self, app: App, spec: DestinationSpec) -> DestinationSpec:
        """Return the specification with the permission that a person has given this webhook; log warnings about its
        address. Raises `UsageError`.
        """
        is_allowed = any(
            destination.allow_private
            for destination in await self._appdb.destinations.list_for_app(app.client_id)
            if destination.url == spec.url
        )
        checked_spec = msgspec.structs.replace(spec, allow_private=is_allowed)
        for warning in await check_destination(self._config, checked_spec):
            self._log.warning("webhook of an app has no address", extra={"app": app.name, "detail": warning})
        return validate_spec(checked_spec)

    async def _to_app_webhook(self, destination: Destination) -> AppWebhook:
        (secret, *_) = await self._appdb.destinations.secret_texts(destination.destination_id)
        return AppWebhook(url=destination.url, secret=secret, request_method=destination.method, event_ids=[30012])

    async def _add(self, app: App, webhook: AppWebhook, spec: DestinationSpec, after: int, now_us: int) -> str:
        used_names = {destination.name.casefold() for destination in await self._appdb.destinations.all()}
        name = next(name for name in _candidate_names(app) if name.casefold() not in used_names)
        new_destination, _ = await self._appdb.destinations.add(
            name, spec, webhook.secret, after=after, now_us=now_us, app=app.client_id
        )
        return new_destination.name

    async def _update(self, destination: Destination, webhook: AppWebhook, spec: DestinationSpec, now_us: int) -> str:
        """Change the destination where it differs; the permission for private networks is a person's choice,
        and stays.
        """
        destinations = self._appdb.destinations
        changes: Mapping[str, Any] = {
            name: getattr(spec, name)
            for name in ("method", "timeout_seconds", "retry_policy", "max_attempts", "payload_format", "filter")
            if getattr(spec, name) != getattr(destination, name)
        }
        if changes:
            await destinations.change(destination.name, changes)
        await self._replace_secrets(destination, webhook.secret, now_us)
        return destination.name

    async def _replace_secrets(self, destination: Destination, secret: str, now_us: int) -> None:
        """Set this secret and remove all others: the oldest one signs."""
        destinations = self._appdb.destinations
        secret_texts = await destinations.secret_texts(destination.destination_id)
        secret_by_text = dict(zip(secret_texts, await destinations.secrets(destination.name), strict=True))
        if secret not in secret_by_text:
            await destinations.add_secret(destination.name, secret, now_us=now_us)
        for text, old_secret in secret_by_text.items():
            if text != secret:
                await destinations.remove_secret(destination.name, old_secret.secret_id)


def _build_spec(app: App, webhook_settings: AppWebhookSettings, webhook: AppWebhook, sn: str) -> DestinationSpec:
    """Return the specification, for all PBXs or for one. Without a number of attempts Onhook's retry policy applies,
    which takes days.
    """
    return DestinationSpec(
        url=webhook.url,
        method=_method(webhook),
        filter=RecordFilter(sn=sn or None),
        payload_format=app.behaviour.payload_format,
        timeout_seconds=webhook_settings.timeout_seconds,
        retry_policy="days" if webhook_settings.max_attempts is None else "original",
        max_attempts=webhook_settings.max_attempts or MAX_ATTEMPTS_LIMITS[1],
    )


def _method(webhook: AppWebhook) -> Method:
    return "GET" if webhook.request_method == "GET" else "POST"


def _destination_key(destination: Destination) -> _DestinationKey:
    return destination.url, destination.filter.sn or ""


def _candidate_names(app: App) -> Iterator[str]:
    """Yield `crm webhook 1` and so on. The name of an app may contain `/`, that of a destination may not."""
    prefix = app.name[: NAME_CHARACTERS_MAX - NAME_SUFFIX_CHARACTERS_MAX].replace("/", "-")
    return (f"{prefix} webhook {number}" for number in count(1))
