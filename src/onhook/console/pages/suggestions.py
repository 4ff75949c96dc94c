"""`/suggestions`: values to choose from while a filter is typed: trunks, DID numbers, people, extensions and queues.

A reader gets what is in the scope alone, and masked numbers as they are shown.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.party_groups import PARTY_GROUP_KINDS
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, RecordFilter
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.queries.directory import list_directory, load_groups, load_names
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.messages import _

SUGGESTIONS_MAX = 20
"""More are not read; a further character narrows them."""

GROUPS_MAX = 5
"""Departments and sites before the numbers."""

VALUES_MAX = 200
"""Trunks or DID numbers with the most calls."""

PERIOD = timedelta(days=31)
"""A trunk or number without a call in a month can be typed."""

MAX_AGE_SECONDS = 60.0
"""New ones may be missing for this long."""

Field = Annotated[Literal["trunk", "did_number", "party"], QueryParameter(description="What to suggest values of")]
SuggestionText = Annotated[str, QueryParameter(max_length=TEXT_CHARACTERS_MAX)]


class Suggestion(msgspec.Struct, frozen=True):
    """A value of a filter, and what it is."""

    value: str
    label: str


class Suggestions(msgspec.Struct, frozen=True):
    """The first suggestions."""

    data: Sequence[Suggestion]


@get("/suggestions", opt=SCOPED, include_in_schema=False)
async def list_suggestions(
    request: AnyRequest, app_state: AppStateDep, field: Field, text: SuggestionText = ""
) -> Suggestions:
    """Return values of a field that contain a text, or whose name does."""
    scope = get_access_scope(request.scope)
    if field == "party":
        return Suggestions(await _suggest_numbers(app_state, scope, text))
    return Suggestions(await _suggest_values(app_state, scope, field, text))


async def _suggest_values(
    app_state: AppState, scope: AccessScope | None, dimension: str, text: str
) -> list[Suggestion]:
    """Return trunks or DID numbers of the latest calls, the most used first."""
    day = app_state.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    recent_filter = RecordFilter(since=day - PERIOD, scope=scope)
    rows: list[dict[str, Any]] = await app_state.coalescer.get(
        ("suggestions", recent_filter, dimension),
        lambda: app_state.store.summary(recent_filter, dimension, "UTC", VALUES_MAX),
        MAX_AGE_SECONDS,
    )
    directory, wanted = await load_names(app_state), text.strip().casefold()
    sns = None if scope is None else scope.sns
    values = [str(row[dimension]) for row in rows if row[dimension]]
    labels = {value: directory.find_name_in(sns, value) if dimension == "did_number" else "" for value in values}
    return [Suggestion(value, label) for value, label in labels.items() if wanted in f"{value}\n{label}".casefold()][
        :SUGGESTIONS_MAX
    ]


async def _suggest_numbers(app_state: AppState, scope: AccessScope | None, text: str) -> list[Suggestion]:
    """Return numbers of the directory: extensions, queues, ring groups, DID numbers and contacts; and departments and
    sites.
    """
    rows = await list_directory(app_state, scope, text)
    kinds = {"queue": _("queue"), "ring_group": _("ring group"), "contact": _("contact"), "did": _("DID number")}
    groups, wanted = await load_groups(app_state, scope), text.strip().casefold()
    titles = {"department": _("department"), "site": _("site")}
    group_suggestions = [
        Suggestion(f"{kind}:{name}", titles[kind])
        for kind in PARTY_GROUP_KINDS
        for name in groups.names(kind)
        if wanted in f"{kind}:{name}".casefold()
    ]
    number_suggestions = [
        Suggestion(row.number, ", ".join(part for part in (row.name, kinds.get(row.kind, ""), row.pbx) if part))
        for row in rows
    ]
    return [*group_suggestions[:GROUPS_MAX], *number_suggestions][:SUGGESTIONS_MAX]


ROUTES = (list_suggestions,)
