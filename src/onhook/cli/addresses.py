"""Warning about a destination address that is not allowed, at the time it is set."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cli.filter_hints import print_note
from onhook.config import Config
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.messages import _


def warn_about_private_address(config: Config, spec: DestinationSpec) -> None:
    """Print a note when an address is not allowed; that of a host name is only known when it is connected to."""
    host = urlsplit(spec.url).hostname or ""
    try:
        address = str(ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError:
        return
    if create_ssrf_guard(config.private_networks, allow_private=spec.allow_private).allows(address):
        return
    can_be_allowed = create_ssrf_guard(config.private_networks, allow_private=True).allows(address)
    print_note(
        _("nothing will be sent to {host}, which is not a public address: --allow-private allows it", host=host)
        if can_be_allowed
        else _(
            "nothing will be sent to {host}, which is not a public address: only the setting"
            " private_networks allows it",
            host=host,
        )
    )
