"""`onhook pbx`: PBXs and their secrets; changes have effect at once, also in a running server."""

from collections.abc import Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.identification import identify_sender
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import DIALECT_DEFAULT, Pbx, describe_secrets, validate_sn
from onhook.appdb.recordings import parse_directory
from onhook.appdb.retention_overrides import parse_retention_days
from onhook.appdb.source_match import SourceMatch, parse_source_match, validate_has_api, validate_sender_identification
from onhook.appdb.sync_state import parse_silence_minutes
from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.cli import pbx_apis, pbx_files, pbx_secrets
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
    add_asterisk_pbx,
    parse_source_options,
    read_tls_option,
    require_manager,
)
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import print_table
from onhook.cli.line_pbx import (
    ConnectOption,
    FieldsOption,
    ListenOption,
    PrecedenceOption,
    is_line_pbx,
    merge_line_pbx,
    store_line_pbx,
)
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config, load_reader_zone, print_note
from onhook.cli.pbx_apis import (
    ApiOption,
    ClientIdOption,
    ClientSecretFileOption,
    ClientSecretOption,
    CredentialOptions,
    FingerprintOption,
)
from onhook.cli.pbx_conventions import EncodingOption, RingTimeOption, change_conventions
from onhook.cli.pbx_options import (
    AddSnOption,
    ConferenceOption,
    DialectOption,
    ExtensionDigitsOption,
    ExtensionOption,
    FeaturesOption,
    FromOption,
    IvrOption,
    KeepOption,
    KeepUnregisteredOption,
    NewNameOption,
    PathOption,
    PbxZoneOption,
    QueueOption,
    RecordingsOption,
    RemoveSnOption,
    RingGroupOption,
    SignedOption,
    SilenceOption,
    SnOption,
    VoicemailOption,
)
from onhook.cli.pbx_secrets import PbxName, SecretFileOption, SecretOption, read_secret_option, read_webhook_secret
from onhook.console.line_setup import LineChanges, NewLinePbx, store_line_connection
from onhook.console.pbx_setup import AsteriskChanges, NewAsterisk, NewPbxSettings, add_pbx, change_asterisk
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.lib.timestamps import format_time
from onhook.pbx.registry import dialects

app = CommandGroup(add_completion=False, help=_("Manage PBXs."), epilog="Example: onhook pbx list")
app.add_typer(pbx_secrets.app, name="secret")
app.command("trust", epilog="Example: onhook pbx trust Office")(pbx_apis.trust)
app.command("files", epilog=pbx_files.EXAMPLE)(pbx_files.files)


@app.command("add", epilog="Example: onhook pbx add Office --sn 3631A2124ABC --secret 0123456789abcdef0123456789abcdef")
async def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the PBX"))],
    *,
    sn: SnOption = None,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help=_("It does not sign: any sender can send events as this PBX"))
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
    voicemail: VoicemailOption = None,
    extension: ExtensionOption = None,
    extension_digits: ExtensionDigitsOption = None,
    features: FeaturesOption = None,
    keep_unregistered: KeepUnregisteredOption = None,
    asterisk: AsteriskOption = None,
    user: UserOption = None,
    tls: TlsOption = "off",
    trunks: TrunksOption = None,
    inbound: InboundOption = None,
    pins: PinsOption = False,
    cdr: CdrOption = None,
    cdr_table: CdrTableOption = None,
    cdr_columns: CdrColumnsOption = None,
    listen: ListenOption = None,
    connect: ConnectOption = None,
    fields: FieldsOption = None,
    data: DataOption = None,
) -> None:
    """Add a PBX: its events are accepted from now on. With --asterisk, Onhook connects to it."""
    plan_texts = (ivr, queue, ring_group, conference, voicemail, extension, extension_digits, features)
    number_plan = parse_number_plan(_name_plan_texts(plan_texts))
    has_other_sender = unsigned or any(option is not None for option in (secret, secret_file, path, api, asterisk))
    if is_line_pbx(dialect, LineChanges(listen, connect, fields), has_other_sender=has_other_sender):
        print(await store_line_pbx(NewLinePbx(
            name=name, dialect=dialect, listen=listen or "", connect=connect or "", addresses=addresses or (),
            fields=fields or "", sn=sn, zone=zone, number_plan=number_plan,
        ), data))  # fmt: skip
        return
    source = await parse_source_options(cdr, cdr_table, cdr_columns, data)
    if asterisk is not None:
        manager_user, manager_secret = require_manager(user, read_secret_option(secret, secret_file))
        new_asterisk = NewAsterisk(
            name=name, sn=sn, address=asterisk, user=manager_user, secret=manager_secret, tls=read_tls_option(tls),
            trunks=trunks, inbound=inbound, has_pins=pins, zone=zone, number_plan=number_plan, source=source,
        )  # fmt: skip
        print(await add_asterisk_pbx(new_asterisk, data))
        return
    serial_number, secret_value = _require_sn(sn), read_webhook_secret(secret, secret_file)
    _check_options(dialect, has_source=source is not None, has_two_senders=unsigned and secret_value is not None)
    api_options = CredentialOptions(api, client_id, client_secret, client_secret_file, fingerprint)
    new_pbx = NewPbxSettings(
        name=name, sn=serial_number, secret=secret_value, zone=zone, dialect=dialect, is_unsigned=unsigned,
        number_plan=number_plan, source_match=parse_source_match(addresses or (), path),
        credentials=api_options.merge_with(None), keeps_unregistered=keep_unregistered is not False,
    )  # fmt: skip
    pbx = await _store_pbx(new_pbx, data)
    print(_('PBX "{pbx_name}" ({sn}) added.', pbx_name=pbx.name, sn=pbx.sn))


@app.command("list", epilog="Example: onhook pbx list")
async def list_pbxs(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List PBXs, and their secrets by number, without the texts."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        rows = [await _list_row(appdb, pbx, reader_zone) for pbx in await appdb.pbxs()]
    print_table(rows, ("name", "sn", "identified by", "api", "zone", "secrets", "added"))


@app.command("remove", epilog="Example: onhook pbx remove Office")
async def remove(name: PbxName, data: DataOption = None) -> None:
    """Remove a PBX: its events are rejected from now on; its calls stay."""
    async with open_appdb(data) as appdb:
        sn = await appdb.remove_pbx(name)
    print(_('PBX "{pbx_name}" ({sn}) removed. Its calls stay.', pbx_name=name, sn=sn))


@app.command("change", epilog="Example: onhook pbx change Office --zone Europe/Berlin --queue 6400-6499,7000")
async def change(
    name: PbxName,
    *,
    new_name: NewNameOption = None,
    add_sn: AddSnOption = None,
    remove_sn: RemoveSnOption = None,
    zone: PbxZoneOption = None,
    signed: SignedOption = None,
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
    voicemail: VoicemailOption = None,
    extension: ExtensionOption = None,
    extension_digits: ExtensionDigitsOption = None,
    features: FeaturesOption = None,
    keep_unregistered: KeepUnregisteredOption = None,
    encoding: EncodingOption = None,
    ring_time: RingTimeOption = None,
    cdr: CdrOption = None,
    cdr_table: CdrTableOption = None,
    cdr_columns: CdrColumnsOption = None,
    trunks: TrunksOption = None,
    inbound: InboundOption = None,
    listen: ListenOption = None,
    connect: ConnectOption = None,
    fields: FieldsOption = None,
    precedence: PrecedenceOption = None,
    data: DataOption = None,
) -> None:
    """Change a PBX. A new time zone or number plan applies to stored calls after `onhook rebuild`."""
    ranges = _name_plan_texts((ivr, queue, ring_group, conference, voicemail, extension, extension_digits, features))
    changes: dict[str, Any] = _drop_missing(name=new_name, zone=zone)
    changes |= _drop_missing(is_unsigned=None if signed is None else not signed, keeps_unregistered=keep_unregistered)
    source_match = parse_source_match(addresses or (), path)
    credential_options = CredentialOptions(api, client_id, client_secret, client_secret_file, fingerprint)
    source = await parse_source_options(cdr, cdr_table, cdr_columns, data)
    asterisk_changes = AsteriskChanges(source, trunks, inbound)
    line_changes = LineChanges(listen, connect, fields, precedence)
    other_options = (source_match, silence, keep, encoding, ring_time, recordings is not None, add_sn, remove_sn)
    given_changes = (changes, ranges, asterisk_changes != AsteriskChanges(), line_changes != LineChanges())
    _require_change(*other_options, *msgspec.structs.astuple(credential_options), *given_changes)
    async with open_appdb(data) as appdb:
        pbx = await appdb.pbx(name)
        _require_secret(pbx, is_signed=bool(signed))
        # Outside of the transaction: the host's name is looked up.
        credentials = await credential_options.merge_into(await appdb.pbx_credentials.get(pbx.sn), data)
        connection = await merge_line_pbx(appdb, pbx, line_changes, source_match, data)
        changes["number_plan"] = _merge_number_plan(pbx.number_plan, ranges)
        async with appdb.transaction():
            await _change_source(appdb, pbx, source_match, connection)
            await _change_credentials(appdb, pbx, credentials)
            await _change_settings(appdb, pbx, recordings, keep, silence)
            await change_asterisk(appdb, pbx, asterisk_changes)
            await change_conventions(appdb, pbx.sn, encoding, ring_time)
            await _change_serial_numbers(appdb, pbx, add_sn or (), remove_sn or ())
            pbx = await appdb.change_pbx(name, changes)
    texts = (new_name, zone, fields, precedence)
    is_rebuild_needed = bool(ranges or encoding) or any(text is not None for text in texts)
    print(_('PBX "{pbx_name}" ({sn}) changed.', pbx_name=pbx.name, sn=pbx.sn) + _rebuild_note(is_rebuild_needed))


async def _store_pbx(new_pbx: NewPbxSettings, data: str | None) -> Pbx:
    """Add a PBX, and print a note about an address that cannot be reached now."""
    config, now_us = load_config(data=data), SystemClock().microseconds()
    async with open_appdb(data, create=True) as appdb:
        added = await add_pbx(config, appdb, new_pbx, location="--api", now_us=now_us)
    for warning in added.warnings:
        print_note(warning)
    return added.pbx


def _rebuild_note(affects_stored_calls: bool) -> str:
    return " " + _("Stored calls change with `onhook rebuild`.") if affects_stored_calls else ""


async def _change_credentials(appdb: AppDb, pbx: Pbx, credentials: PbxCredentials | None) -> None:
    if credentials is not None:
        validate_has_api(pbx.dialect)
        await appdb.pbx_credentials.put(pbx.sn, credentials)


def _require_change(*changes: object) -> None:
    if not any(changes):
        raise UsageError(
            _("there is nothing to change"), hint=_("give a new name, zone, source, API or range of numbers")
        )


def _require_secret(pbx: Pbx, *, is_signed: bool) -> None:
    """Check that a PBX that will have to sign has a secret. Raises `UsageError`."""
    if is_signed and not pbx.secrets:
        raise UsageError(
            _("{pbx_name} has no secret to sign with", pbx_name=pbx.name), hint=_("`onhook pbx secret add` adds one")
        )


def _require_sn(sn: str | None) -> str:
    if sn is None:
        raise UsageError(_("no serial number is given"), hint=_("give that of the PBX, with --sn"))
    return sn


def _check_options(dialect: str, *, has_source: bool, has_two_senders: bool) -> None:
    """Check the options of a PBX that sends events. Raises `UsageError`."""
    if has_source:
        raise UsageError(_("--cdr needs an Asterisk"), hint=_("give --asterisk too, or leave --cdr out"))
    if has_two_senders:
        raise UsageError(_("a PBX is unsigned or has a secret"), hint=_("leave one of the two out"))
    known_dialects = dialects()
    if dialect not in known_dialects:
        raise UsageError(
            _("unknown dialect {dialect}", dialect=repr(dialect)),
            location="--dialect",
            hint=_("use one of {known_dialects}", known_dialects=", ".join(known_dialects)),
        )


async def _list_row(appdb: AppDb, pbx: Pbx, reader_zone: ZoneInfo) -> list[str]:
    credentials, source_match = await appdb.pbx_credentials.get(pbx.sn), await appdb.source_matches.get(pbx.sn)
    return [
        pbx.name,
        ", ".join([pbx.sn, *pbx.further_sns]),
        identify_sender(pbx, source_match, has_api=credentials is not None).text,
        credentials.url if credentials else UNKNOWN,
        pbx.zone or UNKNOWN,
        describe_secrets(await appdb.secrets(pbx.sn)) or UNKNOWN,
        format_time(pbx.created_at, reader_zone),
    ]


async def _change_source(appdb: AppDb, pbx: Pbx, new_match: SourceMatch, connection: LineConnection | None) -> None:
    """Change the given parts of the source, and the connection of a PBX that writes lines; the others stay."""
    if connection is not None:
        await store_line_connection(appdb, pbx, connection, new_match or await appdb.source_matches.get(pbx.sn))
    if not new_match:
        return
    old_match = await appdb.source_matches.get(pbx.sn)
    source_match = SourceMatch(new_match.addresses or old_match.addresses, new_match.path or old_match.path)
    validate_sender_identification(pbx.dialect, source_match, has_secret=bool(pbx.secrets), is_unsigned=pbx.is_unsigned)
    await appdb.source_matches.put(pbx.sn, source_match)


async def _change_settings(
    appdb: AppDb, pbx: Pbx, recordings: str | None, keep: str | None, silence: str | None
) -> None:
    """Change where its recordings are, how long its calls are kept, and when a silence is an alarm."""
    if recordings is not None:
        await appdb.recordings.put(pbx.sn, parse_directory(recordings))
    if keep is not None:
        await appdb.retention_overrides.put(pbx.sn, parse_retention_days(keep))
    if silence is not None:
        await appdb.sync_states.save_silence_minutes(pbx.sn, parse_silence_minutes(silence, location="--silence"))


async def _change_serial_numbers(appdb: AppDb, pbx: Pbx, added: Sequence[str], removed: Sequence[str]) -> None:
    for sn in added:
        await appdb.serial_numbers.add(pbx.sn, validate_sn(sn))
    for sn in removed:
        await appdb.serial_numbers.remove(pbx.sn, sn, now_us=SystemClock().microseconds())


def _drop_missing(**options: str | bool | None) -> dict[str, str | bool]:
    return {name: text for name, text in options.items() if text is not None}


def _name_plan_texts(texts: Sequence[str | None]) -> dict[str, str]:
    """Return the given texts of a number plan by their kinds; `texts` are in the order of the options."""
    kinds = ("ivr", "queue", "ring_group", "conference", "voicemail", "extension", "extension_digits_max", "features")
    return {kind: text for kind, text in zip(kinds, texts, strict=True) if text is not None}


def _merge_number_plan(number_plan: NumberPlan, ranges: dict[str, str]) -> NumberPlan:
    parsed_plan = parse_number_plan(ranges)
    return msgspec.structs.replace(number_plan, **{kind: getattr(parsed_plan, kind) for kind in ranges})
