"""The mail server of the installation, as page, API and command set it: its address is checked like a destination's."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.mail_settings import MailSettings, validate_mail_settings
from onhook.config import Config
from onhook.delivery.ssrf_guard import check_address, create_ssrf_guard
from onhook.lib.hosts import parse_host


async def put_mail_settings(config: Config, appdb: AppDb, settings: MailSettings, password: str | None) -> MailSettings:
    """Store the mail server, with the stored password where None is given. Raises `UsageError`, also for an address
    that is not allowed now.
    """
    settings = validate_mail_settings(settings)
    guard = create_ssrf_guard(config.private_networks, allow_private=settings.allow_private)
    await check_address(parse_host(settings.host), guard, location="host")
    return await appdb.mail_settings.put(settings, password)
