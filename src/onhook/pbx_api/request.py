"""One request as its handler receives it, and the parsing of its parameters."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from onhook.appdb.api_clients import App
from onhook.appdb.app_tokens import TokenGrant
from onhook.pbx.yeastar.display import DisplayFormat
from onhook.pbx_api.codes import PARAMETER_SYNTAX_ERROR, QUOTED_CHARACTERS_MAX, ApiRequestError, parameter_error
from onhook.store.contract import LISTING_ROWS_MAX

PAGE_DIGITS_MAX = 9
"""Highest page number; no list has more pages."""

TEXT_CHARACTERS_MAX = 200
"""Characters of a parameter; no number, name or id is longer."""

FILTERS = (
    # Of rows, in v1.0
    *("start_time", "end_time", "status", "pin_code", "from", "did"),
    # Of calls, in v2.0
    *("time_begin", "time_end", "last_status", "queue_list"),
    # Of both
    *("call_from", "call_to"),
    # Of recordings
    *("caller", "callee", "ids"),
    # Of reports
    *("ext_id_list", "queue_id_list", "miss_call_type"),
    # Of what calls do not have here
    *("routing_duration", "call_duration", "handling_duration", "segments", "disconnected_by", "call_type"),
    *("extension_group", "disposition_code_list", "call_note_remark", "trunk", "extension_list", "disposition"),
)
"""Names of all filters of calls, recordings and reports. A name that is none may have another meaning in some route."""

SECONDS_DIGITS_MAX = 11
"""Digits of Unix seconds: enough for the next 3,000 years."""


class QueryWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Range of time: in UTC (`since`, `until`) or in the local time of each record's PBX (`local_…`).

    In seconds since 1970; the first is included, the last is not. `is_empty` means that nothing matches.
    """

    since: int | None = None
    until: int | None = None
    local_since: int | None = None
    local_until: int | None = None
    is_empty: bool = False


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `address` is the client's; `app` and `grant` belong to its token, if any."""

    version: str
    parameters: Mapping[str, str]
    body: bytes
    address: str
    received_at: datetime
    app: App | None = None
    grant: TokenGrant | None = None

    @property
    def owner(self) -> App:
        """Return the app; only for routes that need a token."""
        assert self.app is not None
        return self.app

    @property
    def display(self) -> DisplayFormat:
        """Return the display format of times for this app."""
        return DisplayFormat(self.owner.behaviour.date_format, self.owner.behaviour.time_format)

    def text(self, name: str) -> str | None:
        """Return a parameter, or None when it is missing or blank. Raises `ApiRequestError` for one that is
        too long.
        """
        value = self.parameters.get(name, "").strip()
        if len(value) > TEXT_CHARACTERS_MAX:
            raise parameter_error(name, f"at most {TEXT_CHARACTERS_MAX} characters")
        return value or None

    def number(self, name: str, default: int, maximum: int) -> int:
        """Return a whole number from 1. Raises `ApiRequestError`."""
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= PAGE_DIGITS_MAX and 1 <= int(text) <= maximum):
            raise parameter_error(name, f"a whole number from 1 to {maximum}")
        return int(text)

    def choice(self, name: str, choices: Mapping[str, str], default: str) -> str:
        """Return the value that belongs to a word, in capitals or not. Raises `ApiRequestError` for an unknown word."""
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in choices:
            raise parameter_error(name, f"one of {', '.join(choices)}")
        return choices[text.lower()]

    def page(self) -> tuple[int, int]:
        """Return how many rows to skip, and how many to return. Raises `ApiRequestError`."""
        size = self.number("page_size", LISTING_ROWS_MAX, LISTING_ROWS_MAX)
        return (self.number("page", 1, 10**PAGE_DIGITS_MAX - 1) - 1) * size, size

    def is_descending(self) -> bool:
        """Return whether the order is descending. Raises `ApiRequestError`."""
        return self.choice("order_by", {"asc": "", "desc": "desc"}, "") == "desc"

    def reject_filters_except(self, *read_names: str) -> None:
        """Reject filters of any route that a handler does not read: all rows would look like those that match.
        Raises `ApiRequestError`.
        """
        for name in FILTERS:
            if name not in read_names and self.text(name) is not None:
                raise parameter_error(name, "is not supported: leave it out")

    def json_body(self) -> Mapping[str, object]:
        """Return the body, a JSON object. Raises `ApiRequestError` with 40001 for anything else."""
        try:
            members: object = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            members = None
        if not isinstance(members, dict):
            raise ApiRequestError(PARAMETER_SYNTAX_ERROR)
        return members

    def window(self, since: str, until: str) -> QueryWindow:
        """Return the range between two parameters, both included, in the forms of time that the app's PBX accepts."""
        begin, end = self._parse_time(since), self._parse_time(until)
        window = QueryWindow(
            since=begin[0],
            local_since=begin[1],
            until=None if end[0] is None else end[0] + 1,
            local_until=None if end[1] is None else end[1] + 1,
        )
        if self._matches_nothing(since) or self._matches_nothing(until):
            return msgspec.structs.replace(window, is_empty=True)
        return window

    def _parse_time(self, name: str) -> tuple[int | None, int | None]:
        """Return seconds in UTC or in local time: at most one of the two is not None. Raises `ApiRequestError`."""
        text = self.text(name)
        if text is None:
            return None, None
        forms = self.owner.behaviour.time_forms
        if _is_seconds(text) and ("seconds" in forms or "no-rows-for-seconds" in forms):
            return int(text), None
        local = self.display.parse(text) if "display" in forms else None
        if local is None:
            quoted_text = text[:QUOTED_CHARACTERS_MAX]
            raise parameter_error(name, f"the time format of the PBX is expected, got {quoted_text!r}")
        return None, int((local - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - local times as they are

    def _matches_nothing(self, name: str) -> bool:
        text = self.text(name)
        return text is not None and _is_seconds(text) and "no-rows-for-seconds" in self.owner.behaviour.time_forms


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= SECONDS_DIGITS_MAX
