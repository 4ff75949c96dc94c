"""The application database: PBXs with their secrets and number plans, access tokens, destinations, applications.

Several processes may have it open; each sees the writes of the others at once.
"""

import shlex
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from onhook.appdb.access_tokens import Tokens
from onhook.appdb.alarms import Alarms
from onhook.appdb.alert_channels import AlertChannels
from onhook.appdb.api_clients import Apps
from onhook.appdb.app_tokens import AppTokenGrants
from onhook.appdb.asterisks import Asterisks
from onhook.appdb.audit import Audit
from onhook.appdb.cdr_sources import CdrSources
from onhook.appdb.cluster import Cluster
from onhook.appdb.contract import ConstraintViolation, Database, Version, transactional
from onhook.appdb.dashboards import Dashboards
from onhook.appdb.deliveries import Deliveries
from onhook.appdb.destination_log import DestinationLog
from onhook.appdb.destinations import Destinations
from onhook.appdb.directory import DirectoryRepository
from onhook.appdb.directory_cache import DirectoryCache
from onhook.appdb.disk_samples import DiskSamples
from onhook.appdb.erasures import NumberErasures
from onhook.appdb.external_ids import ExternalIds
from onhook.appdb.failed_logins import FailedLogins
from onhook.appdb.identity_provider import IdentityProvider
from onhook.appdb.installation_retention import InstallationRetention
from onhook.appdb.issue_recipients import IssueRecipients
from onhook.appdb.issues import Issues
from onhook.appdb.leases import Leases
from onhook.appdb.leg_groups import LegGroupRepository
from onhook.appdb.line_connections import LineConnections
from onhook.appdb.live_queues import SharedQueues
from onhook.appdb.mail_settings import MailSettingsRepository
from onhook.appdb.mails import Mails
from onhook.appdb.mask_key import MaskKey
from onhook.appdb.missed_call_work import MissedCallWorkRepository
from onhook.appdb.node_states import NodeStates
from onhook.appdb.notes import Notes
from onhook.appdb.passkeys import Passkeys
from onhook.appdb.pbx_conventions import PbxConventionsRepository
from onhook.appdb.pbx_credentials import PbxCredentials, PbxCredentialsRepository
from onhook.appdb.pbx_references import rename_references
from onhook.appdb.pbxs import (
    DIALECT_DEFAULT,
    PBXS_MAX,
    SECRETS_MAX,
    Pbx,
    Secret,
    WebhookCredentials,
    describe_secrets,
    validate_name,
    validate_secret,
    validate_sn,
    validate_zone,
)
from onhook.appdb.pending_sign_ins import PendingSignIns
from onhook.appdb.queue_targets import QueueTargetsRepository
from onhook.appdb.reader_settings import ReaderSettingsRepository
from onhook.appdb.recordings import Recordings
from onhook.appdb.report_schedules import ReportSchedules
from onhook.appdb.retention_overrides import RetentionOverrides
from onhook.appdb.rows import (
    PBX_COLUMNS,
    decode_pbx,
    decode_secret,
    encode_number_plan,
)
from onhook.appdb.saved_questions import SavedQuestions
from onhook.appdb.saved_searches import SavedSearches
from onhook.appdb.second_factors import SecondFactors
from onhook.appdb.secret_owners import SecretOwners
from onhook.appdb.secret_texts import read_secret_texts
from onhook.appdb.serial_numbers import SerialNumbers
from onhook.appdb.sessions import Sessions
from onhook.appdb.sign_in_challenges import SignInChallenges
from onhook.appdb.sign_in_settings import SignInSettingsRepository
from onhook.appdb.source_match import SourceMatch, SourceMatches, validate_has_api, validate_sender_identification
from onhook.appdb.sql_history import SqlHistory
from onhook.appdb.sqlite import SqliteDatabase
from onhook.appdb.store_positions import StorePositions
from onhook.appdb.stored_json import UnreadableRow, collect_unreadable, list_unreadable, read_row, read_rows
from onhook.appdb.swept_folders import SweptFolders
from onhook.appdb.sync_state import SyncStates
from onhook.appdb.users import Users
from onhook.appdb.wallboard_links import WallboardLinks
from onhook.cdr.number_plan import NumberPlan
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

if TYPE_CHECKING:
    from onhook.appdb import postgresql as postgresql_engine
else:
    # One machine does without it.
    postgresql_engine = DeferredModule("onhook.appdb.postgresql")

_WHERE_PBX = "WHERE name = ?1 OR sn = ?1 COLLATE NOCASE OR sn = (SELECT pbx_sn FROM serial_numbers WHERE sn = ?1)"
"""By its name, or else one of its serial numbers: without regard to case, because PBXs write them in both."""
_LABEL_DEFAULT = "webhook"


class AppDb:
    """Access to the application database. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, source: Path | Database, node: str = "") -> None:
        """`source` is the path of an SQLite file, or an engine. The first call opens it; `open` does so for the sake of
        its errors. `node` is the name of this machine among several.
        """
        self._database: Database = SqliteDatabase(source) if isinstance(source, Path) else source
        self.destinations = Destinations(self._database)
        self.deliveries = Deliveries(self._database)
        self.destination_log = DestinationLog(self._database, self.deliveries)
        self.external_ids = ExternalIds(self._database)
        self.tokens = Tokens(self._database)
        self.serial_numbers = SerialNumbers(self._database)
        self.secret_owners = SecretOwners(self._database)
        self.source_matches = SourceMatches(self._database)
        self.pbx_credentials = PbxCredentialsRepository(self._database)
        self.sync_states = SyncStates(self._database)
        self.recordings = Recordings(self._database, node)
        self.pbx_conventions = PbxConventionsRepository(self._database)
        self.queue_targets = QueueTargetsRepository(self._database)
        self.retention_overrides, self.installation_retention = (
            RetentionOverrides(self._database),
            InstallationRetention(self._database),
        )
        self.alarms = Alarms(self._database, self.destinations, self.deliveries)
        self.issue_recipients, self.alert_channels = IssueRecipients(self._database), AlertChannels(self._database)
        self.issues = Issues(
            self._database, self.destinations, self.deliveries, self.issue_recipients, self.alert_channels
        )
        self.asterisks = Asterisks(self._database)
        self.cdr_sources = CdrSources(self._database, node)
        self.line_connections = LineConnections(self._database)
        self.swept_folders = SweptFolders(self._database, node)
        self.apps = Apps(self._database)
        self.app_tokens = AppTokenGrants(self._database)
        self._add_sign_in()
        self.reader_settings = ReaderSettingsRepository(self._database)
        self.audit = Audit(self._database)
        self.notes = Notes(self._database)
        self.missed_call_work = MissedCallWorkRepository(self._database)
        self.saved_searches = SavedSearches(self._database)
        self.saved_questions = SavedQuestions(self._database)
        self.sql_history = SqlHistory(self._database)
        self.dashboards = Dashboards(self._database)
        self.wallboard_links = WallboardLinks(self._database)
        self.erasures = NumberErasures(self._database)
        self.directory = DirectoryRepository(self._database)
        self.names, self.live_queues = DirectoryCache(self.directory), SharedQueues(self._database)
        self.disk_samples, self.node_states = DiskSamples(self._database), NodeStates(self._database)
        self.leg_groups = LegGroupRepository(self._database)
        self.leases = Leases(self._database)
        self.mask_key, self.cluster = MaskKey(self._database), Cluster(self._database)
        self.mail_settings = MailSettingsRepository(self._database)
        self.mails, self.report_schedules = Mails(self._database), ReportSchedules(self._database)
        self.store_positions = StorePositions(self._database)

    def _add_sign_in(self) -> None:
        """Add the repositories of users and of how they sign in."""
        self.users = Users(self._database)
        self.sessions = Sessions(self._database)
        self.failed_logins = FailedLogins(self._database)
        self.passkeys = Passkeys(self._database)
        self.second_factors = SecondFactors(self._database, self.failed_logins, self.passkeys)
        self.sign_in_challenges = SignInChallenges(self._database)
        self.pending_sign_ins = PendingSignIns(self._database)
        self.sign_in_settings = SignInSettingsRepository(self._database)
        self.identity_provider = IdentityProvider(self._database)

    # PBXs

    async def pbxs(self) -> list[Pbx]:
        """Return all PBXs, by name."""
        rows = await self._database.rows(f"SELECT {PBX_COLUMNS} FROM pbxs p ORDER BY name COLLATE NOCASE")
        return read_rows(rows, decode_pbx)

    async def pbx(self, name: str) -> Pbx:
        """Return the PBX with this name or else this serial number. Raises `NotFound`."""
        rows = await self._database.rows(
            f"SELECT {PBX_COLUMNS} FROM pbxs p {_WHERE_PBX} ORDER BY name = ?1 DESC", (name,)
        )
        if not rows:
            raise _no_pbx_error(name)
        return read_row(rows[0], decode_pbx)

    async def find_pbx_by_sn(self, sn: str) -> Pbx | None:
        """Return the PBX with this serial number, or None."""
        rows = await self._database.rows(f"SELECT {PBX_COLUMNS} FROM pbxs p WHERE sn = ?", (sn,))
        return read_row(rows[0], decode_pbx) if rows else None

    async def add_pbx(
        self,
        *,
        name: str,
        sn: str,
        secret: str | None,
        now_us: int,
        dialect: str = DIALECT_DEFAULT,
        zone: str | None = None,
        is_unsigned: bool = False,
        number_plan: NumberPlan | None = None,
        source_match: SourceMatch = SourceMatch(),  # noqa: B008 - frozen
        credentials: PbxCredentials | None = None,
        keeps_unregistered: bool = True,
    ) -> Pbx:
        """Add a PBX. Without a secret it must be unsigned, identified by its source, or be synchronised through its
        API.

        Raises `UsageError`.
        """
        name, sn, zone = validate_name(name), validate_sn(sn), validate_zone(zone)
        if credentials is not None:
            validate_has_api(dialect)
        else:
            validate_sender_identification(
                dialect, source_match, has_secret=secret is not None, is_unsigned=is_unsigned
            )
        if secret is not None:
            validate_secret(secret)
        number_plan_json = encode_number_plan(number_plan or NumberPlan())
        values = (sn, name, dialect, zone, is_unsigned, number_plan_json, now_us, keeps_unregistered)
        async with self._database.transaction():
            await self.serial_numbers.check_is_free(sn)
            if len(await self._database.rows("SELECT 1 FROM pbxs")) >= PBXS_MAX:
                raise UsageError(_("there are already {maximum} PBXs", maximum=PBXS_MAX), hint=_("remove one"))
            if await self._database.rows("SELECT 1 FROM pbxs WHERE sn = ? COLLATE NOCASE", (sn,)):
                raise _pbx_exists_error(name, sn)
            try:
                await self._database.write("INSERT INTO pbxs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
            except ConstraintViolation:
                raise _pbx_exists_error(name, sn) from None
            if secret is not None:
                await self.add_secret(sn, secret, now_us=now_us)
            await self.source_matches.put(sn, source_match)
            if credentials is not None:
                await self.pbx_credentials.put(sn, credentials)
        return await self.pbx(sn)

    @transactional
    async def change_pbx(self, name: str, changes: dict[str, Any]) -> Pbx:
        """Change a PBX; `changes` has some of `name`, `zone` (None: unknown), `is_unsigned`, `number_plan`,
        `keeps_unregistered`. Raises `NotFound`, `UsageError`.
        """
        old = await self.pbx(name)
        new = msgspec.structs.replace(old, **changes)
        try:
            await self._database.write(
                "UPDATE pbxs SET name = ?, zone = ?, is_unsigned = ?, number_plan = ?, keeps_unregistered = ?"
                " WHERE sn = ?",
                (
                    validate_name(new.name),
                    validate_zone(new.zone),
                    new.is_unsigned,
                    encode_number_plan(new.number_plan),
                    new.keeps_unregistered,
                    old.sn,
                ),
            )
        except ConstraintViolation:
            raise UsageError(
                _("there is already a PBX named {new_name}", new_name=repr(new.name)), hint=_("choose another name")
            ) from None
        await rename_references(self._database, old.sn, old.name, validate_name(new.name))
        return await self.pbx(old.sn)

    @transactional
    async def remove_pbx(self, name: str) -> str:
        """Remove a PBX, also one that cannot be read, and its secrets; its calls stay. Return its serial number. Raises
        `NotFound`.
        """
        rows = await self._database.rows(f"SELECT sn FROM pbxs {_WHERE_PBX} ORDER BY name = ?1 DESC", (name,))
        if not rows:
            raise _no_pbx_error(name)
        await self._database.write("DELETE FROM pbxs WHERE sn = ?", rows[0])
        return str(rows[0][0])

    async def require_backfill_source(self, pbx: Pbx) -> None:
        """Check that past calls can be fetched from the PBX. Raises `NotFound`."""
        if await self.cdr_sources.get(pbx.sn) is not None:
            return
        if any(asterisk.sn == pbx.sn for asterisk in await self.asterisks.all()):
            raise NotFound(
                _("the CDR source of {pbx_name} is not set", pbx_name=pbx.name),
                hint=_(
                    "onhook pbx change {pbx} --cdr FILE, or --cdr postgresql://USER:PASSWORD@HOST/DATABASE",
                    pbx=shlex.quote(pbx.name),
                ),
            )
        await self.pbx_credentials.require(pbx.sn, pbx.name)

    # Secrets

    async def secrets(self, name: str) -> list[Secret]:
        """Return the secrets of a PBX, the oldest first, without their texts. Raises `NotFound`."""
        rows = await self._database.rows(
            "SELECT secret_id, label, created_at FROM secrets WHERE sn = ? ORDER BY secret_id",
            ((await self.pbx(name)).sn,),
        )
        return read_rows(rows, decode_secret)

    @transactional
    async def add_secret(self, name: str, text: str, *, now_us: int, label: str = _LABEL_DEFAULT) -> Secret:
        """Add a secret: events signed with it are accepted from now on. Raises `NotFound`, `UsageError`."""
        pbx, text, label = await self.pbx(name), validate_secret(text), validate_name(label)
        if pbx.secrets >= SECRETS_MAX:
            raise UsageError(
                _("{pbx_name} already has {maximum} secrets", pbx_name=pbx.name, maximum=SECRETS_MAX),
                hint=_("remove one that is no longer in use"),
            )
        try:
            await self.secret_owners.add_secret(pbx.sn, label, text, now_us)
        except ConstraintViolation:
            raise UsageError(
                _("{pbx_name} already has this secret", pbx_name=pbx.name), hint=_("nothing to do")
            ) from None
        return (await self.secrets(pbx.sn))[-1]

    async def remove_secret(self, name: str, secret_id: int) -> None:
        """Remove a secret. Raises `NotFound`, and `UsageError` for the last one of a PBX that must sign."""
        pbx = await self.pbx(name)
        async with self._database.transaction():
            secrets = await self.secrets(pbx.sn)
            secret_ids = [secret.secret_id for secret in secrets]
            if secret_id not in secret_ids:
                raise NotFound(
                    _("{pbx_name} has no secret {secret_id}", pbx_name=pbx.name, secret_id=secret_id),
                    hint=_("its secrets are {secrets}", secrets=describe_secrets(secrets)),
                )
            if secret_ids == [secret_id] and not pbx.is_unsigned:
                raise UsageError(
                    _("{pbx_name} has no other secret", pbx_name=pbx.name), hint=_("add the new one first")
                )
            await self._database.write("DELETE FROM secrets WHERE secret_id = ?", (secret_id,))

    async def webhook_credentials(self) -> list[WebhookCredentials]:
        """Return the credentials of every PBX for verifying events: for the intake only, never for a listing."""
        secret_texts: dict[str, list[str]] = {}
        async with self._database.transaction(read_only=True):
            secret_rows = await self._database.rows("SELECT sn, text FROM secrets ORDER BY secret_id DESC")
            for sn, text in read_rows(secret_rows, tuple):
                secret_texts.setdefault(sn, []).append(text)
            rows = await self._database.rows(
                "SELECT sn, dialect, is_unsigned, keeps_unregistered FROM pbxs ORDER BY sn"
            )
            further_sns = await self.serial_numbers.accepted()
            source_matches = await self.source_matches.all()
        return [
            WebhookCredentials(
                sn=sn,
                dialect=dialect,
                is_unsigned=bool(is_unsigned),
                secrets=tuple(secret_texts.get(sn, ())),
                further_sns=further_sns.get(sn, ()),
                keeps_unregistered=bool(keeps_unregistered),
                source_match=source_matches.get(sn, SourceMatch()),
            )
            for sn, dialect, is_unsigned, keeps_unregistered in read_rows(rows, tuple)
        ]

    # The database

    async def schema_statements(self) -> list[str]:
        """Return the statements of all tables and indexes."""
        return await self._database.schema_statements()

    async def secret_texts(self) -> list[str]:
        """Return every secret that is stored as a text, for masking it."""
        return await read_secret_texts(self._database)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return all rows that cannot be read, and are disabled therefore; a table that cannot be read is one without
        a name.
        """
        listers = {
            "pbxs": self._list_unreadable_pbxs,
            "tokens": self.tokens.list_unreadable,
            "destinations": self.destinations.list_unreadable,
            "destination_log": self.destination_log.list_unreadable,
            "apps": self.apps.list_unreadable,
            "users": self.users.list_unreadable,
            "passkeys": self.passkeys.list_unreadable,
            "totp_factors": self.second_factors.list_unreadable,
            "identity_provider": self.identity_provider.list_unreadable,
            "sign_in_settings": self.sign_in_settings.list_unreadable,
            "reader_settings": self.reader_settings.list_unreadable,
            "serial_numbers": self.serial_numbers.list_unreadable,
            "secret_owners": self.secret_owners.list_unreadable,
            "pbx_conventions": self.pbx_conventions.list_unreadable,
            "queue_targets": self.queue_targets.list_unreadable,
            "retention_overrides": self.retention_overrides.list_unreadable,
            "installation_retention": self.installation_retention.list_unreadable,
            "recordings": self.recordings.list_unreadable,
            "asterisks": self.asterisks.list_unreadable,
            "cdr_sources": self.cdr_sources.list_unreadable,
            "line_connections": self.line_connections.list_unreadable,
            "swept_folders": self.swept_folders.list_unreadable,
            "pbx_credentials": self.pbx_credentials.list_unreadable,
            "source_matches": self.source_matches.list_unreadable,
            "sync_state": self.sync_states.list_unreadable,
            "alarms": self.alarms.list_unreadable,
            "issues": self.issues.list_unreadable,
            "issue_recipients": self.issue_recipients.list_unreadable,
            "alert_channels": self.alert_channels.list_unreadable,
            "alert_settings": self.alert_channels.list_unreadable_hours,
            "saved_searches": self.saved_searches.list_unreadable,
            "saved_questions": self.saved_questions.list_unreadable,
            "sql_history": self.sql_history.list_unreadable,
            "dashboards": self.dashboards.list_unreadable,
            "wallboard_links": self.wallboard_links.list_unreadable,
            "directory_entries": self.directory.list_unreadable,
            "learnt_names": self.directory.list_unreadable_names,
            "pbx_names": self.directory.list_unreadable_pbx_names,
            "notes": self.notes.list_unreadable,
            "missed_call_work": self.missed_call_work.list_unreadable,
            "audit": self.audit.list_unreadable,
            "mask_key": self.mask_key.list_unreadable,
            "shared_ledger": self.cluster.list_unreadable_ledger,
            "shared_certificates": self.cluster.list_unreadable_certificates,
            "mail_settings": self.mail_settings.list_unreadable,
            "mails": self.mails.list_unreadable,
            "report_schedules": self.report_schedules.list_unreadable,
            "leg_groups": self.leg_groups.list_unreadable,
        }
        return await collect_unreadable(listers)

    async def _list_unreadable_pbxs(self) -> list[UnreadableRow]:
        rows = await self._database.rows(f"SELECT {PBX_COLUMNS} FROM pbxs p ORDER BY name")
        secret_rows = await self._database.rows(
            "SELECT secret_id, label, created_at, sn, text FROM secrets ORDER BY secret_id"
        )
        return [
            *list_unreadable("pbxs", rows, decode_pbx),
            *list_unreadable("secrets", secret_rows, lambda row: decode_secret(row[:3])),
        ]

    async def open(self) -> None:
        """Open the database; create it if it does not exist. Raises `Unavailable`, and `OnhookError` for a damaged
        one.
        """
        await self._database.open()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Run the block as one transaction, with one entry in the audit log."""
        return self._database.transaction()

    async def version(self) -> Version:
        """Return a value that changes with every write by any process."""
        return await self._database.version()

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        """Wait until the version differs from this one, at most so long; return the current version."""
        return await self._database.wait_for_change(version, seconds)

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()


def open_appdb(path: Path, url: str = "", node: str = "") -> AppDb:
    """Return the application database of an SQLite file, or of a URL of PostgreSQL where there is one; the first call
    opens it. `node` is the name of this machine among several. Raises `UsageError` for a URL that is none, and where
    the client library is missing.
    """
    if not url:
        return AppDb(path)
    try:
        return AppDb(postgresql_engine.PostgresqlDatabase(url), node)
    except ModuleNotFoundError as error:
        raise UsageError(
            _("PostgreSQL needs the library {name}, which is not installed", name=error.name),
            location="appdb",
            hint=_("run `make install CLUSTER=1`, or install the package with the extra cluster"),
        ) from error


def _pbx_exists_error(name: str, sn: str) -> UsageError:
    return UsageError(
        _("there is already a PBX named {name} or with serial number {sn}", name=repr(name), sn=repr(sn)),
        hint=_("`onhook pbx list` shows them; `onhook pbx change` changes one"),
    )


def _no_pbx_error(name: str) -> NotFound:
    return NotFound(_("there is no PBX {name}", name=repr(name[:80])), hint=_("`onhook pbx list` shows them"))
