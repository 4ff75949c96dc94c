"""What an Asterisk must be told so that it tells us of its calls: looked at by its own configuration files, over AMI.

Laws: what is missing is said as the very lines to be added, under the file and section in which they belong; a file
that we may not read is said to be so, not guessed.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from onhook.pbx.asterisk.messages import AmiMessage

CLOCK_SKEW_SECONDS_MAX = 2.0
"""Further apart, and the moments of calls and gaps do not fit together."""

CEL_EVENTS = (
    "CHAN_START,CHAN_END,ANSWER,HANGUP,BRIDGE_ENTER,BRIDGE_EXIT,APP_START,APP_END,"
    "BLINDTRANSFER,ATTENDEDTRANSFER,PICKUP,FORWARD,LINKEDID_END"
)
CEL_APPLICATIONS = "dial,queue,voicemail,mixmonitor,background,waitexten,read"
"""By these, queues, mailboxes, recordings and IVRs are told apart."""

CONFIG_FILES = ("cdr.conf", "cdr_manager.conf", "cel.conf")
REQUIRED_MODULES = ("cdr_manager", "cel_manager")
CDR_BACKEND_MODULES = ("cdr_csv", "cdr_custom", "cdr_sqlite3_custom", "cdr_pgsql", "cdr_adaptive_odbc", "cdr_odbc")
"""Modules by which Asterisk keeps CDRs itself, so that a gap can be filled."""

AdviceStatus = Literal["OK", "WARNING", "ERROR"]
ConfigSections = Mapping[str, Mapping[str, str]]


class AsteriskAdvice(msgspec.Struct, frozen=True):
    """One thing that was looked at; `lines` are to be added to `file` where something is missing."""

    status: AdviceStatus
    detail: str
    file: str = ""
    lines: tuple[str, ...] = ()


class AsteriskInspection(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an Asterisk: its files by name (None: it does not show them), the modules that run, how many
    seconds its clock is ahead of ours (None: it does not say)."""

    version: str
    is_filtered: bool
    files: Mapping[str, ConfigSections | None]
    modules: frozenset[str]
    clock_skew_seconds: float | None
    trunks: tuple[str, ...]
    trunks_error: str = ""


def parse_sections(response: AmiMessage) -> ConfigSections:
    """A file as the action `GetConfig` tells it: names in small letters; of several lines of one name the last."""
    sections: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for key, value in response.lines:
        kind, _, number = key.lower().partition("-")
        if kind == "category":
            names[number] = value.lower()
            sections.setdefault(value.lower(), {})
        elif kind == "line":
            name, _, text = value.partition("=")
            section = names.get(number.partition("-")[0], "")
            sections.setdefault(section, {})[name.strip().lower()] = text.lstrip("> ").strip()
    return sections


def build_advice(inspection: AsteriskInspection) -> Iterator[AsteriskAdvice]:
    """All that is right, and all that is not, in the order in which it matters."""
    yield AsteriskAdvice("OK", f"Asterisk answers and lets us in (manager interface {inspection.version})")
    if not inspection.is_filtered:
        yield AsteriskAdvice(
            "WARNING", "it tells us more than we need", "manager.conf", ("[USER]", "write = system,reporting")
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
                "WARNING", f"it does not show {name}: is it there, and has our user `write = system`?", name
            )
        yield from check_file(sections or {})
    for module in REQUIRED_MODULES:
        if module not in inspection.modules:
            yield AsteriskAdvice("ERROR", f"the module {module} does not run", "modules.conf", (f"load = {module}.so",))
    yield _check_cdr_backends(inspection.modules)
    yield _check_trunks(inspection)


def _check_clock(skew_seconds: float | None) -> AsteriskAdvice:
    if skew_seconds is None:
        return AsteriskAdvice("WARNING", "it does not tell its time")
    if abs(skew_seconds) <= CLOCK_SKEW_SECONDS_MAX:
        return AsteriskAdvice("OK", "its clock agrees with ours")
    return AsteriskAdvice(
        "ERROR",
        f"its clock is {abs(skew_seconds):.0f} seconds {'ahead' if skew_seconds > 0 else 'behind'}: set both by NTP",
    )


def _check_cdr(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    general = sections.get("general", {})
    if _is_on(general.get("enable", "yes")):
        yield AsteriskAdvice("OK", "CDRs are written")
    else:
        yield AsteriskAdvice("ERROR", "CDRs are off", "cdr.conf", ("[general]", "enable = yes"))
    if not _is_on(general.get("unanswered", "no")):
        unanswered_lines = ("[general]", "unanswered = yes")
        yield AsteriskAdvice("WARNING", "calls that nobody answers may have no CDR", "cdr.conf", unanswered_lines)
    if not _is_on(sections.get("csv", {}).get("newcdrcolumns", "no")):
        column_lines = ("[csv]", "loguniqueid = yes", "newcdrcolumns = yes")
        yield AsteriskAdvice("WARNING", "the CSV file does not say which CDRs are one call", "cdr.conf", column_lines)


def _check_cdr_manager(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    file = "cdr_manager.conf"
    if _is_on(sections.get("general", {}).get("enabled", "no")):
        yield AsteriskAdvice("OK", "CDRs are told to the manager interface")
    else:
        yield AsteriskAdvice(
            "ERROR", "CDRs are not told to the manager interface", file, ("[general]", "enabled = yes")
        )
    if "linkedid" in sections.get("mappings", {}):
        yield AsteriskAdvice("OK", "CDRs say which call they belong to")
    else:
        lines = ("[mappings]", "linkedid => LinkedID")
        yield AsteriskAdvice("ERROR", "CDRs do not say which call they belong to", file, lines)


def _check_cel(sections: ConfigSections) -> Iterator[AsteriskAdvice]:
    general, manager = sections.get("general", {}), sections.get("manager", {})
    events, applications = f"events = {CEL_EVENTS}", f"apps = {CEL_APPLICATIONS}"
    if not (_is_on(general.get("enable", "no")) and _is_on(manager.get("enabled", "no"))):
        config_lines = ("[general]", "enable = yes", applications, events, "[manager]", "enabled = yes")
        yield AsteriskAdvice(
            "WARNING",
            "channel events (CEL) are not told: queues, IVRs and transfers stay vague",
            "cel.conf",
            config_lines,
        )
        return
    missing_events = _find_missing(CEL_EVENTS, general.get("events", ""))
    if missing_events:
        yield AsteriskAdvice("WARNING", f"CEL lacks {missing_events}", "cel.conf", ("[general]", events))
    missing_applications = _find_missing(CEL_APPLICATIONS, general.get("apps", ""))
    if missing_applications:
        yield AsteriskAdvice(
            "WARNING", f"CEL does not track {missing_applications}", "cel.conf", ("[general]", applications)
        )
    if not missing_events and not missing_applications:
        yield AsteriskAdvice("OK", "channel events (CEL) are told, with all that we read")
    if "dateformat" in general:
        yield AsteriskAdvice(
            "WARNING", "CEL has dates of a form of its own: if calls stay vague, take `dateformat` out of cel.conf"
        )


def _find_missing(required: str, configured: str) -> str:
    """What is wanted and not said, whatever its case; nothing where all is said."""
    configured_names = {name.strip().lower() for name in configured.split(",")}
    return (
        ""
        if "all" in configured_names
        else ", ".join(name for name in required.split(",") if name.lower() not in configured_names)
    )


def _check_cdr_backends(modules: frozenset[str]) -> AsteriskAdvice:
    backends = [name for name in CDR_BACKEND_MODULES if name in modules]
    if backends:
        return AsteriskAdvice("OK", f"it keeps CDRs itself ({', '.join(backends)}), from which gaps can be filled")
    return AsteriskAdvice(
        "WARNING", "it keeps no CDRs itself: a gap could not be filled", "modules.conf", ("load = cdr_csv.so",)
    )


def _check_trunks(inspection: AsteriskInspection) -> AsteriskAdvice:
    if inspection.trunks_error:
        return AsteriskAdvice("WARNING", inspection.trunks_error)
    if not inspection.trunks:
        return AsteriskAdvice("WARNING", "no trunk is known: every call counts as internal; name them with --trunks")
    return AsteriskAdvice("OK", f"trunks: {', '.join(inspection.trunks)}")


def _is_on(text: str) -> bool:
    return text.lower() in ("yes", "true", "y", "t", "1", "on")
