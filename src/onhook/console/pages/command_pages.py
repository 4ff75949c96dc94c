"""The pages on which an administrator does what a command in a hint does.

Hints of checks and errors name commands, because they are also printed in terminals. A page shows links beside them.
"""

import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from onhook.lib.messages import _

NAME_PLACEHOLDERS = frozenset({"NAME", ""})
"""Where a hint does not name the PBX."""

_PBX_ACTIONS: Mapping[str, str] = {"secret": "#secrets", "trust": "/connection", "files": "#files", "remove": "/remove"}
_PBX_OPTIONS: Mapping[str, str] = {
    "--zone": "#number-plan",
    "--recordings": "#recordings",
    **dict.fromkeys(("--signed", "--silence"), "#silence"),
    "--add-sn": "#serial-numbers",
    **dict.fromkeys(("--api", "--client-id", "--from", "--path", "--listen", "--fields"), "/connection"),
    **dict.fromkeys(("--cdr", "--trunks", "--inbound-context"), "/connection"),
}
"""Where the page of a PBX, or one below it, has what an option of `onhook pbx change` sets."""


class PageLink(msgspec.Struct, frozen=True):
    """A link to a page, with its text."""

    href: str
    text: str


def find_command_pages(hint: str, sn: str = "") -> Sequence[PageLink]:
    """Return links to the pages for the commands between backticks, each once; `sn` is the PBX of the page, or empty.

    >>> [link.href for link in find_command_pages("`onhook pbx change 'Main office' --zone ZONE`, or `ping`")]
    ['/pbxs/Main%20office#number-plan']
    >>> [link.href for link in find_command_pages("`onhook pbx trust` with its name", "3631")]
    ['/pbxs/3631/connection']
    """
    links = [_find_page(words[1:], sn) for words in map(_split, hint.split("`")[1::2]) if words[:1] == ["onhook"]]
    return list(dict.fromkeys(link for link in links if link is not None))


def _split(command: str) -> Sequence[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()  # a name with a single quotation mark, cut off


def _find_page(words: Sequence[str], sn: str) -> PageLink | None:
    """Return the page for a command without its first word; None for what no page does."""
    group, action = (*words, "", "")[:2]
    if group == "pbx":
        return _find_pbx_page(action, words[2:], sn)
    if group == "doctor":
        return _pbx_link(words[1:], sn, "#actions", _("Run diagnostics")) if words[1:] or sn else None
    if group in ("backfill", "coverage"):
        return _pbx_link(words[1:], sn, "#coverage", _("Coverage and back-fill"))
    return _pages_of_groups().get(group)


def _find_pbx_page(action: str, words: Sequence[str], sn: str) -> PageLink:
    if action == "add":
        return PageLink("/add-pbx", _("Add a PBX"))
    if action == "secret":
        words = words[1:]
    if action != "change":
        return _pbx_link(words, sn, _PBX_ACTIONS.get(action, ""), _pbx_titles().get(_PBX_ACTIONS.get(action, ""), ""))
    target = next((_PBX_OPTIONS[word] for word in words if word in _PBX_OPTIONS), "")
    return _pbx_link(words, sn, target, _pbx_titles().get(target, ""))


def _pbx_link(words: Sequence[str], sn: str, target: str, text: str) -> PageLink:
    """Return a link to a part of the page of the PBX that is named first; to the list where none is named."""
    name = "" if words and words[0].startswith("-") else (*words, "")[0]
    name = sn if name in NAME_PLACEHOLDERS else name
    return PageLink(f"/pbxs/{quote(name, safe='')}{target}", text or name) if name else PageLink("/pbxs", _("PBXs"))


def _pbx_titles() -> Mapping[str, str]:
    return {
        "#secrets": _("Its secrets"),
        "#number-plan": _("Its time zone and number plan"),
        "#silence": _("Its signature and alarm of silence"),
        "#serial-numbers": _("Its serial numbers"),
        "#files": _("Its files"),
        "#recordings": _("Its recordings"),
        "/connection": _("Its connection"),
        "/remove": _("Remove PBX"),
    }


def _pages_of_groups() -> Mapping[str, PageLink]:
    """Return the page of each group of commands that has one."""
    return {
        "app": PageLink("/apps", _("Apps")),
        "destination": PageLink("/destinations", _("Destinations")),
        "directory": PageLink("/directory", _("Directory")),
        "mail": PageLink("/mail", _("Mail")),
        "quarantine": PageLink("/quarantine", _("Quarantine")),
        "rebuild": PageLink("/pbxs", _("Apply settings to earlier calls, on the page of a PBX")),
        "sql": PageLink("/sql", _("SQL")),
        "token": PageLink("/users", _("Users and tokens")),
        "user": PageLink("/users", _("Users and tokens")),
    }
