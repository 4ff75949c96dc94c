"""What an Asterisk must be told so that it tells us of its calls: looked at by its own configuration files, over AMI.

Laws: what is missing is said as the very lines to be added, under the file and section in which they belong; a file
that we may not read is said to be so, not guessed.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from onhook.pbx.asterisk.messages import Message

CLOCK_SECONDS_MAX = 2.0
"""Further apart, and the moments of calls and gaps do not fit together."""

CEL_EVENTS = (
    "CHAN_START,CHAN_END,ANSWER,HANGUP,BRIDGE_ENTER,BRIDGE_EXIT,APP_START,APP_END,"
    "BLINDTRANSFER,ATTENDEDTRANSFER,PICKUP,FORWARD,LINKEDID_END"
)
CEL_APPLICATIONS = "dial,queue,voicemail,mixmonitor,background,waitexten,read"
"""By these, queues, mailboxes, recordings and IVRs are told apart."""

FILES = ("cdr.conf", "cdr_manager.conf", "cel.conf")
MODULES = ("cdr_manager", "cel_manager")
KEPT_BY = ("cdr_csv", "cdr_custom", "cdr_sqlite3_custom", "cdr_pgsql", "cdr_adaptive_odbc", "cdr_odbc")
"""Modules by which Asterisk keeps CDRs itself, so that a gap can be filled."""

Grade = Literal["right", "look", "wrong"]
Sections = Mapping[str, Mapping[str, str]]


class Advice(msgspec.Struct, frozen=True):
    """One thing that was looked at; `lines` are to be added to `file` where something is missing."""

    grade: Grade
    what: str
    file: str = ""
    lines: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an Asterisk: its files by name (None: it does not show them), the modules that run, how many
    seconds its clock is ahead of ours (None: it does not say)."""

    version: str
    is_filtered: bool
    files: Mapping[str, Sections | None]
    modules: frozenset[str]
    clock_ahead_seconds: float | None
    trunks: tuple[str, ...]
    trunks_trouble: str = ""


def sections_of(answer: Message) -> Sections:
    """A file as the action `GetConfig` tells it: names in small letters; of several lines of one name the last."""
    sections: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for key, value in answer.lines:
        kind, _, number = key.lower().partition("-")
        if kind == "category":
            names[number] = value.lower()
            sections.setdefault(value.lower(), {})
        elif kind == "line":
            name, _, text = value.partition("=")
            section = names.get(number.partition("-")[0], "")
            sections.setdefault(section, {})[name.strip().lower()] = text.lstrip("> ").strip()
    return sections


def advise(seen: Seen) -> Iterator[Advice]:
    """All that is right, and all that is not, in the order in which it matters."""
    yield Advice("right", f"Asterisk answers and lets us in (manager interface {seen.version})")
    if not seen.is_filtered:
        yield Advice("look", "it tells us more than we need", "manager.conf", ("[USER]", "write = system,reporting"))
    yield _clock(seen.clock_ahead_seconds)
    for name, look in (("cdr.conf", _cdr), ("cdr_manager.conf", _cdr_manager), ("cel.conf", _cel)):
        sections = seen.files.get(name)
        if sections is None:
            yield Advice("look", f"it does not show {name}: is it there, and has our user `write = system`?", name)
        yield from look(sections or {})
    for module in MODULES:
        if module not in seen.modules:
            yield Advice("wrong", f"the module {module} does not run", "modules.conf", (f"load = {module}.so",))
    yield _keeping(seen.modules)
    yield _trunks(seen)


def _clock(ahead: float | None) -> Advice:
    if ahead is None:
        return Advice("look", "it does not tell its time")
    if abs(ahead) <= CLOCK_SECONDS_MAX:
        return Advice("right", "its clock agrees with ours")
    return Advice(
        "wrong", f"its clock is {abs(ahead):.0f} seconds {'ahead' if ahead > 0 else 'behind'}: set both by NTP"
    )


def _cdr(sections: Sections) -> Iterator[Advice]:
    general = sections.get("general", {})
    if _is_on(general.get("enable", "yes")):
        yield Advice("right", "CDRs are written")
    else:
        yield Advice("wrong", "CDRs are off", "cdr.conf", ("[general]", "enable = yes"))
    if not _is_on(general.get("unanswered", "no")):
        unanswered = ("[general]", "unanswered = yes")
        yield Advice("look", "calls that nobody answers may have no CDR", "cdr.conf", unanswered)
    if not _is_on(sections.get("csv", {}).get("newcdrcolumns", "no")):
        columns = ("[csv]", "loguniqueid = yes", "newcdrcolumns = yes")
        yield Advice("look", "the CSV file does not say which CDRs are one call", "cdr.conf", columns)


def _cdr_manager(sections: Sections) -> Iterator[Advice]:
    file = "cdr_manager.conf"
    if _is_on(sections.get("general", {}).get("enabled", "no")):
        yield Advice("right", "CDRs are told to the manager interface")
    else:
        yield Advice("wrong", "CDRs are not told to the manager interface", file, ("[general]", "enabled = yes"))
    if "linkedid" in sections.get("mappings", {}):
        yield Advice("right", "CDRs say which call they belong to")
    else:
        lines = ("[mappings]", "linkedid => LinkedID")
        yield Advice("wrong", "CDRs do not say which call they belong to", file, lines)


def _cel(sections: Sections) -> Iterator[Advice]:
    general, manager = sections.get("general", {}), sections.get("manager", {})
    events, applications = f"events = {CEL_EVENTS}", f"apps = {CEL_APPLICATIONS}"
    if not (_is_on(general.get("enable", "no")) and _is_on(manager.get("enabled", "no"))):
        whole = ("[general]", "enable = yes", applications, events, "[manager]", "enabled = yes")
        yield Advice(
            "look", "channel events (CEL) are not told: queues, IVRs and transfers stay vague", "cel.conf", whole
        )
        return
    lacks = _lacking(CEL_EVENTS, general.get("events", ""))
    if lacks:
        yield Advice("look", f"CEL lacks {lacks}", "cel.conf", ("[general]", events))
    untracked = _lacking(CEL_APPLICATIONS, general.get("apps", ""))
    if untracked:
        yield Advice("look", f"CEL does not track {untracked}", "cel.conf", ("[general]", applications))
    if not lacks and not untracked:
        yield Advice("right", "channel events (CEL) are told, with all that we read")
    if "dateformat" in general:
        yield Advice(
            "look", "CEL has dates of a form of its own: if calls stay vague, take `dateformat` out of cel.conf"
        )


def _lacking(wanted: str, said: str) -> str:
    """What is wanted and not said, whatever its case; nothing where all is said."""
    has = {name.strip().lower() for name in said.split(",")}
    return "" if "all" in has else ", ".join(name for name in wanted.split(",") if name.lower() not in has)


def _keeping(modules: frozenset[str]) -> Advice:
    keeping = [name for name in KEPT_BY if name in modules]
    if keeping:
        return Advice("right", f"it keeps CDRs itself ({', '.join(keeping)}), from which gaps can be filled")
    return Advice("look", "it keeps no CDRs itself: a gap could not be filled", "modules.conf", ("load = cdr_csv.so",))


def _trunks(seen: Seen) -> Advice:
    if seen.trunks_trouble:
        return Advice("look", seen.trunks_trouble)
    if not seen.trunks:
        return Advice("look", "no trunk is known: every call counts as internal; name them with --trunks")
    return Advice("right", f"trunks: {', '.join(seen.trunks)}")


def _is_on(text: str) -> bool:
    return text.lower() in ("yes", "true", "y", "t", "1", "on")
