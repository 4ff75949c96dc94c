"""Check whether an Asterisk is configured to report its calls, by its configuration files read over AMI.

Invariants: a missing setting is given as the exact lines to add, with their file and section; an unreadable file is
reported as such, not guessed.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from onhook.lib.messages import _
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.text_encoding import clean_text

CLOCK_SKEW_SECONDS_MAX = 2.0
"""With a larger difference, the times of calls and gaps do not match."""

CEL_EVENTS = (
    "CHAN_START,CHAN_END,ANSWER,HANGUP,BRIDGE_ENTER,BRIDGE_EXIT,APP_START,APP_END,"
    "BLINDTRANSFER,ATTENDEDTRANSFER,PICKUP,FORWARD,LINKEDID_END"
)
CEL_APPLICATIONS = "dial,queue,voicemail,mixmonitor,background,waitexten,read"
"""Needed to recognize queues, mailboxes, recordings and IVRs."""

CONFIG_FILES = ("cdr.conf", "cdr_manager.conf", "cel.conf")
REQUIRED_MODULES = ("cdr_manager", "cel_manager")
CDR_BACKEND_MODULES = ("cdr_csv", "cdr_custom", "cdr_sqlite3_custom", "cdr_pgsql", "cdr_adaptive_odbc", "cdr_odbc")
"""Modules with which Asterisk stores CDRs itself, so that gaps can be backfilled."""

AdviceStatus = Literal["OK", "WARNING", "ERROR"]
ConfigSections = Mapping[str, Mapping[str, str]]


class AsteriskAdvice(msgspec.Struct, frozen=True):
    """The result of one check. `lines` are to be added to `file` if a setting is missing."""

    status: AdviceStatus
    detail: str
    file: str = ""
    lines: tuple[str, ...] = ()


class AsteriskInspection(msgspec.Struct, frozen=True, kw_only=True):
    """The inspected facts of an Asterisk: its files by name (None: unreadable), the running modules, and the seconds by
    which its clock is ahead (None: not reported).
    """

    version: str
    is_filtered: bool
    files: Mapping[str, ConfigSections | None]
    modules: frozenset[str]
    clock_skew_seconds: float | None
    trunks: tuple[str, ...]
    trunks_error: str = ""


def parse_sections(response: AmiMessage) -> ConfigSections:
    """Parse a file from the response to `GetConfig`. Names are lower case; of several lines with one name
    the last counts.
    """
    sections: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for key, value in [(key, clean_text(value)) for key, value in response.lines]:
        kind, _unused, number = key.lower().partition("-")
        if kind == "category":
            names[number] = value.lower()
            sections.setdefault(value.lower(), {})
        elif kind == "line":
            name, _unused, text = value.partition("=")
            section = names.get(number.partition("-")[0], "")
            sections.setdefault(section, {})[name.strip().lower()] = text.lstrip("> ").strip()
    return sections


def build_advice(inspection: AsteriskInspection) -> Iterator[AsteriskAdvice]:
    """Yield the result of each check, most important first."""
    yield AsteriskAdvice(
        "OK", _("connected to Asterisk and logged in (manager interface {version})", version=inspection.version)
    )
    if not inspection.is_filtered:
        yield AsteriskAdvice(
            "WARNING",
            _("the manager user cannot filter events: Asterisk sends more than Onhook needs"),
            "manager.conf",
            ("[USER]", "write = system,reporting"),
        )
    yield _check_clock(inspection.clock_skew_seconds)
    for name, check_file in (
        ("cdr.conf", _check_cdr),
        ("cdr_manager.conf", _check_cdr_manager),
        ("cel.conf", _check_cel),
    ):
        sections = inspection.files.get(name)
        if sections is None:
            yield AsteriskAdvice(
                "WARNING",
                _(
                    "cannot read {name}: check that it exists and that the manager user has `write = system`",
                    name=name,
                ),
                name,
            )
        yield from check_file(sections or {})
    for module in REQUIRED_MODULES:
        if module not in inspection.modules:
            yield AsteriskAdvice(
                "ERROR",
                _("the module {module} is not running", module=module),
                "modules.conf",
                (f"load = {module}.so",),
            )
    yield _check_cdr_backends(inspection.modules)
    yield _check_trunks(inspection)


def _check_clock(skew_seconds: float | None) -> AsteriskAdvice:
    if skew_seconds is None:
        return AsteriskAdvice("WARNING", _("Asterisk does not report its time"))
    if abs(skew_seconds) <= CLOCK_SKEW_SECONDS_MAX:
        return AsteriskAdvice("OK", _("the clock agrees with the clock of this machine"))
    return AsteriskAdvice(
        "ERROR",
        (
            _("the clock is {seconds:.0f} seconds ahead: synchronize both machines by NTP", seconds=skew_seconds)
            if skew_seconds > 0
            else _("the clock is {seconds:.0f} seconds behind: synchronize both machines by NTP", seconds=-skew_seconds)
        ),
    )


def _check_cdr(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    general = sections.get("general", {})
    if _is_on(general.get("enable", "yes")):
        yield AsteriskAdvice("OK", _("CDRs are enabled"))
    else:
        yield AsteriskAdvice("ERROR", _("CDRs are disabled"), "cdr.conf", ("[general]", "enable = yes"))
    if not _is_on(general.get("unanswered", "no")):
        unanswered_lines = ("[general]", "unanswered = yes")
        yield AsteriskAdvice("WARNING", _("unanswered calls may have no CDR"), "cdr.conf", unanswered_lines)
    if not _is_on(sections.get("csv", {}).get("newcdrcolumns", "no")):
        column_lines = ("[csv]", "loguniqueid = yes", "newcdrcolumns = yes")
        yield AsteriskAdvice(
            "WARNING",
            _("the CSV file has no linkedid: the CDRs of one call cannot be grouped"),
            "cdr.conf",
            column_lines,
        )


def _check_cdr_manager(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    file = "cdr_manager.conf"
    if _is_on(sections.get("general", {}).get("enabled", "no")):
        yield AsteriskAdvice("OK", _("CDRs are sent to the manager interface"))
    else:
        yield AsteriskAdvice(
            "ERROR", _("CDRs are not sent to the manager interface"), file, ("[general]", "enabled = yes")
        )
    if "linkedid" in sections.get("mappings", {}):
        yield AsteriskAdvice("OK", _("CDRs contain the id of their call"))
    else:
        lines = ("[mappings]", "linkedid => LinkedID")
        yield AsteriskAdvice("ERROR", _("CDRs do not contain the id of their call"), file, lines)


def _check_cel(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    general, manager = sections.get("general", {}), sections.get("manager", {})
    events, applications = f"events = {CEL_EVENTS}", f"apps = {CEL_APPLICATIONS}"
    if not (_is_on(general.get("enable", "no")) and _is_on(manager.get("enabled", "no"))):
        config_lines = ("[general]", "enable = yes", applications, events, "[manager]", "enabled = yes")
        yield AsteriskAdvice(
            "WARNING",
            _("channel events (CEL) are not sent: records of queues, IVRs and transfers are imprecise"),
            "cel.conf",
            config_lines,
        )
        return
    missing_events = _find_missing(CEL_EVENTS, general.get("events", ""))
    if missing_events:
        yield AsteriskAdvice(
            "WARNING",
            _("CEL does not include the events {names}", names=missing_events),
            "cel.conf",
            ("[general]", events),
        )
    missing_applications = _find_missing(CEL_APPLICATIONS, general.get("apps", ""))
    if missing_applications:
        yield AsteriskAdvice(
            "WARNING",
            _("CEL does not track the applications {names}", names=missing_applications),
            "cel.conf",
            ("[general]", applications),
        )
    if not missing_events and not missing_applications:
        yield AsteriskAdvice("OK", _("channel events (CEL) are sent, with everything that Onhook reads"))
    if "dateformat" in general:
        yield AsteriskAdvice(
            "WARNING", _("CEL uses a custom date format: if records are imprecise, remove `dateformat` from cel.conf")
        )


def _find_missing(required: str, configured: str) -> str:
    """Return the required names that are not configured, ignoring case; empty if none is missing."""
    configured_names = {name.strip().lower() for name in configured.split(",")}
    return (
        ""
        if "all" in configured_names
        else ", ".join(name for name in required.split(",") if name.lower() not in configured_names)
    )


def _check_cdr_backends(modules: frozenset[str]) -> AsteriskAdvice:
    backends = [name for name in CDR_BACKEND_MODULES if name in modules]
    if backends:
        return AsteriskAdvice(
            "OK",
            _(
                "Asterisk stores CDRs itself ({modules}); gaps can be backfilled from them",
                modules=", ".join(backends),
            ),
        )
    return AsteriskAdvice(
        "WARNING",
        _("Asterisk stores no CDRs itself: gaps cannot be backfilled"),
        "modules.conf",
        ("load = cdr_csv.so",),
    )


def _check_trunks(inspection: AsteriskInspection) -> AsteriskAdvice:
    if inspection.trunks_error:
        return AsteriskAdvice("WARNING", inspection.trunks_error)
    if not inspection.trunks:
        return AsteriskAdvice(
            "WARNING", _("no trunk found: every call counts as internal; name the trunks with --trunks")
        )
    return AsteriskAdvice("OK", _("trunks: {names}", names=", ".join(inspection.trunks)))


def _is_on(text: str) -> bool:
    return text.lower() in ("yes", "true", "y", "t", "1", "on")
