"""Error codes of the P-Series API, and responses with a code (yeastar-p-series.md 6.1).

Invariant: the HTTP status is always 200; `errcode` is the result.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from onhook.lib.errors import UsageError

SUCCESS: Final = 0
INTERNAL_SERVER_ERROR: Final = -2
FAILURE: Final = -1
INTERFACE_NOT_EXISTED: Final = 10001
TOKEN_EXPIRED: Final = 10004
"""Also for a token that is invalid or missing."""
ACCESS_DENIED: Final = 10005
PARAMETER_SYNTAX_ERROR: Final = 40001
PARAMETER_ERROR: Final = 40002
FILE_SIZE_EXCEEDED: Final = 40004
DATA_NOT_FOUND: Final = 60001
MAX_LIMITATION_EXCEEDED: Final = 60002
ACCOUNT_IP_BLOCKED: Final = 70004
OVERLOAD_TASK_RUNNING: Final = 70082
ACTION_FORBIDDEN: Final = 70084
IP_FORBIDDEN: Final = 70087
API_UNAVAILABLE: Final = 70123

MESSAGES: Final[Mapping[int, str]] = {
    INTERNAL_SERVER_ERROR: "INTERNAL SERVER ERROR",
    FAILURE: "FAILURE",
    SUCCESS: "SUCCESS",
    INTERFACE_NOT_EXISTED: "INTERFACE NOT EXISTED",
    TOKEN_EXPIRED: "TOKEN EXPIRED",
    ACCESS_DENIED: "ACCESS DENIED",
    PARAMETER_SYNTAX_ERROR: "PARAMETER SYNTAX ERROR",
    PARAMETER_ERROR: "PARAMETER ERROR",
    FILE_SIZE_EXCEEDED: "FILE SIZE EXCEEDED",
    DATA_NOT_FOUND: "DATA NOT FOUND",
    MAX_LIMITATION_EXCEEDED: "MAX LIMITATION EXCEEDED",
    ACCOUNT_IP_BLOCKED: "ACCOUNT IP BLOCKED",
    OVERLOAD_TASK_RUNNING: "OVERLOAD_TASK_RUNNING",
    ACTION_FORBIDDEN: "ACTION FORBIDDEN",
    IP_FORBIDDEN: "IP FORBIDDEN",
    API_UNAVAILABLE: "API UNAVAILABLE",
}

QUOTED_CHARACTERS_MAX: Final = 80
"""Characters of a rejected value: enough to recognise it."""

ApiResponse = Mapping[str, Any]
"""Members of a response, in order."""


class ApiRequestError(UsageError):
    """Request that is answered with one of the codes; each invalid parameter has a reason."""

    def __init__(self, code: int, invalid_parameters: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(MESSAGES[code], location=", ".join(name for name, _ in invalid_parameters))
        self.code = code
        self.invalid_parameters = tuple(invalid_parameters)

    def response(self) -> ApiResponse:
        """Return the response."""
        response = response_with_code(self.code)
        if not self.invalid_parameters:
            return response
        return {
            **response,
            "invalid_param_list": [{"field": name, "valid_msg": reason} for name, reason in self.invalid_parameters],
        }


def response_with_code(code: int) -> ApiResponse:
    """Return a response with only a code and its text."""
    return {"errcode": code, "errmsg": MESSAGES[code]}


def success_response(**members: Any) -> ApiResponse:
    """Return a successful response."""
    return {**response_with_code(SUCCESS), **members}


def parameter_error(name: str, reason: str) -> ApiRequestError:
    """Return the error for an invalid parameter."""
    return ApiRequestError(PARAMETER_ERROR, [(name, reason)])
