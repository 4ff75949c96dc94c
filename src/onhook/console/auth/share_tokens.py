"""Share tokens: in the URL of an export, for programs that can send no header, such as a spreadsheet.

Invariants: they open exports and nothing else. A request with one has the query of the token's search; what it adds can
only restrict it, so that the URL in other hands shows no more than it was made for.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from litestar.exceptions import PermissionDeniedException
from litestar.types import Scope

from onhook.appdb.tokens import EXPORT_FILTER_CHARACTERS_MAX, EXPORT_FILTER_EXAMPLE
from onhook.cdr.call_filter import parse_call_filter
from onhook.cdr.party_groups import split_group_filters
from onhook.cdr.record_filter import FILTER_NAMES, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

PARAMETER: Final = "token"

FILTER_PARAMETERS: Final = frozenset({*FILTER_NAMES, "zone", "tag", "note", "q"})
CALL_FILTER_PARAMETERS: Final = frozenset(
    {
        *("answered_by", "min_wait_duration", "max_wait_duration", "min_ring_duration", "max_ring_duration"),
        *("weekday", "hour_of_day", "under_way_at", "ended_since", "caller", "dialled", "by_trunk", "by_did"),
    }
)

PAGE_PARAMETERS: Final = frozenset({"sort", "cursor", "limit"})
"""Parameters of the page of calls that an export does not have; they are left out."""

FIELDS_MAX: Final = 50


def share_token_text(scope: Scope) -> str | None:
    """Return the token in the URL of a request, or None."""
    return _fields(scope["query_string"]).get(PARAMETER) or None


def restrict_query(query: bytes, export_filter: str) -> bytes:
    """Return the query of a request with that of a token's search. Raises 403 if the request has another value for one
    of its parameters, or another zone: days would begin at other times.
    """
    requested, fixed = _fields(query), dict(parse_qsl(export_filter))
    del requested[PARAMETER]
    fixed_names = {*fixed, *(("zone",) if fixed else ())}
    for name in fixed_names & requested.keys():
        if requested[name] != fixed.get(name):
            raise PermissionDeniedException(_("this link is for another search: leave {name} out", name=repr(name)))
    return urlencode({**requested, **fixed}).encode()


def parse_export_filter(text: str, *, zone: str, clock: Clock) -> str:
    """Return the query of a search, or of the address of a page of calls, in the form that is stored. Raises
    `UsageError` for a parameter that is no filter, or an invalid value.
    """
    fields = dict(parse_qsl(text.rpartition("?")[2].strip(), max_num_fields=FIELDS_MAX))
    fields = {name: value for name, value in fields.items() if name not in PAGE_PARAMETERS}
    unknown_names = sorted(set(fields) - FILTER_PARAMETERS - CALL_FILTER_PARAMETERS)
    if unknown_names or len(text) > EXPORT_FILTER_CHARACTERS_MAX:
        raise UsageError(
            _("{name} is no filter of exports", name=repr((unknown_names or [text])[0][:80])),
            location="export_filter",
            hint=_("write it as {example}", example=EXPORT_FILTER_EXAMPLE),
        )
    time_zone = get_zone(fields.get("zone") or zone)
    plain_fields, _groups = split_group_filters(fields)
    parse_filter(_of(plain_fields, frozenset(FILTER_NAMES)), time_zone, clock.now())
    call_fields = _of(plain_fields, CALL_FILTER_PARAMETERS)
    if call_fields:
        parse_call_filter({name: plain_fields.get(name, "") for name in CALL_FILTER_PARAMETERS}, time_zone)
    return urlencode({name: value for name, value in fields.items() if value})


def _fields(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS_MAX + 1))
    except ValueError:
        return {}


def _of(fields: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name in names}
