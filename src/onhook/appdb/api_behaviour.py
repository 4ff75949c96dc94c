"""Behaviour of the PBX API that an app uses: what differs between PBXs, firmwares and settings."""

import re
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import msgspec

from onhook.appdb.destination_spec import PayloadFormat
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

DateFormat = Literal["YYYY/MM/DD", "MM/DD/YYYY", "DD/MM/YYYY"]
TimeFormat = Literal["24", "12"]
TimeForm = Literal["seconds", "display", "no-rows-for-seconds"]
ApiVersion = Literal["v1.0", "v2.0"]

DATE_FORMATS: tuple[DateFormat, ...] = get_args(DateFormat)
TIME_FORMATS: tuple[TimeFormat, ...] = get_args(TimeFormat)
TIME_FORMS: tuple[TimeForm, ...] = get_args(TimeForm)
API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)
PAYLOAD_FORMATS: tuple[PayloadFormat, ...] = get_args(PayloadFormat)

LABEL_CHARACTERS_MAX = 40
"""Of a firmware or a model: the longest known has 12."""

ChoiceT = TypeVar("ChoiceT", bound=str)

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


class ApiBehaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What a PBX's own pages set, and what depends on its firmware (yeastar-p-series.md 7.1 and 7.2).

    `time_forms` are the accepted forms of `start_time` and `end_time`: Unix seconds, the display format; with
    `no-rows-for-seconds` a PBX accepts seconds and returns no rows, as one firmware does. `payload_format` is the
    generation whose event a socket receives.
    """

    date_format: DateFormat = "YYYY/MM/DD"
    time_format: TimeFormat = "24"
    time_forms: tuple[TimeForm, ...] = ("seconds", "display")
    versions: tuple[ApiVersion, ...] = ("v1.0", "v2.0")
    firmware: str = "37.23.0.123"
    model: str = "P570"
    payload_format: PayloadFormat = "p-2026"


def parse_behaviour(
    *,
    date_format: str | None = None,
    time_format: str | None = None,
    time_forms: str | None = None,
    versions: str | None = None,
    firmware: str | None = None,
    model: str | None = None,
    payload_format: str | None = None,
) -> ApiBehaviour:
    """Return the behaviour described by texts, lists separated by commas; None means the default.

    Raises `UsageError` naming the invalid value.
    """
    defaults = ApiBehaviour()
    return ApiBehaviour(
        date_format=defaults.date_format
        if date_format is None
        else _parse_choice("date_format", date_format, DATE_FORMATS),
        time_format=defaults.time_format
        if time_format is None
        else _parse_choice("time_format", time_format, TIME_FORMATS),
        time_forms=defaults.time_forms if time_forms is None else _parse_choices("time_forms", time_forms, TIME_FORMS),
        versions=defaults.versions if versions is None else _parse_choices("versions", versions, API_VERSIONS),
        firmware=defaults.firmware if firmware is None else _validate_label("firmware", firmware),
        model=defaults.model if model is None else _validate_label("model", model),
        payload_format=defaults.payload_format
        if payload_format is None
        else _parse_choice("payload_format", payload_format, PAYLOAD_FORMATS),
    )


def validate_behaviour(behaviour: ApiBehaviour) -> ApiBehaviour:
    """Return the behaviour if its labels can be shown and it has a form of time and a version. Raises `UsageError`."""
    _validate_label("firmware", behaviour.firmware)
    _validate_label("model", behaviour.model)
    if not behaviour.time_forms or not behaviour.versions:
        raise UsageError(_("a PBX needs at least one form of time and one version"), hint=_("name one of each"))
    return behaviour


def _parse_choice(name: str, text: str, choices: Sequence[ChoiceT]) -> ChoiceT:
    for choice in choices:
        if text.strip().lower() == choice.lower():
            return choice
    raise UsageError(
        _("invalid {name}: {text}", name=name, text=repr(text[:80])),
        hint=_("use one of {choices}", choices=", ".join(choices)),
    )


def _parse_choices(name: str, text: str, choices: Sequence[ChoiceT]) -> tuple[ChoiceT, ...]:
    selection = {_parse_choice(name, part, choices) for part in text.split(",")}
    return tuple(choice for choice in choices if choice in selection)


def _validate_label(name: str, text: str) -> str:
    if len(text) > LABEL_CHARACTERS_MAX or not _LABEL.fullmatch(text):
        raise UsageError(
            _("invalid {name}: {text}", name=name, text=repr(text[:80])),
            hint=_("use 1 to {maximum} letters, digits, blanks, dots, dashes", maximum=LABEL_CHARACTERS_MAX),
        )
    return text
