"""The identity provider, as page and API set it: address and rules are checked, and its configuration is read."""

from urllib.parse import urlsplit

from onhook.appdb.claim_rules import parse_rules
from onhook.appdb.identity_provider import ProviderSettings, validate_provider
from onhook.appdb.users import validate_scope
from onhook.console.auth.provider_sign_in import read_rule_scope
from onhook.console.state import AppState
from onhook.delivery.ssrf_guard import check_address, create_ssrf_guard
from onhook.lib.errors import UsageError
from onhook.lib.hosts import parse_host
from onhook.lib.messages import _


async def put_provider(app_state: AppState, settings: ProviderSettings, client_secret: str | None) -> ProviderSettings:
    """Store the provider, with the stored secret where None is given and it is for the same client. Raises
    `UsageError`, `NotFound`, `NotAllowed`, `Unavailable`.
    """
    settings = validate_provider(settings)
    guard = create_ssrf_guard(app_state.config.private_networks, allow_private=settings.allow_private)
    try:
        host = parse_host(urlsplit(settings.issuer).hostname or "")
    except ValueError:
        raise UsageError(_("the issuer has no valid host name"), location="issuer") from None
    await check_address(host, guard, location="issuer")
    for rule in parse_rules(settings.rules):
        validate_scope(rule.role, await read_rule_scope(app_state, rule))
    await app_state.provider_client.get_configuration(settings)
    return await app_state.appdb.identity_provider.put(settings, client_secret)
