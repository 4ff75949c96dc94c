"""Filters on numbers that name a department or a site: `call_to=department:Sales` is any of its numbers.

Invariant: only numbers that the reader may see are looked for, so that no filter shows who is in a department.
"""

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.party_filter import PartyCondition
from onhook.cdr.party_groups import GroupFilters
from onhook.cdr.record_filter import RecordFilter
from onhook.console.queries.directory import load_groups
from onhook.console.state import AppState


async def apply_group_filters(
    app_state: AppState, scope: AccessScope | None, record_filter: RecordFilter, group_filters: GroupFilters
) -> RecordFilter:
    """Return a filter with the conditions of these ones besides its own. A group without a visible number matches
    nothing.
    """
    if not group_filters:
        return record_filter
    groups = await load_groups(app_state, scope)
    conditions = [
        PartyCondition(field=field, inside=tuple(sorted(groups.members(kind, [name]))))
        for field, (kind, name) in group_filters.items()
    ]
    return msgspec.structs.replace(record_filter, parties=(*(record_filter.parties or ()), *conditions))
