"""`get_token`, `refresh_token` and `del_token` (yeastar-p-series.md 6)."""

import msgspec

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


async def get_token(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Return a new pair of tokens for client id and secret. Raises `ApiRequestError`."""
    members = request.json_body()
    username, password = (
        _require_text(members.get("username"), "username"),
        _require_text(members.get("password"), "password"),
    )
    app = state.apps.find_by_credentials(username, password)
    if app is None:
        raise _count_failure(state, request)
    _check_address(app, request)
    state.login_failures.record_success(throttle_key(request.address))
    return _token_response(state.tokens.issue(app.client_id, _get_secret_hash(state, app)))


async def refresh_token(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Return a new pair for a refresh token. Raises `ApiRequestError`."""
    text = _require_text(request.json_body().get("refresh_token"), "refresh_token")
    grant = state.tokens.find_refreshable_grant(text)
    match = None if grant is None else state.apps.find_by_client_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.secret_hash:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], request)
    return _token_response(state.tokens.refresh(text))


async def del_token(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Revoke the pair of the request's token."""
    state.tokens.revoke(request.parameters["access_token"])
    return response_with_code(0)


def check_not_blocked(state: ApiState, address: str) -> None:
    """Raise `ApiRequestError` with 70004 for a blocked address."""
    if state.apps.is_blocked(throttle_key(address), state.clock.microseconds()):
        raise ApiRequestError(ACCOUNT_IP_BLOCKED)


def authenticate(state: ApiState, request: ApiRequest) -> ApiRequest:
    """Return the request with the app of its token. Raises `ApiRequestError` with 10004 or 70087."""
    grant = state.tokens.find_grant(request.parameters.get("access_token", ""))
    match = None if grant is None else state.apps.find_by_client_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.secret_hash:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], request)
    state.apps.record_use(match[0], state.clock.microseconds())
    return msgspec.structs.replace(request, app=match[0], grant=grant)


def _count_failure(state: ApiState, request: ApiRequest) -> ApiRequestError:
    """Count a failed login; the fifth in a row blocks the address."""
    key, now_us = throttle_key(request.address), state.clock.microseconds()
    if state.login_failures.record_failure(key, now_us):
        state.apps.block(key, now_us)
        return ApiRequestError(ACCOUNT_IP_BLOCKED)
    return ApiRequestError(ACCESS_DENIED)


def _check_address(app: App, request: ApiRequest) -> None:
    if not app.allows_address(_unmap_ipv4(request.address)):
        raise ApiRequestError(IP_FORBIDDEN)


def _unmap_ipv4(address: str) -> str:
    """Return an IPv4 address instead of its IPv6 form."""
    return address.removeprefix("::ffff:") if "." in address else address


def _get_secret_hash(state: ApiState, app: App) -> bytes:
    match = state.apps.find_by_client_id(app.client_id)
    return b"" if match is None else match[1]


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
