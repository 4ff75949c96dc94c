"""Which endpoints of an Asterisk are trunks, read from the PBX itself.

A trunk is an endpoint of PJSIP that registers somewhere, logs in somewhere, or is known by its address; an endpoint
whose name is a number is none, whatever else it does. The contexts that trunks call into tell which numbers are DIDs.
"""

import msgspec

from onhook.pbx.asterisk.channels import Channel
from onhook.pbx.asterisk.session import AmiResponse, AmiSession

ENDPOINT_QUERIES_MAX = 50
"""Endpoints that are asked for one by one: those whose name is no number. No office has more trunks."""


class TrunkSearchResult(msgspec.Struct, frozen=True):
    """What was found; `why` says why nothing could be."""

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    error: str = ""


class TrunkSearch:
    """One search, over one session: it asks, and is handed the answers."""

    def __init__(self, session: AmiSession) -> None:
        self._session = session
        self._registering_endpoints: set[str] = set()
        self._candidates: dict[str, bool] = {}
        self._trunk_contexts: dict[str, str] = {}
        self._has_endpoint_list = False
        # In this order, and answered in this order: Asterisk answers one question after the other.
        self._pending_action_ids = {
            session.send_action("PJSIPShowRegistrationsOutbound"),
            session.send_action("PJSIPShowEndpoints"),
        }

    def owns_response(self, response: AmiResponse) -> bool:
        """Whether this search has asked for it."""
        return response.action_id in self._pending_action_ids

    def handle_response(self, response: AmiResponse) -> TrunkSearchResult | None:
        """Take an answer; what was found, when it was the last one."""
        self._pending_action_ids.discard(response.action_id)
        if response.message.get("Message").lower().startswith("permission denied"):
            return TrunkSearchResult(
                error="it does not tell its trunks: give the user `write = system`, or name them with --trunks"
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
        if self._pending_action_ids:
            return None
        if not self._has_endpoint_list:
            self._has_endpoint_list = True
            self._query_candidates()
            return None if self._pending_action_ids else TrunkSearchResult()
        return TrunkSearchResult(
            tuple(sorted(self._trunk_contexts)),
            tuple(sorted({context for context in self._trunk_contexts.values() if context})),
        )

    def _add_candidate(self, name: str, *, has_outbound_auth: bool) -> None:
        """An endpoint whose name is a number is a telephone."""
        if name and not Channel("", "PJSIP", name).number:
            self._candidates[name] = has_outbound_auth

    def _query_candidates(self) -> None:
        for name in list(self._candidates)[:ENDPOINT_QUERIES_MAX]:
            self._pending_action_ids.add(self._session.send_action("PJSIPShowEndpoint", Endpoint=name))

    def _classify_endpoint(self, response: AmiResponse) -> None:
        """Whether this endpoint is a trunk, and into which context it calls."""
        details = {list_event.get("Event"): list_event for list_event in response.list_events}
        endpoint = details.get("EndpointDetail")
        if endpoint is None:
            return
        name = endpoint.get("ObjectName")
        if self._candidates.get(name) or name in self._registering_endpoints or "IdentifyDetail" in details:
            self._trunk_contexts[name] = endpoint.get("Context")
