"""The Asterisks that are declared, as the ways in want them: what was set, and a conversation with each."""

from collections.abc import Callable, Sequence
from functools import partial

from onhook.intake.door import Declared
from onhook.intake.outgoing import Line
from onhook.pbx.asterisk.conversation import AsteriskConversation, reading_of
from onhook.pbx.asterisk.gathering import PbxReading
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import Login
from onhook.pbx.conversation import Conversation
from onhook.settings.asterisks import Asterisks, Reached
from onhook.settings.settings import Settings


class AsteriskBook:
    """See the contract, `intake.outgoing.Book`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asterisks: Asterisks = settings.asterisks
        self.opened: Callable[[str, int], None] = self._asterisks.opened
        self.covered: Callable[[str, int], None] = self._asterisks.covered
        self.closed: Callable[[str, str], None] = self._asterisks.closed
        self.learned: Callable[[str, str], None] = self._asterisks.learned

    def lines(self) -> Sequence[Line]:
        names = {pbx.sn: pbx.name for pbx in self._settings.pbxs()}
        return [self._line(one, names.get(one.sn, one.sn)) for one in self._asterisks.all()]

    def _line(self, one: Reached, name: str) -> Line:
        secret = self._asterisks.secret(one.sn)
        told = (one.host, one.port, one.user, one.tls, one.trunks, one.inbound, one.has_pins)
        return Line(
            declared=Declared(sn=one.sn, dialect=Asterisk.name),
            name=name,
            host=one.host,
            port=one.port,
            tls=one.tls,
            begin=partial(self._begin, one.sn, Login(one.user, secret)),
            # A hash, so that the secret stands in no more places than it must.
            mark=hash((*told, secret)),
        )

    def _begin(self, sn: str, login: Login) -> Conversation:
        """With what was learned up to now."""
        one = self._asterisks.of(sn)
        return AsteriskConversation(login, reading(one), searches=one.trunks is None)


def reading(one: Reached) -> PbxReading:
    """What is needed to read the CDRs of an Asterisk: as it was set, or as it was learned."""
    if one.trunks is None:
        learned = reading_of(one.learned)
        inbound = tuple(dict.fromkeys([*one.inbound, *learned.inbound]))
        return PbxReading(trunks=learned.trunks, inbound=inbound, has_pins=one.has_pins)
    return PbxReading(trunks=one.trunks, inbound=one.inbound, has_pins=one.has_pins)
