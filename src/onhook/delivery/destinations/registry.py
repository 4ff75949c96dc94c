"""All kinds of destinations that this house sends to: one line each."""

from collections.abc import Mapping
from functools import partial
from ipaddress import ip_network

from onhook.config import Config
from onhook.delivery.destinations.contract import Destination, OpenSink, Sink
from onhook.delivery.destinations.webhook import Webhook
from onhook.delivery.ssrf_guard import Guard
from onhook.pbx.yeastar.payload import Yeastar


def all_sinks(config: Config) -> Mapping[str, OpenSink]:
    """By the names under which subscriptions ask for them."""
    return {"webhook": partial(_open_webhook, config)}


def guard_of(config: Config, *, allows_private: bool) -> Guard:
    """Which addresses a subscription may have sent to."""
    networks = tuple(ip_network(text) for text in config.private_networks.split(",") if text)
    return Guard(allows_private, networks)


def _open_webhook(config: Config, destination: Destination) -> Sink:
    return Webhook(destination, Yeastar(), guard_of(config, allows_private=destination.allows_private))
