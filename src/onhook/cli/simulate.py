"""`onhook simulate`: a made-up office whose PBX posts real signed webhooks."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from onhook.cdr.filter import parse_moment
from onhook.cdr.offset import zone_named
from onhook.clock import SystemClock
from onhook.errors import NotAllowed, Unavailable
from onhook.simulator.books import NO_ANSWER
from onhook.simulator.faults import Faults, parse_faults
from onhook.simulator.plan import SimulationPlan, SimulationResult
from onhook.simulator.sender import Progress
from onhook.simulator.sender import simulate as send

app = typer.Typer(add_completion=False)

UNAUTHORIZED = "401"
"""What a receiver answers to a stranger, or to a wrong signature."""


@app.command(
    epilog="Example: onhook simulate --to http://127.0.0.1:30012/ --sn 3631A2124ABC --secret SECRET --count 99"
)
def simulate(
    *,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The receiver's webhook.")],
    sn: Annotated[str, typer.Option("--sn", metavar="SN", help="Serial number of the made-up PBX.")],
    secret: Annotated[
        str, typer.Option("--secret", metavar="SECRET", help="What it signs with.", show_default="unsigned")
    ] = "",
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Reports per second.", show_default="as fast as it goes")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", help="Reports to make.", show_default="no end")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed makes the same calls.")] = 1,
    profile: Annotated[
        str, typer.Option("--profile", help="The generation of PBX: p-2023, p-2025, p-2026, doc, object.")
    ] = "p-2026",
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="Where the office is.")] = "Europe/Berlin",
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="Make up the past from then on.", show_default="now")
    ] = None,
    calls_per_day: Annotated[int, typer.Option("--calls-per-day", metavar="N", min=1, help="How busy it is.")] = 200,
    connections: Annotated[int, typer.Option("--connections", metavar="N", help="Open at once.")] = 8,
    faults: Annotated[
        str, typer.Option("--faults", metavar="FAULTS", help="What goes wrong, such as late=0.1,doubled=0.2,lost=0.01.")
    ] = "",
    duplicates: Annotated[
        float | None, typer.Option("--duplicates", metavar="P", help="Share sent twice.", show_default=False)
    ] = None,
    reorder: Annotated[
        int | None, typer.Option("--reorder", metavar="N", help="How many others may overtake one.", show_default=False)
    ] = None,
    malformed: Annotated[
        float | None, typer.Option("--malformed", metavar="P", help="Share that is unreadable.", show_default=False)
    ] = None,
    acked: Annotated[
        Path | None,
        typer.Option("--acked", metavar="FILE", help="Write a line per acknowledged record.", show_default=False),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="FILE", help="Write a line per record made.", show_default=False)
    ] = None,
) -> None:
    """Send a made-up office's calls to a receiver, as a PBX does. Fails when a report was not acknowledged."""
    clock = SystemClock()
    plan = SimulationPlan(
        url=to,
        sn=sn,
        secret=secret,
        profile=profile,
        seed=seed,
        zone=zone,
        rate=rate,
        count=count,
        start=parse_moment(start, zone_named(zone), clock.now(), name="start") if start else None,
        calls_per_day=calls_per_day,
        connections=connections,
        faults=_faults(faults, duplicates, reorder, malformed),
        acked=acked,
        truth=truth,
    )
    told = _Told()
    with _progress(told) as tell, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_send(plan, clock, tell))
    _summarise(told.latest)
    _check_was_heard(told.latest, plan)
    raise typer.Exit(1 if told.latest.given_up else 0)


class _Told:
    """What came of it so far."""

    def __init__(self) -> None:
        self.latest = SimulationResult()


async def _send(plan: SimulationPlan, clock: SystemClock, tell: Progress) -> None:
    await send(plan, clock, tell)


def _faults(text: str, duplicates: float | None, reorder: int | None, malformed: float | None) -> Faults:
    """The short options say more than the long text."""
    given = {"doubled": duplicates, "reordered": reorder, "malformed": malformed}
    return msgspec.structs.replace(
        parse_faults(text), **{name: value for name, value in given.items() if value is not None}
    )


@contextlib.contextmanager
def _progress(told: _Told) -> Iterator[Progress]:
    """The figures so far, on a terminal; nothing in a pipe."""
    console = Console(stderr=True)

    def tell(result: SimulationResult) -> None:
        told.latest = result
        if console.is_terminal:
            console.print(
                f"{result.made} made, {result.acknowledged} acknowledged, {result.given_up} given up", end="\r"
            )

    yield tell
    if console.is_terminal:
        console.print(" " * 80, end="\r")


def _check_was_heard(result: SimulationResult, plan: SimulationPlan) -> None:
    """Raises what a person should do, where every answer was the same refusal."""
    if set(result.answers) == {NO_ANSWER}:
        raise Unavailable("nobody answers", where=plan.url, todo="start `onhook serve`, or give its address with --to")
    if set(result.answers) == {UNAUTHORIZED}:
        raise NotAllowed(
            "every report was refused with 401",
            where=plan.url,
            todo=f"declare the PBX with `onhook pbx add NAME --sn {plan.sn} --secret SECRET`, or compare the secrets",
        )


def _summarise(result: SimulationResult) -> None:
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(result.answers.items())) or "none"
    per_second = result.acknowledged / result.seconds if result.seconds else 0
    print(f"records    {result.made} made, {result.lost} lost on purpose, {result.malformed} malformed")
    print(f"answers    {answers}")
    print(f"outcome    {result.acknowledged} acknowledged, {result.given_up} given up, {result.repeats} repeats")
    print(f"time       {result.seconds:.1f} s, {per_second:.0f} acknowledged per second")
