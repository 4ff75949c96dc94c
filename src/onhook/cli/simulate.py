"""`onhook simulate`: a simulated office whose PBX posts real signed webhooks, and serves its API."""

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from onhook.cdr.record_filter import parse_time
from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.options import option_with_default, print_note
from onhook.cli.pbx_secrets import SecretFileOption, read_secret_option
from onhook.config import parse_address
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotAllowed, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.runtime.simulated_pbx import SimulatedApiConfig, open_simulated_pbx
from onhook.simulator.fault_injection import Faults, parse_faults
from onhook.simulator.office_plan import DEMO_EVENTS_PER_SECOND, SimulationPlan, SimulationResult
from onhook.simulator.results import NO_RESPONSE
from onhook.simulator.sender import SimulationProgressCallback
from onhook.simulator.sender import simulate as run_simulation

app = CommandGroup(add_completion=False)

ReceiverUrlOption = Annotated[
    str,
    option_with_default(
        "--to",
        metavar="URL",
        help_text=_(
            "URL of the receiver; tcp://HOST:PORT or tcp-listen://HOST:PORT for lines, file:///FOLDER for files"
        ),
        default="none, with --pbx-api",
    ),
]
SnOption = Annotated[str, typer.Option("--sn", metavar="SN", help=_("Serial number of the simulated PBX"))]
SecretOption = Annotated[
    str | None, option_with_default("--secret", metavar="SECRET", help_text=_("Its webhook secret"), default="unsigned")
]
RateOption = Annotated[
    float | None,
    option_with_default("--rate", metavar="N", help_text=_("Events per second"), default="as fast as possible"),
]
CountOption = Annotated[
    int | None, option_with_default("--count", metavar="N", help_text=_("Number of events"), default="unlimited")
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help=_("Random seed: the same seed gives the same calls"))
]
PayloadFormatOption = Annotated[
    str,
    typer.Option(
        "--payload-format",
        help=_(
            "Event format: p-2023, p-2025, p-2026, doc, object, flat, ucm-json, ucm-xml, fs-json, fs-values, fs-form,"
            " fs-base64, fs-xml, fs-xml-form; of lines 3cx-v18, 3cx-v20, 3cx-v20-new, avaya-smdr; of files cucm-csv"
        ),
    ),
]
OfficeZoneOption = Annotated[str, typer.Option("--zone", metavar="ZONE", help=_("Time zone of the office"))]
StartOption = Annotated[
    str | None,
    option_with_default("--start", metavar="TIME", help_text=_("Simulate calls since this time"), default="now"),
]
CallsPerDayOption = Annotated[
    int, typer.Option("--calls-per-day", metavar="N", min=1, help=_("Mean calls of a working day"))
]
ConnectionsOption = Annotated[int, typer.Option("--connections", metavar="N", help=_("Concurrent connections"))]
FaultsOption = Annotated[
    str, typer.Option("--faults", metavar="FAULTS", help=_("Faults, such as late=0.1,duplicated=0.2,lost=0.01"))
]
DuplicatesOption = Annotated[
    float | None, typer.Option("--duplicates", metavar="P", help=_("Share of duplicated events"), show_default=False)
]
ReorderOption = Annotated[
    int | None, typer.Option("--reorder", metavar="N", help=_("How many events may overtake one"), show_default=False)
]
MalformedOption = Annotated[
    float | None, typer.Option("--malformed", metavar="P", help=_("Share of malformed events"), show_default=False)
]
AckedOption = Annotated[
    Path | None,
    typer.Option("--acked", metavar="FILE", help=_("File with a line per acknowledged record"), show_default=False),
]
TruthOption = Annotated[
    Path | None, typer.Option("--truth", metavar="FILE", help=_("File with a line per record"), show_default=False)
]
PbxApiOption = Annotated[
    str | None,
    option_with_default("--pbx-api", metavar="HOST:PORT", help_text=_("Address of its own API"), default="nowhere"),
]
ClientIdOption = Annotated[
    str, typer.Option("--client-id", metavar="ID", help=_("Client id of its API"), show_default=False)
]
ClientSecretOption = Annotated[
    str, typer.Option("--client-secret", metavar="SECRET", help=_("Client secret of its API"), show_default=False)
]
PlainOption = Annotated[bool, typer.Option("--pbx-api-plain", help=_("HTTP, without TLS"))]
CertificateOption = Annotated[
    Path | None,
    option_with_default(
        "--certificate", metavar="FILE", help_text=_("Certificate of its API"), default="generated beside --truth"
    ),
]
KeyOption = Annotated[
    Path | None,
    option_with_default(
        "--key", metavar="FILE", help_text=_("Key of the certificate"), default="generated beside --truth"
    ),
]

UNAUTHORIZED = "401"
"""Responses of a receiver to an unknown PBX, or to an invalid signature."""


@app.command(
    epilog="Example: onhook simulate --to http://127.0.0.1:30012/ --sn 3631A2124ABC --secret SECRET --count 99"
)
async def simulate(
    *,
    receiver_url: ReceiverUrlOption = "",
    sn: SnOption,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    rate: RateOption = None,
    count: CountOption = None,
    seed: SeedOption = 1,
    payload_format: PayloadFormatOption = "p-2026",
    zone: OfficeZoneOption = "Europe/Berlin",
    start: StartOption = None,
    calls_per_day: CallsPerDayOption = 200,
    connections: ConnectionsOption = 8,
    faults: FaultsOption = "",
    duplicates: DuplicatesOption = None,
    reorder: ReorderOption = None,
    malformed: MalformedOption = None,
    acked: AckedOption = None,
    truth: TruthOption = None,
    pbx_api: PbxApiOption = None,
    client_id: ClientIdOption = "",
    client_secret: ClientSecretOption = "",
    pbx_api_plain: PlainOption = False,
    certificate: CertificateOption = None,
    key: KeyOption = None,
) -> None:
    """Send the calls of a simulated office to a receiver, like a PBX. Fails when an event was not acknowledged.

    With --pbx-api the PBX has its own API too, until stopped.
    """
    clock = SystemClock()
    api_config = _build_api_config(pbx_api, client_id, client_secret, pbx_api_plain, certificate, key, truth)
    plan = SimulationPlan(
        url=receiver_url,
        sn=sn,
        secret=read_secret_option(secret, secret_file) or "",
        payload_format=payload_format,
        seed=seed,
        zone=zone,
        # Without a receiver calls have the rate of the demo.
        rate=rate if rate is not None or receiver_url or start else DEMO_EVENTS_PER_SECOND,
        count=count,
        start=parse_time(start, get_zone(zone), clock.now(), name="start") if start else None,
        continues_live=api_config is not None,
        calls_per_day=calls_per_day,
        connections=connections,
        faults=_faults(faults, duplicates, reorder, malformed),
        acked_path=acked,
        truth_path=truth,
    )
    latest = _LatestResult()
    with _progress(latest) as on_progress, contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        await _run(plan, api_config, clock, on_progress)
    _print_summary(latest.result, plan)
    if plan.start is not None and plan.count is not None and latest.result.records < plan.count:
        print_note(_("only these calls have ended since {start}: give an earlier --start for more", start=start))
    _check_acknowledged(latest.result, plan)
    raise typer.Exit(1 if latest.result.failed else 0)


class _LatestResult:
    """The result so far."""

    def __init__(self) -> None:
        self.result = SimulationResult()


async def _run(
    plan: SimulationPlan,
    api_config: SimulatedApiConfig | None,
    clock: SystemClock,
    on_progress: SimulationProgressCallback,
) -> None:
    """Send all events; then, with an API, serve it until stopped."""
    if api_config is None:
        await run_simulation(plan, clock, on_progress)
        return
    # As Ctrl-C, so that the temporary store is deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    async with open_simulated_pbx(plan, api_config, clock) as simulated_pbx:
        scheme = "http" if api_config.is_plain else "https"
        print(
            _(
                "PBX API: {scheme}://{address}/openapi/v1.0/ until stopped by Ctrl-C.",
                scheme=scheme,
                address=simulated_pbx.address,
            ),
            flush=True,
        )
        await run_simulation(plan, clock, on_progress, simulated_pbx.observer)
        finished_tasks, _unused = await asyncio.wait(simulated_pbx.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in finished_tasks:
            task.result()


def _build_api_config(  # noqa: PLR0917 - the options, in their order
    pbx_api: str | None,
    client_id: str,
    client_secret: str,
    is_plain: bool,
    certificate: Path | None,
    key: Path | None,
    truth: Path | None,
) -> SimulatedApiConfig | None:
    """Return the configuration of the API; None without it. The certificate is beside --truth unless it is named."""
    if pbx_api is None:
        return None
    if (certificate is None) != (key is None):
        raise UsageError(_("a certificate and its key are given together"), hint=_("give both, or neither"))
    directory = truth.parent if truth else Path()
    return SimulatedApiConfig(
        address=parse_address(pbx_api, "--pbx-api"),
        client_id=client_id,
        client_secret=client_secret,
        is_plain=is_plain,
        certificate=certificate or directory / "pbx_api.crt",
        key=key or directory / "pbx_api.key",
    )


def _faults(text: str, duplicates: float | None, reorder: int | None, malformed: float | None) -> Faults:
    """Return the faults; the short options have precedence over --faults."""
    overrides = {"duplicated": duplicates, "reordered": reorder, "malformed": malformed}
    return msgspec.structs.replace(
        parse_faults(text), **{name: value for name, value in overrides.items() if value is not None}
    )


@contextlib.contextmanager
def _progress(latest: _LatestResult) -> Iterator[SimulationProgressCallback]:
    """Show the figures on a terminal; nothing in a pipe."""
    console = Console(stderr=True)

    def on_progress(result: SimulationResult) -> None:
        latest.result = result
        if console.is_terminal:
            console.print(
                _(
                    "{records} generated, {acknowledged} acknowledged, {failed} failed",
                    records=result.records,
                    acknowledged=result.acknowledged,
                    failed=result.failed,
                ),
                end="\r",
            )

    yield on_progress
    if console.is_terminal:
        console.print(" " * 80, end="\r")


def _check_acknowledged(result: SimulationResult, plan: SimulationPlan) -> None:
    """Raise an error with what to do, where every response was the same rejection."""
    if set(result.responses) == {NO_RESPONSE}:
        raise Unavailable(
            _("no response from the receiver"),
            location=plan.url,
            hint=_("start `onhook serve`, or give its address with --to"),
        )
    if set(result.responses) == {UNAUTHORIZED}:
        raise NotAllowed(
            _("every event was rejected with 401"),
            location=plan.url,
            hint=(
                _(
                    "add the PBX with `onhook pbx add NAME --sn {sn} --secret SECRET`, or compare the secrets",
                    sn=shlex.quote(plan.sn),
                )
            ),
        )


def _print_summary(result: SimulationResult, plan: SimulationPlan) -> None:
    print(
        _(
            "records    {records} generated, {lost} lost on purpose, {malformed} malformed",
            records=result.records,
            lost=result.lost,
            malformed=result.malformed,
        )
    )
    if not plan.url:
        return
    responses = ", ".join(f"{count} x {status}" for status, count in sorted(result.responses.items())) or "none"
    per_second = result.acknowledged / result.duration_seconds if result.duration_seconds else 0
    print(_("responses  {responses}", responses=responses))
    print(
        _(
            "outcome    {acknowledged} acknowledged, {failed} failed, {repeats} repeats",
            acknowledged=result.acknowledged,
            failed=result.failed,
            repeats=result.repeats,
        )
    )
    print(
        _(
            "time       {duration_seconds} s, {per_second} acknowledged per second",
            duration_seconds=f"{result.duration_seconds:.1f}",
            per_second=f"{per_second:.0f}",
        )
    )
