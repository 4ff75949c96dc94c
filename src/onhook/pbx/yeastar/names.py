"""Names of extensions, queues, ring groups and IVRs, from the lists of the P-Series web API.

Invariant: the number of requests is bounded, whatever the PBX answers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from onhook.cdr.directory import EntryKind
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import NameListSteps, NumberName, PbxRequest, PbxResponse
from onhook.pbx.yeastar.answers import API_PATH

PAGE_ROWS = 1_000
"""Rows of a page; the largest models have 1,000 extensions."""

PAGES_MAX = 10
"""Of one list."""

LISTS: Mapping[str, EntryKind] = {
    "extension": "extension",
    "queue": "queue",
    "ringgroup": "ring_group",
    "ivr": "ivr",
}
"""Kind of the numbers by the name of their list."""


def list_names() -> NameListSteps:
    """Read all lists. A list that the firmware does not have is empty. Raises `Unavailable` for any other error: then
    nothing is known.
    """
    names: list[NumberName] = []
    for list_name, kind in LISTS.items():
        for page in range(1, PAGES_MAX + 1):
            response = yield _request(list_name, page)
            if response.error_kind is not None and response.error_kind != "unsupported":
                raise Unavailable(
                    _("the PBX does not list its numbers: {error}", error=response.error_text),
                    hint=_("the names of its calls are used until it does"),
                )
            rows = _rows(response)
            names += _names(rows, kind)
            if len(rows) < PAGE_ROWS:
                break
    return names


def _request(list_name: str, page: int) -> PbxRequest:
    query = {"page": str(page), "page_size": str(PAGE_ROWS), "sort_by": "number", "order_by": "asc"}
    return PbxRequest(path=f"{API_PATH}{list_name}/list", query=query)


def _rows(response: PbxResponse) -> list[Mapping[str, Any]]:
    """Return the rows of a page: `data`, or a member such as `queue_list`."""
    for name, value in response.members.items():
        if (name == "data" or name.endswith("_list")) and isinstance(value, list):
            return [row for row in value if isinstance(row, dict)]
    return []


def _names(rows: list[Mapping[str, Any]], kind: EntryKind) -> Iterator[NumberName]:
    for row in rows:
        parts = [row.get("caller_id_name")] if kind == "extension" else [row.get("name")]
        if kind == "extension" and not parts[0]:
            parts = [row.get("first_name"), row.get("last_name")]
        name = " ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
        number = row.get("number")
        if isinstance(number, str | int) and str(number).strip() and name and name != str(number):
            yield NumberName(number=str(number).strip(), kind=kind, name=name)
