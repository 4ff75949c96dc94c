"""Registry of the kinds of destinations: one line each."""

from collections.abc import Mapping
from functools import partial
from ipaddress import ip_network

from onhook.config import Config
from onhook.delivery.destinations.contract import DestinationClient, DestinationConfig, OpenDestination
from onhook.delivery.destinations.webhook import WebhookClient
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.pbx.yeastar.payload import Yeastar


def destination_kinds(config: Config) -> Mapping[str, OpenDestination]:
    """Return the kinds by name."""
    return {"webhook": partial(_open_webhook, config)}


def create_ssrf_guard(config: Config, *, allow_private: bool) -> SsrfGuard:
    """Return the guard for the addresses that a destination may have."""
    networks = tuple(ip_network(text) for text in config.private_networks.split(",") if text)
    return SsrfGuard(allow_private, networks)


def _open_webhook(config: Config, destination_config: DestinationConfig) -> DestinationClient:
    return WebhookClient(
        destination_config, Yeastar(), create_ssrf_guard(config, allow_private=destination_config.allow_private)
    )
