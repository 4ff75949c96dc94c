"""State of an Asterisk: its manager interface, its CDR source, its channel events and its trunks, as sentences."""

from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.asterisks import TLS_OFF, TLS_ON, AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbxs import Pbx
from onhook.cdr.record import Record
from onhook.console.pages.formatting import local_time
from onhook.console.state import AppState
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.pbx.asterisk.connection import find_trunks
from onhook.pbx.asterisk.payload import Asterisk, has_channel_events
from onhook.pbx.asterisk.trunks import describe_unknown_trunks


class AsteriskOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Connection and CDR source of an Asterisk. `has_channel_events` is about its latest call, None where no call came
    over the manager interface. `source_error` is the open alarm about the source, or empty.
    """

    pbx_name: str
    asterisk: AsteriskPbx
    source: CdrSource | None
    source_error: str = ""
    has_channel_events: bool | None = None

    @property
    def address(self) -> str:
        """Return host and port, and how the connection is encrypted."""
        tls = {
            TLS_OFF: _("without TLS"),
            TLS_ON: _("with TLS"),
        }.get(self.asterisk.tls, _("with TLS, by certificates of its own"))
        host = f"[{self.asterisk.host}]" if ":" in self.asterisk.host else self.asterisk.host
        return f"{host}:{self.asterisk.port}, {tls}"

    def connection_sentence(self, zone: ZoneInfo) -> str:
        """Return since when it is connected, or why it is not."""
        if self.asterisk.is_connected and self.asterisk.connected_at is not None:
            return _("Connected since {time}.", time=local_time(self.asterisk.connected_at, zone))
        if self.asterisk.error:
            return _("Not connected: {reason}", reason=self.asterisk.error)
        return _("Not connected yet.")

    @property
    def source_text(self) -> str:
        """Return the CDR source with its table; empty without one."""
        if self.source is None:
            return ""
        return f"{self.source.location}, {self.source.table}" if self.source.is_database else self.source.location

    @property
    def source_sentence(self) -> str:
        """Return whether the CDR source can be read, or what is missing without one."""
        if self.source is None:
            return _("No CDR source: gaps cannot be filled.")
        if self.source_error:
            return _("It cannot be read: {reason}", reason=self.source_error)
        if self.source.is_database:
            return _("A table, read after each gap, every hour and every night.")
        return _("A file, read after each gap, every hour and every night.")

    @property
    def channel_events_sentence(self) -> str:
        """Return whether channel events (CEL) are received."""
        if self.has_channel_events is None:
            return _("Unknown: the latest call did not come over the manager interface.")
        if self.has_channel_events:
            return _("Yes: the latest call has channel events.")
        return _("No: the latest call has none, and records of queues, IVRs and transfers are imprecise.")

    @property
    def trunk_names(self) -> str:
        """Return the names of the trunks; empty where there are none."""
        return ", ".join(find_trunks(self.asterisk.trunks, self.asterisk.detected_config) or ())

    @property
    def trunk_warning(self) -> tuple[str, str]:
        """Return the warning and what to do where no trunk is known; empty texts where the trunks are known."""
        is_known = find_trunks(self.asterisk.trunks, self.asterisk.detected_config) is not None
        return ("", "") if is_known else describe_unknown_trunks(self.pbx_name)


async def load_asterisk_overview(
    app_state: AppState, pbx: Pbx, latest_record: Record | None
) -> AsteriskOverview | None:
    """Return the state of an Asterisk; None for any other PBX. Raises `RowUnreadable`."""
    if pbx.dialect != Asterisk.name:
        return None
    try:
        asterisk = await app_state.appdb.asterisks.get(pbx.sn)
    except NotFound:
        return None
    alarms = await app_state.appdb.alarms.open_alarms()
    return AsteriskOverview(
        pbx_name=pbx.name,
        asterisk=asterisk,
        source=await app_state.appdb.cdr_sources.get(pbx.sn),
        source_error=next((alarm.detail for alarm in alarms if alarm.sn == pbx.sn and alarm.kind == "source"), ""),
        has_channel_events=await _find_channel_events(app_state, latest_record),
    )


async def _find_channel_events(app_state: AppState, latest_record: Record | None) -> bool | None:
    if latest_record is None or latest_record.via != "ami":
        return None
    raw_events = await app_state.ledger.get([latest_record.seq])
    return has_channel_events(raw_events[0].body) if raw_events else None
