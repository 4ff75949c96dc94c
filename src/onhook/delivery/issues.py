"""What a person should know of a subscription that does not fare well, in words, and what to do. Pure.

Laws: no address and no secret is in it; what passes by itself within minutes is nobody's business.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.appdb.deliveries import Backlog
from onhook.appdb.destinations import Subscription

PlightKind = Literal["disabled", "full", "failing", "parked"]

FAILING_TOLD_AFTER = timedelta(minutes=5)
"""An application that is restarted or upgraded is back by then, as a rule."""


class Plight(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a subscription, as a sentence, and what to do about it."""

    subscription_id: int
    name: str
    kind: PlightKind
    what: str
    todo: str


def plights_of(one: Subscription, backlog: Backlog, now: datetime) -> list[Plight]:
    """All that is wrong with it, the gravest first; nothing of one that a person has paused but what is parked."""
    found: list[tuple[PlightKind, str, str]] = []
    if one.state == "disabled":
        todo = f"mend the application, then `onhook subscribe resume {one.name}`"
        found.append(("disabled", f"{one.name} is disabled: {one.reason}", todo))
    if one.state == "active" and backlog.is_full:
        what = f"{one.name} is full: {backlog.waiting + backlog.parked:,} events wait or are parked, and none is added"
        found.append(("full", what, f"`onhook subscribe retry {one.name}`, or `drop` those that nobody misses"))
    if one.state == "active" and one.failing_since is not None and now - one.failing_since >= FAILING_TOLD_AFTER:
        what = f"{one.name} has taken nothing since {one.failing_since:%Y-%m-%d %H:%M} UTC"
        found.append(("failing", what, f"look at the application; `onhook subscribe test {one.name}` shows its answer"))
    if backlog.parked:
        todo = f"`onhook subscribe deliveries {one.name} --state parked` says why, `onhook subscribe retry {one.name}`"
        found.append(("parked", f"{counted(backlog.parked, 'event')} parked for {one.name}", f"{todo} tries again"))
    return [
        Plight(subscription_id=one.subscription_id, name=one.name, kind=kind, what=what, todo=todo)
        for kind, what, todo in found
    ]


def counted(count: int, noun: str) -> str:
    """So many, as a sentence about them begins.

    >>> counted(1, "event"), counted(1_200, "event")
    ('1 event is', '1,200 events are')
    """
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def all_plights(subscriptions: Iterable[Subscription], backlogs: Mapping[int, Backlog], now: datetime) -> list[Plight]:
    """Those of all of them, in their order."""
    return [
        plight for one in subscriptions for plight in plights_of(one, backlogs.get(one.subscription_id, Backlog()), now)
    ]


class PlightLog:
    """Tells each plight once when it begins and once when it is over."""

    def __init__(self) -> None:
        self._going_on: dict[tuple[int, PlightKind], Plight] = {}

    def news(self, plights: Iterable[Plight]) -> tuple[list[Plight], list[Plight]]:
        """Those that are new, and those that are over."""
        now = {(one.subscription_id, one.kind): one for one in plights}
        begun = [one for key, one in now.items() if key not in self._going_on]
        over = [one for key, one in self._going_on.items() if key not in now]
        self._going_on = now
        return begun, over
