"""Registry of all dialects, one line each."""

from collections.abc import Mapping

from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.avaya.payload import Avaya
from onhook.pbx.call_list import CallListClient
from onhook.pbx.client import PbxClient
from onhook.pbx.cucm.payload import Cucm
from onhook.pbx.dialect import Dialect, Dialects
from onhook.pbx.freeswitch.payload import FreeSwitch
from onhook.pbx.grandstream.call_list import UcmCallList
from onhook.pbx.grandstream.payload import Grandstream
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.threecx.call_list import ThreeCxCallList
from onhook.pbx.threecx.payload import ThreeCx
from onhook.pbx.yeastar.client import YeastarClient
from onhook.pbx.yeastar.payload import Yeastar


def dialects() -> Dialects:
    """Return the dialects by their names in the ledger."""
    instances: tuple[Dialect, ...] = (
        *(Yeastar(), NewCdr(), Asterisk(), FreeSwitch(), ThreeCx(), Avaya(), Grandstream(), Cucm()),
    )
    return {dialect.name: dialect for dialect in instances}


def pbx_clients() -> Mapping[str, PbxClient]:
    """Return the PBX clients by the names of their dialects."""
    return {"yeastar": YeastarClient()}


def call_list_clients() -> Mapping[str, CallListClient]:
    """Return the clients of lists of calls by the names of their dialects."""
    return {"grandstream": UcmCallList(), "3cx": ThreeCxCallList()}
