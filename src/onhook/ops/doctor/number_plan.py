"""Health check of the number plan of an Asterisk: queues and ring groups in its calls that the plan does not have."""

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from onhook.appdb.pbxs import Pbx
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import CALLEE_KIND, extract_number
from onhook.cdr.number_plan import LegKind, NumberPlan
from onhook.config import Config
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _
from onhook.ops.doctor.check import Check
from onhook.ops.engines import LedgerOpener
from onhook.ops.ledger_reading import read_latest_bodies
from onhook.pbx.registry import dialects

CALLS_MAX = 1_000
"""Latest calls that are looked at: some seconds of parsing at most; a queue in use is in one of them."""

NUMBERS_MAX = 20
"""Numbers of one kind in a sentence and a command; after they are added the next ones are named."""

OPTIONS: Mapping[LegKind, str] = {"queue": "--queue", "ring_group": "--ring-group"}
"""The kinds whose number a call may have as the one who answered, and the option of the command that sets them."""


async def check_number_plan(config: Config, open_ledger: LedgerOpener, pbx: Pbx) -> Check:
    """Return whether the number plan has the queues and ring groups of the latest calls."""
    try:
        bodies = await read_latest_bodies(config, open_ledger, pbx.sn, pbx.dialect, CALLS_MAX)
    except OnhookError as error:
        return Check("WARNING", error.message, error.hint)
    return await asyncio.to_thread(_check_bodies, pbx, bodies)


def _check_bodies(pbx: Pbx, bodies: Sequence[bytes]) -> Check:
    missing_numbers = find_missing_numbers(_parse(pbx.dialect, bodies), pbx.number_plan)
    if not missing_numbers:
        return Check("OK", _("the number plan has all queues and ring groups of the latest calls"))
    options = " ".join(
        f"{OPTIONS[kind]} {shlex.quote(','.join([*getattr(pbx.number_plan, kind), *numbers]))}"
        for kind, numbers in missing_numbers.items()
    )
    return Check(
        "WARNING",
        _("the number plan lacks {numbers}", numbers="; ".join(_describe(*item) for item in missing_numbers.items())),
        f"onhook pbx change {shlex.quote(pbx.name)} {options}",
    )


def find_missing_numbers(legs: Iterable[CallDetails], plan: NumberPlan) -> Mapping[LegKind, Sequence[str]]:
    """Return the numbers of queues and ring groups, as the PBX reports them, that the plan takes for something else; in
    order, at most NUMBERS_MAX of each kind.
    """
    numbers_by_kind: dict[LegKind, set[str]] = {}
    for leg in legs:
        number = extract_number(leg.call_to)
        for kind in OPTIONS:
            is_reported = bool(leg.extra) and leg.extra.get(CALLEE_KIND) == kind
            if is_reported and number.isascii() and number.isdigit() and plan.kind_of(number) != kind:
                numbers_by_kind.setdefault(kind, set()).add(number)
    return {
        kind: list(islice(sorted(numbers_by_kind[kind]), NUMBERS_MAX)) for kind in OPTIONS if kind in numbers_by_kind
    }


def _parse(dialect_name: str, bodies: Iterable[bytes]) -> Iterable[CallDetails]:
    """Yield the legs of all bodies that can be parsed; the others are in the quarantine, which another check names."""
    dialect = dialects()[dialect_name]
    for body in bodies:
        try:
            yield from dialect.parse(body)
        except OnhookError:
            continue


def _describe(kind: LegKind, numbers: Sequence[str]) -> str:
    values = {"numbers": ", ".join(numbers)}
    return _("the queues {numbers}", **values) if kind == "queue" else _("the ring groups {numbers}", **values)
