"""Which endpoints of an Asterisk are trunks, read from the PBX itself.

A trunk is an endpoint of PJSIP that registers somewhere, logs in somewhere, or is known by its address; an endpoint
whose name is a number is none, whatever else it does. The contexts that trunks call into tell which numbers are DIDs.
"""

import msgspec

from onhook.pbx.asterisk.channels import Channel
from onhook.pbx.asterisk.session import Answer, Session

ASKED_MAX = 50
"""Endpoints that are asked for one by one: those whose name is no number. No office has more trunks."""


class Trunks(msgspec.Struct, frozen=True):
    """What was found; `why` says why nothing could be."""

    trunks: tuple[str, ...] = ()
    inbound: tuple[str, ...] = ()
    why: str = ""


class TrunkSearch:
    """One search, over one session: it asks, and is handed the answers."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._registering: set[str] = set()
        self._candidates: dict[str, bool] = {}
        self._found: dict[str, str] = {}
        self._is_listed = False
        # In this order, and answered in this order: Asterisk answers one question after the other.
        self._waiting = {session.ask("PJSIPShowRegistrationsOutbound"), session.ask("PJSIPShowEndpoints")}

    def is_mine(self, answer: Answer) -> bool:
        """Whether this search has asked for it."""
        return answer.question in self._waiting

    def answered(self, answer: Answer) -> Trunks | None:
        """Take an answer; what was found, when it was the last one."""
        self._waiting.discard(answer.question)
        if answer.message.get("Message").lower().startswith("permission denied"):
            return Trunks(why="it does not tell its trunks: give the user `write = system`, or name them with --trunks")
        for listed in answer.listed:
            event = listed.get("Event")
            if event == "OutboundRegistrationDetail":
                self._registering.add(listed.get("Endpoint"))
            elif event == "EndpointList":
                self._list(listed.get("ObjectName"), is_registered=bool(listed.get("OutboundAuths")))
        self._look(answer)
        if self._waiting:
            return None
        if not self._is_listed:
            self._is_listed = True
            self._ask_each()
            return None if self._waiting else Trunks()
        return Trunks(
            tuple(sorted(self._found)), tuple(sorted({context for context in self._found.values() if context}))
        )

    def _list(self, name: str, *, is_registered: bool) -> None:
        """An endpoint whose name is a number is a telephone."""
        if name and not Channel("", "PJSIP", name).number:
            self._candidates[name] = is_registered

    def _ask_each(self) -> None:
        for name in list(self._candidates)[:ASKED_MAX]:
            self._waiting.add(self._session.ask("PJSIPShowEndpoint", Endpoint=name))

    def _look(self, answer: Answer) -> None:
        """Whether this endpoint is a trunk, and into which context it calls."""
        details = {listed.get("Event"): listed for listed in answer.listed}
        endpoint = details.get("EndpointDetail")
        if endpoint is None:
            return
        name = endpoint.get("ObjectName")
        if self._candidates.get(name) or name in self._registering or "IdentifyDetail" in details:
            self._found[name] = endpoint.get("Context")
