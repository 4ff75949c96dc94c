"""`onhook pbx`: which PBXs may report, and the secrets they sign with; it counts at once, also in a running server."""

from typing import Annotated, Any

import msgspec
import typer

from onhook.cdr.plan import NumberPlan, parse_plan
from onhook.cli.asterisk_pbx import (
    AsteriskOption,
    InboundOption,
    PinsOption,
    TlsOption,
    TrunksOption,
    UserOption,
    Wanted,
    add_asterisk,
)
from onhook.cli.formats import UNKNOWN, show_table
from onhook.cli.options import DataOption
from onhook.cli.secrets import given_text
from onhook.cli.settings import open_settings
from onhook.clock import SystemClock
from onhook.errors import UsageError
from onhook.settings.pbxs import checked_secret

app = typer.Typer(add_completion=False, help="Say which PBXs may report.", epilog="Example: onhook pbx list")
secret_app = typer.Typer(
    add_completion=False,
    help="Add and remove the secrets that a PBX signs with.",
    epilog="Example: onhook pbx secret add Office --secret 0123456789abcdef0123456789abcdef",
)
app.add_typer(secret_app, name="secret")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or serial number of the PBX.")]
SecretOption = Annotated[
    str | None, typer.Option("--secret", metavar="SECRET", help="What it signs with.", show_default=False)
]
SecretFileOption = Annotated[
    str | None,
    typer.Option(
        "--secret-file", metavar="FILE", help="Read the secret from a file; - is standard input.", show_default=False
    ),
]
PbxZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="Its zone, for calls whose ids do not tell it.", show_default=False),
]


def _ranges(kind: str, default: str) -> Any:
    return typer.Option(
        f"--{kind}", metavar="RANGES", help="Its numbers, such as 6200-6299,7000.", show_default=default
    )


IvrOption = Annotated[str | None, _ranges("ivr", "6200-6299")]
QueueOption = Annotated[str | None, _ranges("queue", "6400-6499")]
RingGroupOption = Annotated[str | None, _ranges("ring-group", "6300-6399")]
ConferenceOption = Annotated[str | None, _ranges("conference", "6500-6599")]


@app.command("add", epilog="Example: onhook pbx add Office --sn 3631A2124ABC --secret 0123456789abcdef0123456789abcdef")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    *,
    sn: Annotated[
        str | None, typer.Option("--sn", metavar="SN", help="Its serial number, as it reports it.", show_default=False)
    ] = None,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="It does not sign: anybody can report in its name.")
    ] = False,
    zone: PbxZoneOption = None,
    ivr: IvrOption = None,
    queue: QueueOption = None,
    ring_group: RingGroupOption = None,
    conference: ConferenceOption = None,
    asterisk: AsteriskOption = None,
    user: UserOption = None,
    tls: TlsOption = "off",
    trunks: TrunksOption = None,
    inbound: InboundOption = None,
    pins: PinsOption = False,
    data: DataOption = None,
) -> None:
    """Declare a PBX: from now on its reports are kept. With --asterisk, connect to it and hear its calls."""
    plan = parse_plan(_given(ivr=ivr, queue=queue, ring_group=ring_group, conference=conference))
    if asterisk is not None:
        wanted = Wanted(
            name=name, sn=sn, at=asterisk, user=user, tls=tls, trunks=trunks, inbound=inbound, has_pins=pins, zone=zone
        )
        print(add_asterisk(wanted, plan, given_text(secret, secret_file), data))
        return
    if sn is None:
        raise UsageError("no serial number is given", todo="give the one that the PBX reports, with --sn")
    text = secret_text(secret, secret_file)
    if unsigned and text is not None:
        raise UsageError("a PBX is unsigned or has a secret", todo="leave one of the two out")
    with open_settings(data, makes=True) as settings:
        pbx = settings.add_pbx(
            name=name,
            sn=sn,
            secret=text,
            zone=zone,
            is_unsigned=unsigned,
            plan=plan,
            at=SystemClock().microseconds(),
        )
    print(f"{pbx.name} ({pbx.sn}) may report now.")


@app.command("list", epilog="Example: onhook pbx list")
def list_pbxs(data: DataOption = None) -> None:
    """Show the PBXs that may report, and their secrets by number, never the texts."""
    with open_settings(data) as settings:
        rows = [
            [
                pbx.name,
                pbx.sn,
                "no" if pbx.is_unsigned else "yes",
                pbx.zone or UNKNOWN,
                ", ".join(f"{one.secret_id} {one.label}" for one in settings.secrets(pbx.sn)) or UNKNOWN,
                f"{pbx.created_at:%Y-%m-%d}",
            ]
            for pbx in settings.pbxs()
        ]
    show_table(rows, ("name", "sn", "signed", "zone", "secrets", "since"))


@app.command("remove", epilog="Example: onhook pbx remove Office")
def remove(name: Name, data: DataOption = None) -> None:
    """Forget a PBX: from now on its reports are refused; its calls stay."""
    with open_settings(data) as settings:
        pbx = settings.remove_pbx(name)
    print(f"{pbx.name} ({pbx.sn}) may report no more; its calls stay.")


@app.command("change", epilog="Example: onhook pbx change Office --zone Europe/Berlin --queue 6400-6499,7000")
def change(
    name: Name,
    *,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Another name.", show_default=False)
    ] = None,
    zone: PbxZoneOption = None,
    signed: Annotated[
        bool | None, typer.Option("--signed/--unsigned", help="Whether it must sign.", show_default=False)
    ] = None,
    ivr: IvrOption = None,
    queue: QueueOption = None,
    ring_group: RingGroupOption = None,
    conference: ConferenceOption = None,
    data: DataOption = None,
) -> None:
    """Give a PBX another name, zone or number plan. Calls that are already kept change with `onhook rebuild`."""
    ranges = _given(ivr=ivr, queue=queue, ring_group=ring_group, conference=conference)
    changes: dict[str, Any] = _given(name=new_name, zone=zone)
    if signed is not None:
        changes["is_unsigned"] = not signed
    if not changes and not ranges:
        raise UsageError("nothing is to be changed", todo="give a new name, zone or range of numbers")
    with open_settings(data) as settings:
        pbx = settings.pbx(name)
        if signed and not pbx.secrets:
            raise UsageError(f"{pbx.name} has no secret to sign with", todo="`onhook pbx secret add` adds one")
        changes["plan"] = _changed_plan(pbx.plan, ranges)
        pbx = settings.change_pbx(name, changes)
    print(f"{pbx.name} ({pbx.sn}) is changed; `onhook rebuild` reads its earlier calls anew.")


@secret_app.command("add", epilog="Example: onhook pbx secret add Office --secret-file - < secret.txt")
def add_secret(
    name: Name,
    *,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What it is for.")] = "webhook",
    data: DataOption = None,
) -> None:
    """Accept one more secret of a PBX, beside those it has: so that one can be changed without losing a call."""
    text = secret_text(secret, secret_file)
    if text is None:
        raise UsageError("no secret is given", todo="give it with --secret or --secret-file")
    with open_settings(data) as settings:
        added = settings.add_secret(name, text, label=label, at=SystemClock().microseconds())
    print(f"Secret {added.secret_id} ({added.label}) counts now.")


@secret_app.command("remove", epilog="Example: onhook pbx secret remove Office 1")
def remove_secret(
    name: Name,
    secret_id: Annotated[int, typer.Argument(metavar="NUMBER", help="As `onhook pbx list` shows it.")],
    data: DataOption = None,
) -> None:
    """Refuse what is signed with a secret from now on."""
    with open_settings(data) as settings:
        settings.remove_secret(name, secret_id)
    print(f"Secret {secret_id} counts no more.")


def _given(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def _changed_plan(plan: NumberPlan, ranges: dict[str, str]) -> NumberPlan:
    changed = parse_plan(ranges)
    return msgspec.structs.replace(plan, **{kind: getattr(changed, kind) for kind in ranges})


def secret_text(secret: str | None, file: str | None) -> str | None:
    """The secret that was given, in words or in a file; None where none was. Raises `UsageError`."""
    text = given_text(secret, file)
    return None if text is None else checked_secret(text)
