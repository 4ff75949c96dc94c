"""Names of the telephones of an Asterisk: the caller ids of its PJSIP endpoints whose name is a number.

Invariant: the PBX never has more than PENDING_QUERIES_MAX queries to answer.
"""

import re

from onhook.lib.messages import _
from onhook.pbx.asterisk.channels import Channel
from onhook.pbx.asterisk.session import AmiResponse, AmiSession
from onhook.pbx.asterisk.trunks import ENDPOINT_QUERIES_MAX, PENDING_QUERIES_MAX
from onhook.pbx.client import NumberName

_CALLER_ID = re.compile(r'\s*"?(?P<name>[^<"]*)"?\s*<[^<>]*>\s*')
"""`"Alice Smith" <1001>`; `<unknown>` where none is set."""


class NameSearch:
    """One search over one session: it sends actions and handles their responses. `error` is why there are no names."""

    def __init__(self, session: AmiSession) -> None:
        self.error = ""
        self._session = session
        self._numbers: dict[str, str] = {}
        self._unqueried: list[str] = []
        self._names: list[NumberName] = []
        self._pending_action_ids = {session.send_action("PJSIPShowEndpoints")}

    def owns_response(self, response: AmiResponse) -> bool:
        """Return whether this search sent the action."""
        return response.action_id in self._pending_action_ids

    def handle_response(self, response: AmiResponse) -> tuple[NumberName, ...] | None:
        """Handle a response; return the names after the last one, else None. Raises `OverflowError`."""
        self._pending_action_ids.discard(response.action_id)
        if response.message.get("Message").lower().startswith("permission denied"):
            self.error = _("cannot read the names of telephones: give the manager user `write = system`")
            return ()
        for list_event in response.list_events:
            if list_event.get("Event") == "EndpointList":
                self._add_endpoint(list_event.get("ObjectName"))
            elif list_event.get("Event") == "EndpointDetail":
                self._add_name(list_event.get("ObjectName"), list_event.get("Callerid"))
        while self._unqueried and len(self._pending_action_ids) < PENDING_QUERIES_MAX:
            self._pending_action_ids.add(
                self._session.send_action("PJSIPShowEndpoint", Endpoint=self._unqueried.pop(0))
            )
        return None if self._pending_action_ids else tuple(self._names)

    def _add_endpoint(self, name: str) -> None:
        """Have an endpoint queried whose name is a number: others are trunks."""
        number = Channel("", "PJSIP", name).number
        if number and len(self._numbers) < ENDPOINT_QUERIES_MAX:
            self._numbers[name] = number
            self._unqueried.append(name)

    def _add_name(self, endpoint: str, caller_id: str) -> None:
        number = self._numbers.get(endpoint, "")
        name = parse_caller_id_name(caller_id)
        if number and name and name != number:
            self._names.append(NumberName(number=number, kind="extension", name=name))


def parse_caller_id_name(text: str) -> str:
    """Return the name in a caller id as Asterisk writes it; empty where there is none.

    >>> [parse_caller_id_name(text) for text in ('"Alice Smith" <1001>', "Bob <1002>", "<unknown>", "1003", "")]
    ['Alice Smith', 'Bob', '', '', '']
    """
    match = _CALLER_ID.fullmatch(text)
    return match["name"].strip() if match else ""
