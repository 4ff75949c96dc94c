"""Rows of extensions, queues, trunks and contacts as the P-Series web API writes them.

Invariants: the members have the API's names. What no call shows is left out, or empty where programs expect a member;
none is invented.
"""

from collections.abc import Mapping
from typing import Any

DirectoryRow = Mapping[str, Any]

UNKNOWN_TRUNK_STATE = 0
"""The API's number for a trunk whose state is unknown."""


def format_extension(row_id: int, number: str, name: str) -> DirectoryRow:
    """Format the row of `extension/list`."""
    first_name, _separator, last_name = name.partition(" ")
    return {
        "id": row_id,
        "number": number,
        "caller_id_name": name,
        "first_name": first_name,
        "last_name": last_name,
        "email_addr": "",
        "mobile_number": "",
    }


def format_queue(row_id: int, number: str, name: str) -> DirectoryRow:
    """Format the row of `queue/list`; no call shows who is an agent."""
    return {
        "id": row_id,
        "number": number,
        "name": name,
        "dynamic_agent_list": [],
        "static_agent_list": [],
        "manager_list": [],
    }


def format_numbered(row_id: int, number: str, name: str) -> DirectoryRow:
    """Format the row of `ivr/list` and `ringgroup/list`."""
    return {"id": row_id, "number": number, "name": name}


def format_trunk(row_id: int, number: str, name: str) -> DirectoryRow:
    """Format the row of `trunk/list`; a trunk has no number."""
    del number
    return {"id": row_id, "name": name, "status": UNKNOWN_TRUNK_STATE}


def format_contact(row_id: int, number: str, name: str) -> DirectoryRow:
    """Format the row of `company_contact/list`."""
    return {"id": row_id, "contact_name": name, "company": "", "business": number, "phonebook_list": []}
