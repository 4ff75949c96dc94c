"""`onhook pbx`: which PBXs may report, and the secrets they sign with; it counts at once, also in a running server."""

from typing import Annotated, Any

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import DIALECT_DEFAULT, Pbx
from onhook.appdb.recordings import parse_directory
from onhook.appdb.retention_overrides import parse_retention_days
from onhook.appdb.source_match import SourceMatch, parse_source_match, validate_has_api, validate_sender_identification
from onhook.cdr.number_plan import NumberPlan, parse_plan
from onhook.cli import pbx_apis, pbx_secrets
from onhook.cli.asterisk_pbx import (
    AsteriskOption,
    CdrColumnsOption,
    CdrOption,
    CdrTableOption,
    InboundOption,
    PinsOption,
    TlsOption,
    TrunksOption,
    UserOption,
    Wanted,
    add_asterisk,
    change_source,
    given_source,
)
from onhook.cli.formats import UNKNOWN, show_table
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import DataOption
from onhook.cli.pbx_apis import (
    ApiOption,
    ClientIdOption,
    ClientSecretFileOption,
    ClientSecretOption,
    FingerprintOption,
    GivenApi,
)
from onhook.cli.pbx_secrets import Name, SecretFileOption, SecretOption, given_text, secret_text
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.pbx.registry import all_dialects

app = typer.Typer(add_completion=False, help="Say which PBXs may report.", epilog="Example: onhook pbx list")
app.add_typer(pbx_secrets.app, name="secret")
app.command("trust", epilog="Example: onhook pbx trust Office")(pbx_apis.trust)

DialectOption = Annotated[
    str, typer.Option("--dialect", metavar="DIALECT", help="How it speaks: yeastar, or newcdr for S-Series and Cloud.")
]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from", metavar="ADDRESS", help="For one that cannot sign: its address or network.", show_default=False
    ),
]
PathOption = Annotated[
    str | None,
    typer.Option(
        "--path", metavar="PATH", help="For one that cannot sign: the secret path it posts to.", show_default=False
    ),
]
PbxZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="Its zone, for calls whose ids do not tell it.", show_default=False),
]


SILENCE_MINUTES_MAX = 7 * 24 * 60
"""A week: a PBX that is silent for longer has nothing to be learned from."""


def _ranges(kind: str, default: str) -> Any:
    return typer.Option(
        f"--{kind}", metavar="RANGES", help="Its numbers, such as 6200-6299,7000.", show_default=default
    )


SilenceOption = Annotated[
    str | None,
    typer.Option(
        "--silence",
        metavar="MINUTES",
        help="Alarm after so long a silence: a number, never, or auto.",
        show_default=False,
    ),
]
RecordingsOption = Annotated[
    str | None,
    typer.Option(
        "--recordings", metavar="DIR", help="Where its recordings are on this machine; '' for none.", show_default=False
    ),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep", metavar="DAYS", help="Keep its calls so long: a number, always, or auto.", show_default=False
    ),
]
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
    dialect: DialectOption = DIALECT_DEFAULT,
    addresses: FromOption = None,
    path: PathOption = None,
    api: ApiOption = None,
    client_id: ClientIdOption = None,
    client_secret: ClientSecretOption = None,
    client_secret_file: ClientSecretFileOption = None,
    fingerprint: FingerprintOption = None,
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
    cdr: CdrOption = None,
    cdr_table: CdrTableOption = None,
    cdr_columns: CdrColumnsOption = None,
    data: DataOption = None,
) -> None:
    """Declare a PBX: from now on its reports are kept. With --asterisk, connect to it and hear its calls."""
    plan = parse_plan(_given(ivr=ivr, queue=queue, ring_group=ring_group, conference=conference))
    source = given_source(cdr, cdr_table, cdr_columns)
    if asterisk is not None:
        wanted = Wanted(name, sn, asterisk, user, tls, trunks, inbound, pins, zone, source)
        print(add_asterisk(wanted, plan, given_text(secret, secret_file), data))
        return
    number, text = _needed(sn), secret_text(secret, secret_file)
    if source is not None:
        raise UsageError("only an Asterisk keeps CDRs that are read so", todo="give --asterisk too, or leave --cdr out")
    if unsigned and text is not None:
        raise UsageError("a PBX is unsigned or has a secret", todo="leave one of the two out")
    _check_dialect(dialect)
    reached = GivenApi(api, client_id, client_secret, client_secret_file, fingerprint).over(None)
    place = parse_source_match(addresses or (), path)
    with open_settings(data, makes=True) as settings:
        pbx = settings.add_pbx(
            name=name,
            sn=number,
            secret=text,
            zone=zone,
            dialect=dialect,
            is_unsigned=unsigned,
            plan=plan,
            place=place,
            api=reached,
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
                _told_by(pbx, settings.places.of(pbx.sn)),
                api.url if (api := settings.apis.of(pbx.sn)) else UNKNOWN,
                pbx.zone or UNKNOWN,
                ", ".join(f"{one.secret_id} {one.label}" for one in settings.secrets(pbx.sn)) or UNKNOWN,
                f"{pbx.created_at:%Y-%m-%d}",
            ]
            for pbx in settings.pbxs()
        ]
    show_table(rows, ("name", "sn", "told by", "api", "zone", "secrets", "since"))


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
    addresses: FromOption = None,
    path: PathOption = None,
    api: ApiOption = None,
    client_id: ClientIdOption = None,
    client_secret: ClientSecretOption = None,
    client_secret_file: ClientSecretFileOption = None,
    fingerprint: FingerprintOption = None,
    silence: SilenceOption = None,
    recordings: RecordingsOption = None,
    keep: KeepOption = None,
    ivr: IvrOption = None,
    queue: QueueOption = None,
    ring_group: RingGroupOption = None,
    conference: ConferenceOption = None,
    cdr: CdrOption = None,
    cdr_table: CdrTableOption = None,
    cdr_columns: CdrColumnsOption = None,
    data: DataOption = None,
) -> None:
    """Give a PBX another name, zone or number plan. Calls that are already kept change with `onhook rebuild`."""
    ranges = _given(ivr=ivr, queue=queue, ring_group=ring_group, conference=conference)
    changes: dict[str, Any] = _given(name=new_name, zone=zone)
    if signed is not None:
        changes["is_unsigned"] = not signed
    place = parse_source_match(addresses or (), path)
    given_api = GivenApi(api, client_id, client_secret, client_secret_file, fingerprint)
    source = given_source(cdr, cdr_table, cdr_columns)
    is_set_beside = place or silence or keep or source or recordings is not None
    if not (changes or ranges or is_set_beside) and not any(msgspec.structs.astuple(given_api)):
        raise UsageError("nothing is to be changed", todo="give a new name, zone, place, API or range of numbers")
    with open_settings(data) as settings:
        pbx = settings.pbx(name)
        if signed and not pbx.secrets:
            raise UsageError(f"{pbx.name} has no secret to sign with", todo="`onhook pbx secret add` adds one")
        if place:
            _change_place(settings, pbx, place)
        reached = given_api.over(settings.apis.of(pbx.sn))
        if reached is not None:
            validate_has_api(pbx.dialect)
            settings.apis.put(pbx.sn, reached)
        if recordings is not None:
            settings.recordings.put(pbx.sn, parse_directory(recordings))
        if keep is not None:
            settings.keeping.put(pbx.sn, parse_retention_days(keep))
        if source is not None:
            change_source(settings, pbx, source)
        if silence is not None:
            settings.receiving.keep_silence_minutes(pbx.sn, _silence_minutes(silence))
        changes["plan"] = _changed_plan(pbx.plan, ranges)
        pbx = settings.change_pbx(name, changes)
    is_in_calls = ranges or new_name is not None or zone is not None
    anew = "; `onhook rebuild` reads its earlier calls anew" if is_in_calls else ""
    print(f"{pbx.name} ({pbx.sn}) is changed{anew}.")


def _needed(sn: str | None) -> str:
    if sn is None:
        raise UsageError("no serial number is given", todo="give the one that the PBX reports, with --sn")
    return sn


def _check_dialect(dialect: str) -> None:
    dialects = all_dialects()
    if dialect not in dialects:
        raise UsageError(f"no PBX speaks {dialect!r}", where="--dialect", todo=f"use one of {', '.join(dialects)}")


def _silence_minutes(text: str) -> int | None:
    """0 is never, None what the PBX's own traffic says."""
    words = {"never": 0, "auto": None}
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= SILENCE_MINUTES_MAX):
        raise UsageError(
            f"{text[:20]!r} is no silence",
            where="--silence",
            todo=f"write 1 to {SILENCE_MINUTES_MAX} minutes, never or auto",
        )
    return int(text)


def _told_by(pbx: Pbx, place: SourceMatch) -> str:
    """By what one knows that a report is its own; the path is a secret."""
    if not place:
        return "nothing" if pbx.is_unsigned else "signature" if pbx.secrets else UNKNOWN
    return ", ".join([*place.addresses, *(["a secret path"] if place.path else [])])


def _change_place(settings: AppDb, pbx: Pbx, new: SourceMatch) -> None:
    """What is given takes the place of what was; the rest stays."""
    old = settings.places.of(pbx.sn)
    place = SourceMatch(new.addresses or old.addresses, new.path or old.path)
    validate_sender_identification(pbx.dialect, place, has_secret=bool(pbx.secrets), is_unsigned=pbx.is_unsigned)
    settings.places.put(pbx.sn, place)


def _given(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def _changed_plan(plan: NumberPlan, ranges: dict[str, str]) -> NumberPlan:
    changed = parse_plan(ranges)
    return msgspec.structs.replace(plan, **{kind: getattr(changed, kind) for kind in ranges})
