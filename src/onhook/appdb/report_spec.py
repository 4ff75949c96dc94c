"""What a scheduled report is: of which report, when, to whom, and with which files. Pure.

Invariants: a spec that was accepted has known filters only, and none of a period: the schedule sets that.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.pbxs import validate_zone
from onhook.cdr.call_filter import CALL_FILTER_NAMES, SEARCH_NAMES, parse_call_filter
from onhook.cdr.party_groups import split_group_filters
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, parse_filter
from onhook.lib.errors import UsageError
from onhook.lib.mail_addresses import parse_address
from onhook.lib.messages import _
from onhook.lib.recurrence import Frequency, Recurrence

FileFormat = Literal["csv", "csv-comma", "csv-semicolon", "xlsx", "pdf"]
"""`csv-comma` and `csv-semicolon` are CSV for Excel, with that separator."""

FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
FREQUENCIES: tuple[Frequency, ...] = get_args(Frequency)

ADDRESSES_MAX = 20
"""Each is a mail of its own, with its files; an address that distributes mails reaches more people."""

QUERY_CHARACTERS_MAX = 2_000
"""As of a saved search."""

REPORT_CHARACTERS_MAX = 40

CALLS_REPORT = "calls"
"""The list of calls, of which alone some outcomes can be chosen: other reports count all."""

QUERY_NAMES = (
    *(name for name in (*FILTER_NAMES, *SEARCH_NAMES) if name not in ("since", "until")),
    *("by", "group_by"),
)
"""Parameters of pages that a schedule has: filters without a period, and how a report is divided."""

_CHOICES = {"by": ("hour", "day", "week", "month"), "group_by": ("department", "site")}
"""Values of the parameters that divide a report."""


class ReportSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report` is the name of a report, `query` the filters as in the address of its page. It is sent to the address of
    the user with `to_user`, and to `addresses`; as a mail with `files`.
    """

    report: str
    query: str = ""
    recurrence: Recurrence = Recurrence()
    to_user: bool = True
    addresses: Sequence[str] = ()
    files: Sequence[FileFormat] = ()

    @property
    def filters(self) -> Mapping[str, str]:
        """Return the filters as texts."""
        return dict(parse_qsl(self.query))


def validate_report_spec(spec: ReportSpec, reports: Sequence[str], now: datetime) -> ReportSpec:
    """Return a spec whose report is one of `reports`, with texts as they are stored. Raises `UsageError`."""
    if spec.report not in reports:
        raise UsageError(
            _("there is no report {name}", name=repr(spec.report[:REPORT_CHARACTERS_MAX])),
            location="report",
            hint=_("use one of {kinds}", kinds=", ".join(reports)),
        )
    recurrence = validate_recurrence(spec.recurrence)
    spec = msgspec.structs.replace(
        spec,
        query=_validate_query(spec.report, spec.query, ZoneInfo(recurrence.zone), now),
        recurrence=recurrence,
        addresses=_validate_addresses(spec.addresses),
        files=tuple(name for name in FILE_FORMATS if name in spec.files),
    )
    if not spec.to_user and not spec.addresses:
        raise UsageError(_("the report has no recipient"), location="to_user", hint=_("name an address"))
    return spec


def validate_recurrence(recurrence: Recurrence) -> Recurrence:
    """Return when it is due, without the numbers that its frequency does not have. Raises `UsageError`."""
    limits = {"hour": (0, 23), "weekday": (1, 7), "day": (1, 31)}
    for name, (minimum, maximum) in limits.items():
        if not minimum <= getattr(recurrence, name) <= maximum:
            raise UsageError(
                _("{name} is {minimum} to {maximum}", name=name, minimum=minimum, maximum=maximum), location=name
            )
    return Recurrence(
        frequency=recurrence.frequency,
        hour=recurrence.hour,
        weekday=recurrence.weekday if recurrence.frequency == "weekly" else 1,
        day=recurrence.day if recurrence.frequency == "monthly" else 1,
        zone=validate_zone(recurrence.zone.strip()) or "UTC",
    )


def make_report_query(texts: Mapping[str, str]) -> str:
    """Return the query of a schedule from the parameters of a page: without its period, and empty ones."""
    return urlencode({name: texts[name] for name in QUERY_NAMES if texts.get(name)})


def _validate_query(report: str, query: str, zone: ZoneInfo, now: datetime) -> str:
    """Return filters as a query. Raises `UsageError` for an unknown one, or an invalid value."""
    pairs = parse_qsl(query.strip().removeprefix("?"))
    texts = dict(pairs)
    for name in texts:
        if name not in QUERY_NAMES:
            raise UsageError(
                _("there is no filter {name}", name=repr(name[:80])),
                location="query",
                hint=_("use some of {names}; the schedule sets the period", names=", ".join(QUERY_NAMES)),
            )
    if "status" in texts and report != CALLS_REPORT:
        raise UsageError(_("a report counts every outcome"), location="query", hint=_("leave status out"))
    for name, values in _CHOICES.items():
        if name in texts and texts[name] not in values:
            raise UsageError(
                _("{name} cannot be {value}", name=name, value=repr(texts[name][:40])),
                location="query",
                hint=_("use one of {values}", values=", ".join(values)),
            )
    canonical = make_report_query(texts)
    if len(texts) != len(pairs) or len(canonical) > QUERY_CHARACTERS_MAX:
        raise UsageError(_("the filters are too long, or repeated"), location="query", hint=_("write each once"))
    if any(len(text) > TEXT_CHARACTERS_MAX or not text.isprintable() for text in texts.values()):
        raise UsageError(_("a filter is too long, or has control characters"), location="query", hint=_("correct it"))
    plain_texts, _groups = split_group_filters(texts)
    parse_filter({name: text for name, text in plain_texts.items() if name in FILTER_NAMES}, zone, now)
    parse_call_filter({name: text for name, text in plain_texts.items() if name in CALL_FILTER_NAMES}, zone)
    return canonical


def _validate_addresses(texts: Sequence[str]) -> tuple[str, ...]:
    """Return each address once. Raises `UsageError`."""
    addresses = {address.casefold(): address for text in texts for address in [parse_address(text, "addresses")]}
    if len(addresses) > ADDRESSES_MAX:
        raise UsageError(
            _("a report has at most {maximum} addresses", maximum=ADDRESSES_MAX),
            location="addresses",
            hint=_("use an address that distributes mails"),
        )
    return tuple(addresses.values())
