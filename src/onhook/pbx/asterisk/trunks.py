"""Detect which endpoints of an Asterisk are trunks, from the PBX itself.

A trunk is a PJSIP endpoint that registers or authenticates at a remote server, or is identified by its address. An
endpoint whose name is a number is never a trunk. The contexts that trunks call into determine which numbers are DIDs.
"""

import shlex

import msgspec

from onhook.lib.messages import _
from onhook.pbx.asterisk.channels import Channel
from onhook.pbx.asterisk.session import AmiResponse, AmiSession

ENDPOINT_QUERIES_MAX = 2_000
"""Endpoints queried one by one: those whose name is no number."""

PENDING_QUERIES_MAX = 50
"""Queries sent before the responses to earlier ones have arrived: the PBX has other work to do."""


class TrunkSearchResult(msgspec.Struct, frozen=True):
    """The detected trunks; `error` says why detection was impossible."""

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    error: str = ""


def describe_unknown_trunks(pbx_name: str) -> tuple[str, str]:
    """Return the warning for a PBX of which no trunk is known, and what to do."""
    return (
        _(
            "no trunk is known: most calls from and to outside count as Internal, and have no trunk and no DID number"
            " in lists, filters and reports"
        ),
        _(
            "run `onhook pbx change {pbx} --trunks NAMES`, as its channels name them; or connect to its manager"
            " interface, which lists PJSIP trunks",
            pbx=shlex.quote(pbx_name),
        ),
    )


class TrunkSearch:
    """One search over one session: it sends actions and handles their responses."""

    def __init__(self, session: AmiSession) -> None:
        self._session = session
        self._registering_endpoints: set[str] = set()
        self._candidates: dict[str, bool] = {}
        self._trunk_contexts: dict[str, str] = {}
        self._has_endpoint_list = False
        self._unqueried_names: list[str] = []
        # Asterisk responds to actions in the order in which they were sent.
        self._pending_action_ids = {
            session.send_action("PJSIPShowRegistrationsOutbound"),
            session.send_action("PJSIPShowEndpoints"),
        }

    def owns_response(self, response: AmiResponse) -> bool:
        """Return whether this search sent the action."""
        return response.action_id in self._pending_action_ids

    def handle_response(self, response: AmiResponse) -> TrunkSearchResult | None:
        """Handle a response; return the result after the last one, else None."""
        self._pending_action_ids.discard(response.action_id)
        if response.message.get("Message").lower().startswith("permission denied"):
            return TrunkSearchResult(
                error=_(
                    "cannot read the trunks: give the manager user `write = system`, or name the trunks with --trunks"
                )
            )
        for list_event in response.list_events:
            event_name = list_event.get("Event")
            if event_name == "OutboundRegistrationDetail":
                self._registering_endpoints.add(list_event.get("Endpoint"))
            elif event_name == "EndpointList":
                self._add_candidate(
                    list_event.get("ObjectName"), has_outbound_auth=bool(list_event.get("OutboundAuths"))
                )
        self._classify_endpoint(response)
        if not self._pending_action_ids and not self._has_endpoint_list:
            self._has_endpoint_list = True
            self._unqueried_names = list(self._candidates)[:ENDPOINT_QUERIES_MAX]
        self._query_candidates()
        if self._pending_action_ids:
            return None
        return TrunkSearchResult(
            tuple(sorted(self._trunk_contexts)),
            tuple(sorted({context for context in self._trunk_contexts.values() if context})),
        )

    def _add_candidate(self, name: str, *, has_outbound_auth: bool) -> None:
        """Add an endpoint as a candidate; one whose name is a number is a telephone."""
        if name and not Channel("", "PJSIP", name).number:
            self._candidates[name] = has_outbound_auth

    def _query_candidates(self) -> None:
        while self._unqueried_names and len(self._pending_action_ids) < PENDING_QUERIES_MAX:
            name = self._unqueried_names.pop(0)
            self._pending_action_ids.add(self._session.send_action("PJSIPShowEndpoint", Endpoint=name))

    def _classify_endpoint(self, response: AmiResponse) -> None:
        """Record the endpoint and its context if it is a trunk."""
        details = {list_event.get("Event"): list_event for list_event in response.list_events}
        endpoint = details.get("EndpointDetail")
        if endpoint is None:
            return
        name = endpoint.get("ObjectName")
        if self._candidates.get(name) or name in self._registering_endpoints or "IdentifyDetail" in details:
            self._trunk_contexts[name] = endpoint.get("Context")
