"""`get_token`, `refresh_token` and `del_token` (PROTOCOL.md 6)."""

from onhook.appdb.api_clients import App
from onhook.pbx_api.codes import (
    ACCESS_DENIED,
    ACCOUNT_IP_BLOCKED,
    IP_FORBIDDEN,
    TOKEN_EXPIRED,
    ApiRequestError,
    ApiResponse,
    parameter_error,
    response_with_code,
    success_response,
)
from onhook.pbx_api.logins import throttle_key
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.state import ApiState
from onhook.pbx_api.tokens import ACCESS_SECONDS, REFRESH_SECONDS, TokenPair


async def get_token(rooms: ApiState, asked: ApiRequest) -> ApiResponse:
    """A new pair for client id and secret. Raises `Refused`."""
    members = asked.members()
    username, password = (
        _require_text(members.get("username"), "username"),
        _require_text(members.get("password"), "password"),
    )
    app = rooms.applications.with_credentials(username, password)
    if app is None or rooms.trouble.fails_login():
        raise _count_failure(rooms, asked)
    _check_address(app, asked)
    rooms.failures.succeeded(throttle_key(asked.address))
    secret_hash = _get_secret_hash(rooms, app)
    return _token_response(rooms.tokens.issue(app.client_id, secret_hash, access_seconds=_access_seconds(rooms)))


async def refresh_token(rooms: ApiState, asked: ApiRequest) -> ApiResponse:
    """A new pair for a refresh token. Raises `Refused`."""
    text = _require_text(asked.members().get("refresh_token"), "refresh_token")
    grant = rooms.tokens.refreshable(text)
    match = None if grant is None else rooms.applications.with_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.seal:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], asked)
    return _token_response(rooms.tokens.refresh(text, access_seconds=_access_seconds(rooms)))


async def del_token(rooms: ApiState, asked: ApiRequest) -> ApiResponse:
    """End the pair that the request came with."""
    rooms.tokens.revoke(asked.parameters["access_token"])
    return response_with_code(0)


def check_not_blocked(rooms: ApiState, address: str) -> None:
    """Raises `Refused` with 70004 for an address that logged in wrongly too often."""
    if rooms.applications.is_blocked(throttle_key(address), rooms.clock.microseconds()):
        raise ApiRequestError(ACCOUNT_IP_BLOCKED)


def authenticate(rooms: ApiState, asked: ApiRequest) -> ApiRequest:
    """The request with the application whose token it carries. Raises `Refused` with 10004 or 70087."""
    grant = rooms.tokens.grant(asked.parameters.get("access_token", ""))
    match = None if grant is None else rooms.applications.with_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.seal:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], asked)
    rooms.applications.used(match[0], rooms.clock.microseconds())
    return ApiRequest(
        version=asked.version,
        parameters=asked.parameters,
        body=asked.body,
        address=asked.address,
        at=asked.at,
        spoilt=asked.spoilt,
        app=match[0],
        grant=grant,
    )


def _count_failure(rooms: ApiState, asked: ApiRequest) -> ApiRequestError:
    """Count a failed login; the fifth keeps the address out."""
    key, now_us = throttle_key(asked.address), rooms.clock.microseconds()
    if rooms.failures.failed(key, now_us):
        rooms.applications.block(key, now_us)
        return ApiRequestError(ACCOUNT_IP_BLOCKED)
    return ApiRequestError(ACCESS_DENIED)


def _check_address(app: App, asked: ApiRequest) -> None:
    if not app.may_come_from(_unmap_ipv4(asked.address)):
        raise ApiRequestError(IP_FORBIDDEN)


def _unmap_ipv4(address: str) -> str:
    """An IPv4 address that came by way of IPv6, as it is."""
    return address.removeprefix("::ffff:") if "." in address else address


def _get_secret_hash(rooms: ApiState, app: App) -> bytes:
    match = rooms.applications.with_id(app.client_id)
    return b"" if match is None else match[1]


def _access_seconds(rooms: ApiState) -> float:
    seconds = rooms.trouble.token_seconds()
    return ACCESS_SECONDS if seconds is None else seconds


def _require_text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise parameter_error(name, "a text is required")
    return value


def _token_response(pair: TokenPair) -> ApiResponse:
    return success_response(
        access_token_expire_time=ACCESS_SECONDS,
        access_token=pair.access_token,
        refresh_token_expire_time=REFRESH_SECONDS,
        refresh_token=pair.refresh_token,
    )
