"""The one set of filters: API, command line, pages, exports, destinations.

A record matches when each filter that is set matches. A call matches when `since`, `until`, `pbx`, `sn`, `call_id`,
`status`, `type`, `min_talk_duration`, `max_talk_duration` match the call itself, and each of `number`, `call_from`,
`call_to`, `trunk`, `did_number`, `extra` that is set matches at least one of its legs.

`call_filter` applies to whole calls (`cdr/call_filter.py`); `scope` is what the user may see at all
(`cdr/access_scope.py`) and is never set from user input. `parties` takes the place of the filters on numbers for
readers who see masked ones (`cdr/party_filter.py`).
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import ABANDONED, ANSWERED, BUSY, FAILED, NO_ANSWER, VOICEMAIL, fold_word
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.extra_filter import ExtraFilter
from onhook.cdr.identity import extract_number
from onhook.cdr.party_filter import PartyCondition
from onhook.cdr.party_groups import reject_group_filter
from onhook.cdr.record import Call, Record
from onhook.lib.errors import UsageError, _

_TEXT_FILTERS = ("pbx", "sn", "call_id", "number", "call_from", "call_to", "status", "type", "trunk", "did_number")
_DURATION_FILTERS = ("min_talk_duration", "max_talk_duration")
FILTER_NAMES: tuple[str, ...] = ("since", "until", *_TEXT_FILTERS, *_DURATION_FILTERS, "extra")

TEXT_CHARACTERS_MAX = 200
"""No number, name or id is longer; a longer filter is a mistake or an attack."""

DURATION_DIGITS_MAX = 9
"""Some thirty years of talk: more is a mistake."""

KNOWN_STATUSES = (ANSWERED, NO_ANSWER, BUSY, FAILED, VOICEMAIL, ABANDONED)
"""Known values (yeastar-p-series.md 2.2). Others are legal, and found in the same way."""

KNOWN_TYPES = ("Internal", "Inbound", "Outbound")
"""Known values (yeastar-p-series.md 2.2), as those of the status."""

_NO_STATUSES = frozenset(fold_word(word) for word in ("missed", "unanswered", "not answered"))
"""Words for a call that was not answered. No PBX reports them: they match nothing, or negated everything."""

_RELATIVE_TIME = re.compile(r"([0-9]{1,4})([mhdw])")
_RELATIVE_TIME_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter on records or calls; None is no limit.

    `since` is included and `until` is not; both are aware and compared with `started_at`. Numbers are compared by
    `extract_number`, `status` and `type` by `fold_word`, other texts exactly. `status` and `type` may list several
    values, joined by commas; a `!` in front negates the list: `BUSY,FAILED`, `!ANSWERED`. Talk durations are in whole
    seconds, both limits included; an unknown talk duration matches neither. `extra` is the text of an `ExtraFilter`.
    """

    since: datetime | None = None
    until: datetime | None = None
    pbx: str | None = None
    sn: str | None = None
    call_id: str | None = None
    number: str | None = None
    call_from: str | None = None
    call_to: str | None = None
    status: str | None = None
    type: str | None = None
    trunk: str | None = None
    did_number: str | None = None
    min_talk_duration: int | None = None
    max_talk_duration: int | None = None
    extra: str | None = None
    call_filter: CallFilter | None = None
    scope: AccessScope | None = None
    parties: tuple[PartyCondition, ...] | None = None

    def matches(self, record: Record) -> bool:
        """Return whether the record matches, without `call_filter`, which needs the whole call: see `matches_call`."""
        assert self.call_filter is None
        return (
            self._matches_common(record)
            and self._matches_leg(record)
            and all(condition.matches_leg(record) for condition in self.parties or ())
            and (self.scope is None or self.scope.allows_record(record))
        )

    def matches_call(self, call: Call) -> bool:
        """Return whether the call matches."""
        return (
            self._matches_common(call)
            and all(
                any(RecordFilter(**{name: value})._matches_leg(leg) for leg in call.legs)
                for name in ("number", "call_from", "call_to", "trunk", "did_number", "extra")
                if (value := getattr(self, name)) is not None
            )
            and (self.call_filter is None or self.call_filter.matches(call))
            and all(condition.matches_call(call) for condition in self.parties or ())
            and (self.scope is None or self.scope.allows_call(call))
        )

    def _matches_common(self, record_or_call: Record | Call) -> bool:
        """Return whether the filters match that apply to records and calls alike."""
        return (
            (self.since is None or record_or_call.started_at >= self.since)
            and (self.until is None or record_or_call.started_at < self.until)
            and (self.pbx is None or record_or_call.pbx == self.pbx)
            and (self.sn is None or record_or_call.sn == self.sn)
            and (self.call_id is None or record_or_call.call_id == self.call_id)
            and (self.status is None or WordFilter.parse(self.status).matches(record_or_call.status))
            and (self.type is None or WordFilter.parse(self.type).matches(record_or_call.type))
            and self._matches_talk_duration(record_or_call.talk_duration)
        )

    def _matches_talk_duration(self, talk_duration: int | None) -> bool:
        minimum, maximum = self.min_talk_duration, self.max_talk_duration
        if minimum is None and maximum is None:
            return True
        return (
            talk_duration is not None
            and (minimum is None or talk_duration >= minimum)
            and (maximum is None or talk_duration <= maximum)
        )

    def _matches_leg(self, leg: Record) -> bool:
        """Return whether the filters match that any leg of a call can satisfy."""
        call_from, call_to = extract_number(leg.call_from), extract_number(leg.call_to)
        return (
            (self.number is None or extract_number(self.number) in (call_from, call_to))
            and (self.call_from is None or extract_number(self.call_from) == call_from)
            and (self.call_to is None or extract_number(self.call_to) == call_to)
            and (self.trunk is None or self.trunk in (leg.src_trunk_name, leg.dst_trunk_name))
            and (self.did_number is None or self.did_number == leg.did_number)
            and (self.extra is None or ExtraFilter.parse(self.extra).matches(leg.extra))
        )


class WordFilter(msgspec.Struct, frozen=True):
    """A filter on `status` or `type`: one of these words, folded, or none of them."""

    words: tuple[str, ...]
    is_negated: bool

    @classmethod
    def parse(cls, text: str) -> "WordFilter":
        """Parse a list of words.

        >>> WordFilter.parse("! no answer,Busy")
        WordFilter(words=('NOANSWER', 'BUSY'), is_negated=True)
        """
        stripped = text.strip()
        is_negated = stripped.startswith("!")
        return cls(
            tuple(fold_word(word) for word in re.split("[,\N{ARABIC COMMA}]", stripped.removeprefix("!"))), is_negated
        )

    def matches(self, text: str) -> bool:
        """Return whether a `status` or `type` matches."""
        return (fold_word(text) in self.words) is not self.is_negated


def parse_filter(parameters: Mapping[str, str], zone: ZoneInfo, now: datetime) -> RecordFilter:
    """Parse filters from texts; empty texts are ignored.

    `since` and `until` have the formats of `parse_time`. Raises `UsageError` naming the filter and its valid values.
    """
    unknown_names = sorted(set(parameters) - set(FILTER_NAMES))
    if unknown_names:
        raise UsageError(
            _("unknown filter {name!r}", name=unknown_names[0]),
            hint=_("use one of {choices}", choices=", ".join(FILTER_NAMES)),
        )
    texts = {name: value.strip() for name, value in parameters.items() if value.strip()}
    for name, value in texts.items():
        if len(value) > TEXT_CHARACTERS_MAX:
            raise UsageError(
                _("{name} is longer than {limit} characters", name=name, limit=TEXT_CHARACTERS_MAX),
                hint=_("shorten it"),
                parameter=name,
            )
    values: dict[str, Any] = {name: _PARSERS[name](name, text, zone, now) for name, text in texts.items()}
    return RecordFilter(**values)


def parse_time(text: str, zone: ZoneInfo, now: datetime, *, name: str = "time") -> datetime:
    """Parse an ISO 8601 date or time (in `zone` unless it has an offset), `now`, `today`, `yesterday`, or `30m`, `12h`,
    `7d`, `2w` ago. A date, and a day that many days or weeks ago, is its first second in `zone`. The result is aware,
    in UTC. Raises `UsageError`.
    """
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if text in ("now", "today", "yesterday"):
        day = midnight if text == "today" else midnight - timedelta(days=1)
        return now if text == "now" else day.replace(tzinfo=zone).astimezone(UTC)
    try:
        if relative := _RELATIVE_TIME.fullmatch(text):
            length = timedelta(**{_RELATIVE_TIME_UNITS[relative[2]]: int(relative[1])})
            # The first day of a period of days is whole: half of one is compared with whole ones.
            is_days = relative[2] in "dw"
            return (midnight - length).replace(tzinfo=zone).astimezone(UTC) if is_days else now - length
        # An unescaped plus sign in a URL arrives as a blank.
        time = datetime.fromisoformat(re.sub(r" (\d\d:\d\d)$", r"+\1", text) if "T" in text else text)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            _("{name} is not a time: {value!r}", name=name, value=text),
            hint=_("write 2026-04-27, 2026-04-27T19:04:36+08:00, today, yesterday or 12h"),
            parameter=name,
        ) from None


def parse_period(since: str, until: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """Parse the two times of a period; an empty `until` is now. Raises `UsageError`, also for an empty period."""
    begin = parse_time(since, zone, now, name="since")
    end = parse_time(until, zone, now, name="until") if until else now
    if begin >= end:
        raise UsageError(_("since is not before until"), hint=_("exchange the two"), parameter="until")
    return begin, end


def _parse_time(name: str, text: str, zone: ZoneInfo, now: datetime) -> datetime:
    return parse_time(text, zone, now, name=name)


def _parse_seconds(name: str, text: str, _zone: ZoneInfo, _now: datetime) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DURATION_DIGITS_MAX):
        raise UsageError(
            _("{name} is not a number of seconds: {value!r}", name=name, value=text),
            hint=_("write whole seconds, such as 30"),
            parameter=name,
        )
    return int(text)


def _parse_status(name: str, text: str, _zone: ZoneInfo, _now: datetime) -> str:
    if not _NO_STATUSES.isdisjoint(WordFilter.parse(text).words):
        raise UsageError(
            _("no call has the status {value!r}", value=text),
            hint=_("write !answered for calls that were not answered"),
            parameter=name,
        )
    return text


def _parse_extra(_name: str, text: str, _zone: ZoneInfo, _now: datetime) -> str:
    ExtraFilter.parse(text)
    return text


def _parse_text(_name: str, text: str, _zone: ZoneInfo, _now: datetime) -> str:
    return text


def _parse_party(name: str, text: str, _zone: ZoneInfo, _now: datetime) -> str:
    reject_group_filter(name, text)
    return text


_PARSERS: Mapping[str, Callable[[str, str, ZoneInfo, datetime], Any]] = {
    **dict.fromkeys(_TEXT_FILTERS, _parse_text),
    **dict.fromkeys(("number", "call_from", "call_to"), _parse_party),
    **dict.fromkeys(_DURATION_FILTERS, _parse_seconds),
    "status": _parse_status,
    "extra": _parse_extra,
    "since": _parse_time,
    "until": _parse_time,
}
