"""The error codes of the P-Series API, and answers that carry one (yeastar-p-series.md 6.1).

Law: the HTTP status is 200 whatever happened; `errcode` says it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from onhook.lib.errors import UsageError

SUCCESS: Final = 0
INTERNAL_SERVER_ERROR: Final = -2
FAILURE: Final = -1
INTERFACE_NOT_EXISTED: Final = 10001
TOKEN_EXPIRED: Final = 10004
"""Also for a token that is wrong or missing."""
ACCESS_DENIED: Final = 10005
PARAMETER_SYNTAX_ERROR: Final = 40001
PARAMETER_ERROR: Final = 40002
FILE_SIZE_EXCEEDED: Final = 40004
DATA_NOT_FOUND: Final = 60001
MAX_LIMITATION_EXCEEDED: Final = 60002
ACCOUNT_IP_BLOCKED: Final = 70004
OVERLOAD_TASK_RUNNING: Final = 70082
IP_FORBIDDEN: Final = 70087

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
    IP_FORBIDDEN: "IP FORBIDDEN",
}

QUOTED_CHARACTERS_MAX: Final = 80
"""Of a value that is refused: enough to know it again."""

ApiResponse = Mapping[str, Any]
"""The members of an answer, in the order in which they are written."""


class ApiRequestError(UsageError):
    """What was asked is answered with one of the codes; `faults` are the parameters to blame and why."""

    def __init__(self, code: int, invalid_parameters: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(MESSAGES[code], location=", ".join(name for name, _ in invalid_parameters))
        self.code = code
        self.invalid_parameters = tuple(invalid_parameters)

    def response(self) -> ApiResponse:
        """What is answered."""
        response = response_with_code(self.code)
        if not self.invalid_parameters:
            return response
        return {
            **response,
            "invalid_param_list": [{"field": name, "valid_msg": reason} for name, reason in self.invalid_parameters],
        }


def response_with_code(code: int) -> ApiResponse:
    """An answer that says no more than a code and its text."""
    return {"errcode": code, "errmsg": MESSAGES[code]}


def success_response(**members: Any) -> ApiResponse:
    """A good answer."""
    return {**response_with_code(SUCCESS), **members}


def parameter_error(name: str, reason: str) -> ApiRequestError:
    """A parameter that cannot be meant so."""
    return ApiRequestError(PARAMETER_ERROR, [(name, reason)])
