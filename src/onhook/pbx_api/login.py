"""`get_token`, `refresh_token` and `del_token` (yeastar-p-series.md 6)."""

import msgspec

from onhook.appdb.api_clients import App
from onhook.lib.proxies import owner_network
from onhook.pbx_api.applications import is_address_allowed
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
    app = await state.apps.find_by_credentials(username, password)
    if app is None:
        raise await _count_failure(state, request, username)
    _check_address(app, request)
    await state.login_failures.record_success((owner_network(request.address), username))
    return _token_response(await state.tokens.issue(app.client_id, await _get_secret_hash(state, app)))


async def refresh_token(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Return a new pair for a refresh token. Raises `ApiRequestError`."""
    text = _require_text(request.json_body().get("refresh_token"), "refresh_token")
    grant = await state.tokens.find_refreshable_grant(text)
    match = None if grant is None else await state.apps.find_by_client_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.secret_hash:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], request)
    return _token_response(await state.tokens.refresh(text))


async def del_token(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Revoke the pair of the request's token."""
    await state.tokens.revoke(request.parameters["access_token"])
    return response_with_code(0)


async def authenticate(state: ApiState, request: ApiRequest) -> ApiRequest:
    """Return the request with the app of its token. Raises `ApiRequestError` with 10004 or 70087."""
    grant = await state.tokens.find_grant(request.parameters.get("access_token", ""))
    match = None if grant is None else await state.apps.find_by_client_id(grant.client_id)
    if grant is None or match is None or match[1] != grant.secret_hash:
        raise ApiRequestError(TOKEN_EXPIRED)
    _check_address(match[0], request)
    await state.apps.record_use(match[0], state.clock.microseconds())
    return msgspec.structs.replace(request, app=match[0], grant=grant)


async def _count_failure(state: ApiState, request: ApiRequest, client_id: str) -> ApiRequestError:
    """Count a failed login by address and client id; the fifth in a row blocks further wrong credentials there.

    Valid credentials are never blocked: they cannot be guessed, and many apps may share the address of a proxy.
    """
    address, now_us = owner_network(request.address), state.clock.microseconds()
    if await state.apps.is_blocked(address, client_id, now_us):
        return ApiRequestError(ACCOUNT_IP_BLOCKED)
    if await state.login_failures.record_failure((address, client_id), now_us):
        await state.apps.block(address, client_id, now_us)
        return ApiRequestError(ACCOUNT_IP_BLOCKED)
    return ApiRequestError(ACCESS_DENIED)


def _check_address(app: App, request: ApiRequest) -> None:
    if not is_address_allowed(app, request.address):
        raise ApiRequestError(IP_FORBIDDEN)


async def _get_secret_hash(state: ApiState, app: App) -> bytes:
    match = await state.apps.find_by_client_id(app.client_id)
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
