"""`get_token`, `refresh_token` and `del_token` (PROTOCOL.md 6)."""

from onhook.appdb.api_clients import App
from onhook.pbx_api.codes import (
    ACCESS_DENIED,
    ACCOUNT_IP_BLOCKED,
    IP_FORBIDDEN,
    TOKEN_EXPIRED,
    Answer,
    Refused,
    answer_of,
    succeeded,
    wrong_parameter,
)
from onhook.pbx_api.logins import source_of
from onhook.pbx_api.request import Asked
from onhook.pbx_api.state import Rooms
from onhook.pbx_api.tokens import ACCESS_SECONDS, REFRESH_SECONDS, Pair


async def get_token(rooms: Rooms, asked: Asked) -> Answer:
    """A new pair for client id and secret. Raises `Refused`."""
    members = asked.members()
    username, password = _text(members.get("username"), "username"), _text(members.get("password"), "password")
    app = rooms.applications.with_credentials(username, password)
    if app is None or rooms.trouble.fails_login():
        raise _failed(rooms, asked)
    _check_address(app, asked)
    rooms.failures.succeeded(source_of(asked.address))
    seal = _seal(rooms, app)
    return _told(rooms.tokens.issue(app.client_id, seal, access_seconds=_access_seconds(rooms)))


async def refresh_token(rooms: Rooms, asked: Asked) -> Answer:
    """A new pair for a refresh token. Raises `Refused`."""
    text = _text(asked.members().get("refresh_token"), "refresh_token")
    grant = rooms.tokens.refreshable(text)
    found = None if grant is None else rooms.applications.with_id(grant.client_id)
    if grant is None or found is None or found[1] != grant.seal:
        raise Refused(TOKEN_EXPIRED)
    _check_address(found[0], asked)
    return _told(rooms.tokens.refresh(text, access_seconds=_access_seconds(rooms)))


async def del_token(rooms: Rooms, asked: Asked) -> Answer:
    """End the pair that the request came with."""
    rooms.tokens.revoke(asked.parameters["access_token"])
    return answer_of(0)


def check_not_blocked(rooms: Rooms, address: str) -> None:
    """Raises `Refused` with 70004 for an address that logged in wrongly too often."""
    if rooms.applications.is_blocked(source_of(address), rooms.clock.microseconds()):
        raise Refused(ACCOUNT_IP_BLOCKED)


def with_owner(rooms: Rooms, asked: Asked) -> Asked:
    """The request with the application whose token it carries. Raises `Refused` with 10004 or 70087."""
    grant = rooms.tokens.grant(asked.parameters.get("access_token", ""))
    found = None if grant is None else rooms.applications.with_id(grant.client_id)
    if grant is None or found is None or found[1] != grant.seal:
        raise Refused(TOKEN_EXPIRED)
    _check_address(found[0], asked)
    rooms.applications.used(found[0], rooms.clock.microseconds())
    return Asked(
        version=asked.version,
        parameters=asked.parameters,
        body=asked.body,
        address=asked.address,
        at=asked.at,
        spoilt=asked.spoilt,
        app=found[0],
        grant=grant,
    )


def _failed(rooms: Rooms, asked: Asked) -> Refused:
    """Count a failed login; the fifth keeps the address out."""
    source, at = source_of(asked.address), rooms.clock.microseconds()
    if rooms.failures.failed(source, at):
        rooms.applications.block(source, at)
        return Refused(ACCOUNT_IP_BLOCKED)
    return Refused(ACCESS_DENIED)


def _check_address(app: App, asked: Asked) -> None:
    if not app.may_come_from(_plain(asked.address)):
        raise Refused(IP_FORBIDDEN)


def _plain(address: str) -> str:
    """An IPv4 address that came by way of IPv6, as it is."""
    return address.removeprefix("::ffff:") if "." in address else address


def _seal(rooms: Rooms, app: App) -> bytes:
    found = rooms.applications.with_id(app.client_id)
    return b"" if found is None else found[1]


def _access_seconds(rooms: Rooms) -> float:
    seconds = rooms.trouble.token_seconds()
    return ACCESS_SECONDS if seconds is None else seconds


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise wrong_parameter(name, "a text is required")
    return value


def _told(pair: Pair) -> Answer:
    return succeeded(
        access_token_expire_time=ACCESS_SECONDS,
        access_token=pair.access_token,
        refresh_token_expire_time=REFRESH_SECONDS,
        refresh_token=pair.refresh_token,
    )
