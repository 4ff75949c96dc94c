"""The webhooks that applications manage through the exchange: subscriptions like any others, each of one application.

An application that sees some PBXs alone has a subscription for each of them, because a filter names one; to the
application they are one webhook.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Literal

from onhook.appdb.api_clients import App
from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec, validate_spec
from onhook.appdb.destinations import Destination
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, validate_secret
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.destinations.contract import DestinationConfig, DestinationKinds
from onhook.delivery.status import send_test
from onhook.lib.clock import Clock
from onhook.pbx_api.pushing import MAX_ATTEMPTS_LIMITS, AppWebhook, AppWebhookSettings

NAME_SUFFIX_CHARACTERS_MAX = 14
"""Of a subscription's name, behind that of its application."""

_DestinationKey = tuple[str, str]
"""URL and serial number: what makes a subscription of an application this one."""


class DestinationWebhookStore:
    """See the contract, `exchange.webhooks.Webhooks`."""

    def __init__(self, settings: AppDb, sinks: DestinationKinds, clock: Clock) -> None:
        self._settings = settings
        self._sinks = sinks
        self._clock = clock
        self._log = logging.getLogger("exchange")

    def of(self, app: App) -> AppWebhookSettings:
        destinations = self._settings.subscriptions.of_app(app.client_id)
        webhooks = {destination.url: self._webhook(destination) for destination in destinations}
        if not destinations:
            return AppWebhookSettings()
        return AppWebhookSettings(
            is_on=any(destination.state != "paused" for destination in destinations),
            webhooks=tuple(webhooks.values()),
            timeout_seconds=round(destinations[0].timeout_seconds),
            tries=destinations[0].tries if destinations[0].plan == "original" else None,
        )

    def change(self, app: App, push: AppWebhookSettings, *, after: int, at: int) -> None:
        webhooks_by_key = {
            (destination.url, sn): destination for destination in push.webhooks for sn in app.pbxs or ("",)
        }
        # Before the first is changed, so that a mistake changes nothing.
        for webhook in push.webhooks:
            validate_secret(webhook.secret)
            validate_spec(_build_spec(app, push, webhook, ""))
        destinations_by_key = {
            _destination_key(destination): destination
            for destination in self._settings.subscriptions.of_app(app.client_id)
        }
        for key, destination in destinations_by_key.items():
            if key not in webhooks_by_key:
                self._settings.subscriptions.remove(destination.name)
        for key, webhook in webhooks_by_key.items():
            spec = _build_spec(app, push, webhook, key[1])
            if key in destinations_by_key:
                name = self._kept(destinations_by_key[key], webhook, spec, at)
            else:
                name = self._added(app, webhook, spec, after, at)
            self._settings.subscriptions.set_state(name, "active" if push.is_on else "paused")

    async def try_out(self, app: App, webhook: AppWebhook) -> bool:
        validate_spec(DestinationSpec(url=webhook.url))
        destinations = self._settings.subscriptions.of_app(app.client_id)
        destination_config = DestinationConfig(
            url=webhook.url,
            method=webhook.request_method,
            secrets=(validate_secret(webhook.secret),),
            allows_private=any(
                destination.allows_private for destination in destinations if destination.url == webhook.url
            ),
        )
        result = await send_test(self._sinks["webhook"](destination_config), self._clock)
        if not result.is_taken:
            self._log.warning("a test was not taken", extra={"application": app.name, "said": result.said})
        return result.is_taken

    def _webhook(self, one: Destination) -> AppWebhook:
        (secret, *_) = self._settings.subscriptions.signing_texts(one.subscription_id)
        return AppWebhook(url=one.url, secret=secret, request_method=one.method, event_ids=[30012])

    def _added(self, app: App, webhook: AppWebhook, wishes: DestinationSpec, after: int, at: int) -> str:
        used_names = {destination.name.casefold() for destination in self._settings.subscriptions.all()}
        name = next(name for name in _candidate_names(app) if name.casefold() not in used_names)
        new_destination, _ = self._settings.subscriptions.add(
            name, wishes, webhook.secret, after=after, at=at, app=app.client_id
        )
        return new_destination.name

    def _kept(self, one: Destination, webhook: AppWebhook, wishes: DestinationSpec, at: int) -> str:
        """Changed where it is different; that it may reach into a private network is a person's choice, and stays."""
        destinations = self._settings.subscriptions
        changes: Mapping[str, Any] = {
            name: getattr(wishes, name)
            for name in ("method", "timeout_seconds", "plan", "tries", "profile", "where")
            if getattr(wishes, name) != getattr(one, name)
        }
        if changes:
            destinations.change(one.name, changes)
        self._sign_with(one, webhook.secret, at)
        return one.name

    def _sign_with(self, one: Destination, secret: str, at: int) -> None:
        """Have that secret and no other: the oldest signs, so an old one must go."""
        destinations = self._settings.subscriptions
        secret_texts = destinations.signing_texts(one.subscription_id)
        secret_by_text = dict(zip(secret_texts, destinations.secrets(one.name), strict=True))
        if secret not in secret_by_text:
            destinations.add_secret(one.name, secret, at=at)
        for text, old_secret in secret_by_text.items():
            if text != secret:
                destinations.remove_secret(one.name, old_secret.secret_id)


def _build_spec(app: App, push: AppWebhookSettings, webhook: AppWebhook, sn: str) -> DestinationSpec:
    """What is asked for, of all PBXs or of one. Without a number of tries the house's own plan goes on for days."""
    method: Literal["POST", "GET"] = "GET" if webhook.request_method == "GET" else "POST"
    return DestinationSpec(
        url=webhook.url,
        method=method,
        where=RecordFilter(sn=sn or None),
        profile=app.manner.profile,
        timeout_seconds=push.timeout_seconds,
        plan="days" if push.tries is None else "original",
        tries=push.tries or MAX_ATTEMPTS_LIMITS[1],
    )


def _destination_key(one: Destination) -> _DestinationKey:
    return one.url, one.where.sn or ""


def _candidate_names(app: App) -> Iterator[str]:
    """`crm webhook 1` and so on."""
    return (f"{app.name[: NAME_CHARACTERS_MAX - NAME_SUFFIX_CHARACTERS_MAX]} webhook {number}" for number in count(1))
