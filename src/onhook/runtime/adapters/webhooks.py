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
from onhook.cdr.record_filter import Filter
from onhook.delivery.destinations.contract import DestinationConfig, DestinationKinds
from onhook.delivery.status import send_test
from onhook.lib.clock import Clock
from onhook.pbx_api.pushing import MAX_ATTEMPTS_LIMITS, AppWebhook, AppWebhookSettings

SUFFIX_CHARACTERS = 14
"""Of a subscription's name, behind that of its application."""

_Key = tuple[str, str]
"""URL and serial number: what makes a subscription of an application this one."""


class AppWebhooks:
    """See the contract, `exchange.webhooks.Webhooks`."""

    def __init__(self, settings: AppDb, sinks: DestinationKinds, clock: Clock) -> None:
        self._settings = settings
        self._sinks = sinks
        self._clock = clock
        self._log = logging.getLogger("exchange")

    def of(self, app: App) -> AppWebhookSettings:
        kept = self._settings.subscriptions.of_app(app.client_id)
        webhooks = {one.url: self._webhook(one) for one in kept}
        if not kept:
            return AppWebhookSettings()
        return AppWebhookSettings(
            is_on=any(one.state != "paused" for one in kept),
            webhooks=tuple(webhooks.values()),
            timeout_seconds=round(kept[0].timeout_seconds),
            tries=kept[0].tries if kept[0].plan == "original" else None,
        )

    def change(self, app: App, push: AppWebhookSettings, *, after: int, at: int) -> None:
        wanted = {(one.url, sn): one for one in push.webhooks for sn in app.pbxs or ("",)}
        # Before the first is changed, so that a mistake changes nothing.
        for webhook in push.webhooks:
            validate_secret(webhook.secret)
            validate_spec(_wishes(app, push, webhook, ""))
        kept = {_key_of(one): one for one in self._settings.subscriptions.of_app(app.client_id)}
        for key, one in kept.items():
            if key not in wanted:
                self._settings.subscriptions.remove(one.name)
        for key, webhook in wanted.items():
            wishes = _wishes(app, push, webhook, key[1])
            if key in kept:
                name = self._kept(kept[key], webhook, wishes, at)
            else:
                name = self._added(app, webhook, wishes, after, at)
            self._settings.subscriptions.set_state(name, "active" if push.is_on else "paused")

    async def try_out(self, app: App, webhook: AppWebhook) -> bool:
        validate_spec(DestinationSpec(url=webhook.url))
        kept = self._settings.subscriptions.of_app(app.client_id)
        destination = DestinationConfig(
            url=webhook.url,
            method=webhook.request_method,
            secrets=(validate_secret(webhook.secret),),
            allows_private=any(one.allows_private for one in kept if one.url == webhook.url),
        )
        tried = await send_test(self._sinks["webhook"](destination), self._clock)
        if not tried.is_taken:
            self._log.warning("a test was not taken", extra={"application": app.name, "said": tried.said})
        return tried.is_taken

    def _webhook(self, one: Destination) -> AppWebhook:
        (secret, *_) = self._settings.subscriptions.signing_texts(one.subscription_id)
        return AppWebhook(url=one.url, secret=secret, request_method=one.method, event_ids=[30012])

    def _added(self, app: App, webhook: AppWebhook, wishes: DestinationSpec, after: int, at: int) -> str:
        taken = {one.name.casefold() for one in self._settings.subscriptions.all()}
        name = next(name for name in _names(app) if name.casefold() not in taken)
        added, _ = self._settings.subscriptions.add(name, wishes, webhook.secret, after=after, at=at, app=app.client_id)
        return added.name

    def _kept(self, one: Destination, webhook: AppWebhook, wishes: DestinationSpec, at: int) -> str:
        """Changed where it is different; that it may reach into a private network is a person's choice, and stays."""
        subscriptions = self._settings.subscriptions
        changes: Mapping[str, Any] = {
            name: getattr(wishes, name)
            for name in ("method", "timeout_seconds", "plan", "tries", "profile", "where")
            if getattr(wishes, name) != getattr(one, name)
        }
        if changes:
            subscriptions.change(one.name, changes)
        self._sign_with(one, webhook.secret, at)
        return one.name

    def _sign_with(self, one: Destination, secret: str, at: int) -> None:
        """Have that secret and no other: the oldest signs, so an old one must go."""
        subscriptions = self._settings.subscriptions
        texts = subscriptions.signing_texts(one.subscription_id)
        known = dict(zip(texts, subscriptions.secrets(one.name), strict=True))
        if secret not in known:
            subscriptions.add_secret(one.name, secret, at=at)
        for text, old in known.items():
            if text != secret:
                subscriptions.remove_secret(one.name, old.secret_id)


def _wishes(app: App, push: AppWebhookSettings, webhook: AppWebhook, sn: str) -> DestinationSpec:
    """What is asked for, of all PBXs or of one. Without a number of tries the house's own plan goes on for days."""
    method: Literal["POST", "GET"] = "GET" if webhook.request_method == "GET" else "POST"
    return DestinationSpec(
        url=webhook.url,
        method=method,
        where=Filter(sn=sn or None),
        profile=app.manner.profile,
        timeout_seconds=push.timeout_seconds,
        plan="days" if push.tries is None else "original",
        tries=push.tries or MAX_ATTEMPTS_LIMITS[1],
    )


def _key_of(one: Destination) -> _Key:
    return one.url, one.where.sn or ""


def _names(app: App) -> Iterator[str]:
    """`crm webhook 1` and so on."""
    return (f"{app.name[: NAME_CHARACTERS_MAX - SUFFIX_CHARACTERS]} webhook {number}" for number in count(1))
