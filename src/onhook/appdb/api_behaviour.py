"""How the PBX that an application is shown behaves: what differs from one PBX, firmware and setting to the next."""

import re
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import msgspec

from onhook.appdb.destination_spec import Profile
from onhook.lib.errors import UsageError

DateFormat = Literal["YYYY/MM/DD", "MM/DD/YYYY", "DD/MM/YYYY"]
TimeFormat = Literal["24", "12"]
TimeForm = Literal["seconds", "display", "no-rows-for-seconds"]
Version = Literal["v1.0", "v2.0"]

DATE_FORMATS: tuple[DateFormat, ...] = get_args(DateFormat)
TIME_FORMATS: tuple[TimeFormat, ...] = get_args(TimeFormat)
TIME_FORMS: tuple[TimeForm, ...] = get_args(TimeForm)
VERSIONS: tuple[Version, ...] = get_args(Version)
EVENT_PROFILES: tuple[Profile, ...] = get_args(Profile)

LABEL_CHARACTERS_MAX = 40
"""Of a firmware or a model: the longest that was seen has 12."""

Word = TypeVar("Word", bound=str)

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """What a PBX's own pages set, and what depends on its firmware (PROTOCOL.md 7.1 and 7.2).

    `time_forms` are the forms of `start_time` and `end_time` that are understood: Unix seconds, the display format;
    with `no-rows-for-seconds` a PBX takes seconds and finds nothing, as one firmware does. `profile` is the generation
    whose event a socket gets.
    """

    date_format: DateFormat = "YYYY/MM/DD"
    time_format: TimeFormat = "24"
    time_forms: tuple[TimeForm, ...] = ("seconds", "display")
    versions: tuple[Version, ...] = ("v1.0", "v2.0")
    firmware: str = "37.23.0.123"
    model: str = "P570"
    profile: Profile = "p-2026"


def parse_manner(
    *,
    date_format: str | None = None,
    time_format: str | None = None,
    time_forms: str | None = None,
    versions: str | None = None,
    firmware: str | None = None,
    model: str | None = None,
    profile: str | None = None,
) -> Manner:
    """A manner from texts as people write them, lists joined by commas; what is None stays as it usually is.

    Raises `UsageError` naming what cannot be meant so.
    """
    usual = Manner()
    return Manner(
        date_format=usual.date_format if date_format is None else _one_of("date_format", date_format, DATE_FORMATS),
        time_format=usual.time_format if time_format is None else _one_of("time_format", time_format, TIME_FORMATS),
        time_forms=usual.time_forms if time_forms is None else _some_of("time_forms", time_forms, TIME_FORMS),
        versions=usual.versions if versions is None else _some_of("versions", versions, VERSIONS),
        firmware=usual.firmware if firmware is None else _label("firmware", firmware),
        model=usual.model if model is None else _label("model", model),
        profile=usual.profile if profile is None else _one_of("profile", profile, EVENT_PROFILES),
    )


def checked_manner(manner: Manner) -> Manner:
    """The same, where its labels can be shown and it takes a form of time and a version. Raises `UsageError`."""
    _label("firmware", manner.firmware)
    _label("model", manner.model)
    if not manner.time_forms or not manner.versions:
        raise UsageError("a PBX takes a form of time and has a version", todo="name at least one of each")
    return manner


def _one_of(name: str, text: str, known: Sequence[Word]) -> Word:
    for word in known:
        if text.strip().lower() == word.lower():
            return word
    raise UsageError(f"{name} cannot be {text[:80]!r}", todo=f"use one of {', '.join(known)}")


def _some_of(name: str, text: str, known: Sequence[Word]) -> tuple[Word, ...]:
    found = {_one_of(name, part, known) for part in text.split(",")}
    return tuple(word for word in known if word in found)


def _label(name: str, text: str) -> str:
    if len(text) > LABEL_CHARACTERS_MAX or not _LABEL.fullmatch(text):
        raise UsageError(
            f"{name} cannot be {text[:80]!r}",
            todo=f"use 1 to {LABEL_CHARACTERS_MAX} letters, digits, blanks, dots, dashes",
        )
    return text
