"""`onhook.db` of each earlier schema version, with rows in every table, and the upgraded rows."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite_file import APPLICATION_ID
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.coverage import Interval
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.lib.errors import OnhookError
from onhook.lib.migrations import load_migrations
from onhook.lib.timestamps import to_datetime
from onhook.pbx.asterisk.call_collector import AsteriskParserConfig
from onhook.pbx.asterisk.connection import decode_parser_config
from onhook.pbx.yeastar.tokens import PbxToken, TokenState
from tests.counts import sampled
from tests.migrations import RowsByStep, assert_sound, create_old_file, insert_row, read_rows, read_schema

NEWEST_VERSION = load_migrations("onhook.appdb", "sqlite")[-1].version
SN, ASTERISK_SN = "3631A2124ABC", "ASTERISK"
T = 1_795_848_000_000_000
"""Microseconds since 1970."""

NO_FILTER = (
    '{"since":null,"until":null,"pbx":null,"sn":null,"call_id":null,"number":null,"call_from":null,"call_to":null,'
    '"status":null,"type":null,"trunk":null,"did_number":null,"min_talk_duration":null,"max_talk_duration":null,'
    '"aspects":null,"within":null}'
)
BUSY_FILTER = NO_FILTER.replace('"status":null', '"status":"BUSY"')
WISHES = (
    '{"url":"https://crm.example.com/a?b=c","about":"calls","sink":"webhook","method":"GET","where":'
    + BUSY_FILTER
    + ","
    '"profile":"p-2023","per":"call","timeout_seconds":7.5,"plan":"original","tries":5,"headers":{"X-Key":"about"},'
    '"with_standard_webhooks":true,"allows_private":true}'
)
ALARM_WISHES = '{"url":"https://crm.example.com/alarms","about":"alarms","allows_private":false}'
MINIMAL_WISHES = '{"url":"https://crm.example.com/minimal"}'
GRANT = (
    '{"token":"\\"until\\":","given_at":1795848000.25,"until":1795849800.5,"refresh":"r1","refresh_until":1795934400.0}'
)
TOKENS = (
    '{"current":' + GRANT + ',"old":[' + GRANT + '],"unknown":[1795848001.5],"retry_at":1795848002.5,"failures":3,'
    '"refusals":1,"halted":"the PBX refuses our address","trouble":"10005 ACCESS DENIED"}'
)


def subscription(name: str, wishes: str, **changes: Any) -> dict[str, Any]:
    row = {"name": name, "wishes": wishes, "app": "", "state": "active", "reason": "", "failing_since": None}
    return row | {"delivered": 11, "failed": 2, "revision": 3, "created_at": T} | changes


def delivery(state: str, event_id: str, **changes: Any) -> dict[str, Any]:
    row = {"subscription_id": 1, "state": state, "event_id": event_id, "seq": 7, "sn": SN, "call_id": "1.1"}
    return row | {"body": b"{}", "attempts": 2, "due_at": T + 5, "owed_at": T} | changes


ROWS: RowsByStep = {
    1: {
        "pbxs": [
            {"sn": SN, "name": "Office", "dialect": "yeastar", "zone": "Europe/Berlin", "is_unsigned": 0,
             "plan": '{"extension_digits_max":4,"ivr":["6200"],"ring_group":[],"queue":[],"conference":[]}',
             "created_at": T},
            {"sn": ASTERISK_SN, "name": "Lab", "dialect": "asterisk", "zone": None, "is_unsigned": 1, "plan": "{}",
             "created_at": T},
        ],
        "secrets": [{"sn": SN, "label": "webhook", "text": "secret-of-the-office", "created_at": T}],
        "tokens": [
            {"name": "wall", "hash": b"\1", "role": "reader", "created_at": T, "last_used": T + 1},
            {"name": "unused", "hash": b"\2", "role": "administrator", "created_at": T, "last_used": None},
        ],
    },
    2: {
        "subscriptions": [
            subscription("CRM", WISHES, state="disabled", reason="410 Gone", failing_since=T),
            subscription("Pager", ALARM_WISHES),
            subscription("Minimal", MINIMAL_WISHES, app="client"),
        ],
        "signing_secrets": [{"subscription_id": 1, "label": "webhook", "text": "signing-secret", "created_at": T}],
        "streams": [
            {"subscription_id": 1, "filter": BUSY_FILTER, "cursor": 5, "until": None, "is_held": 0, "created_at": T},
            {"subscription_id": 1, "filter": NO_FILTER, "cursor": 1, "until": 4, "is_held": 0, "created_at": T},
            {"subscription_id": 3, "filter": NO_FILTER, "cursor": None, "until": None, "is_held": 0, "created_at": T},
        ],
        "deliveries": [
            delivery("waiting", "a"),
            delivery("parked", "b", call_id="2.1"),
            delivery("delivered", "c", call_id="3.1"),
            delivery("delivered", "c", call_id="3.1"),
        ],
        "attempts": [
            {"delivery_id": 1, "at": T, "milliseconds": 12, "status": 500, "said": "500", "body": b"no"},
            {"delivery_id": 1, "at": T + 1, "milliseconds": 9, "status": None, "said": "refused", "body": b""},
        ],
    },
    3: {
        "apps": [
            {"name": "wallboard", "client_id": "client", "secret_hash": b"\3", "pbxs": f'["{SN}"]',
             "networks": '["192.0.2.0/24"]', "manner": '{"model":"P560","profile":"doc"}', "created_at": T,
             "last_used": T + 1},
            {"name": "plain", "client_id": "other", "secret_hash": b"\4", "pbxs": "[]", "networks": "[]",
             "manner": "{}", "created_at": T, "last_used": None},
        ],
        "blocked": [{"address": "192.0.2.9", "until": T + 9}],
    },
    4: {"places": [{"sn": ASTERISK_SN, "addresses": "192.0.2.7 192.0.2.8", "path": "/secret-of-the-lab"}]},
    5: {
        "apis": [
            {"sn": SN, "url": "https://pbx:8088", "client_id": "i", "client_secret": "s", "fingerprint": "",
             "tokens": TOKENS},
            {"sn": ASTERISK_SN, "url": "https://lab:8088", "client_id": "i", "client_secret": "s", "fingerprint": "",
             "tokens": ""},
        ]
    },
    6: {
        "receiving": [
            {
                "sn": SN,
                "stretches": '[{"since":"2026-05-02T00:00:00Z","until":"2026-05-03T00:00:00Z","state":"complete","why":'
                '"compared"},{"since":"2026-05-01T00:00:00Z","until":"2026-05-01T12:00:00.5Z","state":"heard","why":'
                '"it was \\"heard\\"; all of it"},{"since":"2026-05-04T00:00:00Z","until":"2026-05-05T00:00:00Z",'
                '"state":"gap","why":""}]',
                "contact": '{"at":17,"firmware":"37.23","skew_seconds":-1,"offset_seconds":3600}',
                "progress": '{"since":1,"until":9,"done_until":4,"asked_at":5,"from_us":2,"to_us":8}',
                "wish": '{"since":3,"until":null,"asked_at":6}',
                "outcome": '{"asked_at":6,"rows":9,"new":1,"changed":2,"same":3,"unreadable":4,"trouble":"cut",'
                '"error":"e"}',
                "silence_minutes": 30,
            },
            {"sn": ASTERISK_SN, "stretches": "[]", "progress":
             '{"since":1,"until":9,"done_until":4,"asked_at":5,"from_us":2,"to_us":null}'},
        ],
        "alarms": [
            {"sn": SN, "kind": "silence", "what": "no call", "todo": "look", "began_at": T, "seen_at": T + 2,
             "ended_at": None, "times": 4},
            {"sn": SN, "kind": "silence", "what": "no call", "todo": "look", "began_at": T, "seen_at": T + 1,
             "ended_at": T + 2, "times": 1},
        ],
    },
    7: {
        "people": [
            {"name": "Alice", "role": "reader", "limits": f'{{"sns":["{SN}"],"numbers":["1001"]}}', "password": b"\5",
             "stamp": T + 3, "created_at": T, "last_seen": T + 4},
            {"name": "Bob", "role": "administrator", "limits": None, "password": None, "stamp": T, "created_at": T,
             "last_seen": None},
        ],
        "invitations": [{"hash": b"\6", "name": "Bob", "expires_at": T + 9}],
        "tokens": [
            {"name": "limited", "hash": b"\7", "role": "reader", "created_at": T, "limits": '{"sns":null,"numbers":[]}'}
        ],
        "audit": [
            {"at": T, "who": "admin", "by": "token", "address": "127.0.0.1", "what": "POST /people", "status": 201}
        ],
        "notes": [
            {"sn": SN, "call_id": "1.1", "text": "first", "tags": "", "who": "Alice", "at": T},
            {"sn": SN, "call_id": "1.1", "text": "", "tags": "vip,sales", "who": "Bob", "at": T + 1},
        ],
        "searches": [{"name": "missed", "path": "/calls?status=!ANSWERED", "who": "admin"}],
    },
    8: {
        "asterisks": [
            {"sn": ASTERISK_SN, "host": "lab", "port": 5038, "user": "onhook", "secret": "ami", "tls": "off",
             "trunks": None, "inbound": "from-trunk", "has_pins": 1,
             "learned": '{"trunks":["a"],"inbound":["from-a"],"has_pins":true}', "is_connected": 1,
             "connected_at": T, "covered_until": T + 1, "trouble": "no \"inbound\": route"},
        ],
        "asterisk_gaps": [{"sn": ASTERISK_SN, "since": T, "until": T + 1}],
    },
    10: {"recordings": [{"sn": SN, "directory": "/recordings"}]},
    11: {"keeping": [{"sn": SN, "days": 90}]},
    12: {
        "sources": [
            {"sn": ASTERISK_SN, "place": "mysql://u@h:3306/cdr", "cdr_table": "cdr", "columns": "a,b", "password": "p"}
        ]
    },
    46: {"swept_folders": [{"sn": SN, "path": "/a", "target": "", "stored": 7, "unreadable": 1, "error": ""}]},
}  # fmt: skip

NEW_TABLE_NAMES = {
    "subscriptions": "destinations",
    "blocked": "blocked_addresses",
    "places": "source_matches",
    "apis": "pbx_credentials",
    "receiving": "sync_state",
    "people": "users",
    "searches": "saved_searches",
    "keeping": "retention_overrides",
    "sources": "cdr_sources",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "onhook.db"


@pytest.fixture
async def appdb(path: Path) -> AsyncIterator[AppDb]:
    """Yield the file of version 12, upgraded."""
    create_old_file(path, "onhook.appdb", 12, APPLICATION_ID, ROWS, engine="sqlite")
    async with AppDb(path) as appdb:
        yield appdb


async def test_migrate_older_version_every_row_can_be_read(appdb: AppDb) -> None:
    """JSON columns have got a version."""
    assert await appdb.list_unreadable() == []
    assert [pbx.name for pbx in await appdb.pbxs()]


@pytest.mark.parametrize("version", sampled(range(NEWEST_VERSION)))
async def test_migrate_older_version_keeps_every_row_and_is_sound(path: Path, tmp_path: Path, version: int) -> None:
    create_old_file(path, "onhook.appdb", version, APPLICATION_ID, ROWS, engine="sqlite")
    async with AppDb(path):
        pass
    assert_sound(path, NEWEST_VERSION)
    expected: dict[str, int] = {}
    for step in range(1, version + 1):
        for table, rows in ROWS.get(step, {}).items():
            new_name = NEW_TABLE_NAMES.get(table, table)
            expected[new_name] = expected.get(new_name, 0) + len(rows)
    expected.pop("asterisk_gaps", None)
    expected["secret_owners"] = expected.get("secrets", 0)
    expected = {table: count for table, count in expected.items() if count}
    actual = {table: len(rows) for table, rows in read_rows(path).items() if rows and table != "sqlite_sequence"}
    assert actual == expected
    async with AppDb(tmp_path / "new.db"):
        pass
    assert read_schema(path) == read_schema(tmp_path / "new.db")


async def test_migrate_newer_version_is_refused_and_left_alone(path: Path) -> None:
    create_old_file(path, "onhook.appdb", NEWEST_VERSION, APPLICATION_ID, {}, engine="sqlite")
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {NEWEST_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(OnhookError, match="newer Onhook"):
        await AppDb(path).open()
    assert path.read_bytes() == before


async def test_migrate_opened_several_times_at_once_is_applied_once(path: Path) -> None:
    create_old_file(path, "onhook.appdb", 12, APPLICATION_ID, ROWS, engine="sqlite")
    appdbs = [AppDb(path) for _ in range(8)]
    await asyncio.gather(*(appdb.open() for appdb in appdbs))
    for appdb in appdbs:
        await appdb.close()
    assert_sound(path, NEWEST_VERSION)


async def test_migrate_step_that_fails_leaves_the_older_version(path: Path) -> None:
    create_old_file(path, "onhook.appdb", 12, APPLICATION_ID, ROWS, engine="sqlite")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cdr_sources (sn TEXT)")
    connection.close()
    with pytest.raises(OnhookError, match="cdr_sources"):
        await AppDb(path).open()
    assert_sound(path, 12)
    assert len(read_rows(path)["subscriptions"]) == 3


async def test_migrate_text_that_is_not_json_stays_as_it_is(path: Path) -> None:
    create_old_file(path, "onhook.appdb", 12, APPLICATION_ID, ROWS, engine="sqlite")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE receiving SET stretches = '[', contact = '{', progress = 'x', wish = '}', outcome = '{'")
    connection.execute("UPDATE subscriptions SET wishes = '{'")
    connection.execute("UPDATE streams SET filter = '['")
    connection.execute("UPDATE apps SET manner = ''")
    connection.commit()
    connection.close()
    async with AppDb(path):
        pass
    rows = read_rows(path)
    assert [row["intervals"] for row in rows["sync_state"]] == ["[", "["]
    assert [row["spec"] for row in rows["destinations"]] == ["{"] * 3


async def test_serial_number_history_of_an_older_version_is_kept(path: Path) -> None:
    """What a removed serial number had until the upgrade stays the PBX's; equal secrets are known as such."""
    rows = {
        **ROWS,
        21: {
            "serial_numbers": [
                {"sn": "STANDBY", "pbx_sn": SN, "is_accepted": 1}, {"sn": "OLD", "pbx_sn": SN, "is_accepted": 0},
            ],
            "secrets": [{"sn": ASTERISK_SN, "label": "webhook", "text": "secret-of-the-office", "created_at": T}],
        },
    }  # fmt: skip
    create_old_file(path, "onhook.appdb", 21, APPLICATION_ID, rows, engine="sqlite")
    async with AppDb(path) as appdb:
        old, standby = await appdb.serial_numbers.all()
        assert (standby.removed_at, old.removed_at is not None) == (None, True)
        assert old.removed_at is not None
        assert abs(to_datetime(old.removed_at) - datetime.now(UTC)) < timedelta(hours=1)
        group = frozenset({SN, ASTERISK_SN})
        assert await appdb.secret_owners.groups() == {SN: (group,), ASTERISK_SN: (group,)}


async def test_plain_names_destinations_have_their_specification(appdb: AppDb) -> None:
    crm, minimal, pager = await appdb.destinations.all()
    assert (crm.notifies_of, crm.kind, crm.method, crm.payload_format) == ("calls", "webhook", "GET", "p-2023")
    assert (crm.retry_policy, crm.max_attempts, crm.timeout_seconds) == ("original", 5, 7.5)
    assert (crm.url, crm.headers) == ("https://crm.example.com/a?b=c", {"X-Key": "about"})
    assert (crm.with_standard_webhooks, crm.allow_private, crm.filter) == (True, True, RecordFilter(status="BUSY"))
    assert (crm.state, crm.reason, crm.failing_since, crm.retry_after) == ("disabled", "410 Gone", to_datetime(T), None)
    assert (crm.attempts_succeeded, crm.attempts_failed, crm.revision, crm.secrets) == (11, 2, 3, 1)
    assert (pager.notifies_of, pager.allow_private) == ("alarms", False)
    assert (minimal.notifies_of, minimal.kind, minimal.payload_format, minimal.retry_policy, minimal.app) == (
        *("records", "webhook", "p-2026", "days", "client"),
    )
    assert (minimal.max_attempts, minimal.allow_private, minimal.filter) == (3, False, RecordFilter())
    streams = await appdb.destinations.streams(crm.destination_id)
    assert [(stream.filter, stream.cursor, stream.until) for stream in streams] == [
        (RecordFilter(status="BUSY"), 5, None),
        (RecordFilter(), 1, 4),
    ]
    assert await appdb.destinations.secret_texts(crm.destination_id) == ("signing-secret",)


@pytest.mark.usefixtures("appdb")
def test_plain_names_stored_specification_has_no_old_member(path: Path) -> None:
    specs = [json.loads(row["spec"]) for row in read_rows(path)["destinations"]]
    assert [spec["version"] for spec in specs] == [1, 1, 1]
    old_names = {"about", "per", "sink", "where", "profile", "plan", "tries", "allows_private"}
    assert not any(old_names & spec.keys() or {"aspects", "within"} & spec["filter"].keys() for spec in specs)
    assert [row["filter"].count("aspects") for row in read_rows(path)["streams"]] == [0, 0, 0]


async def test_plain_names_deliveries_have_their_states_and_attempts(appdb: AppDb) -> None:
    page = await appdb.deliveries.page(1, None, 10)
    assert [(row.state, row.notification_id) for row in page] == [
        ("retrying", "a"), ("failed", "b"), ("delivered", "c"), ("delivered", "c"),
    ]  # fmt: skip
    assert (page[0].pending_since, page[0].due_at, page[0].attempts) == (to_datetime(T), to_datetime(T + 5), 2)
    attempts = await appdb.deliveries.attempts(1)
    assert [
        (attempt.attempted_at, attempt.duration_ms, attempt.status, attempt.detail, attempt.body)
        for attempt in attempts
    ] == [
        (to_datetime(T), 12, 500, "500", "no"),
        (to_datetime(T + 1), 9, None, "refused", ""),
    ]
    backlog = await appdb.deliveries.backlog(1)
    assert (backlog.retrying, backlog.failed, backlog.oldest_pending_at) == (1, 1, T)


async def test_plain_names_sync_state_is_read_as_it_was(appdb: AppDb) -> None:
    sync_states = appdb.sync_states
    day = [datetime(2026, 5, number, tzinfo=UTC) for number in range(1, 6)]
    assert await sync_states.intervals(SN) == [
        Interval(day[1], day[2], "complete", "compared"),
        Interval(day[0], datetime(2026, 5, 1, 12, 0, 0, 500_000, UTC), "connected", 'it was "heard"; all of it'),
        Interval(day[3], day[4], "gap", ""),
    ]
    assert await sync_states.pbx_status(SN) == PbxStatus(
        checked_at=17, firmware="37.23", skew_seconds=-1, offset_seconds=3600
    )
    progress = BackfillProgress(since=1, until=9, done_until=4, started_at=5, requested_since=2, requested_until=8)
    assert await sync_states.backfill_progress(SN) == progress
    assert await sync_states.backfill_request(SN) == BackfillRequest(since=3, until=None, requested_at=6)
    assert await sync_states.backfill_result(SN) == BackfillResult(
        requested_at=6, rows=9, new=1, changed=2, same=3, unreadable=4, incomplete_reason="cut", error="e"
    )
    assert await sync_states.silence_minutes(SN) == 30
    assert await sync_states.intervals(ASTERISK_SN) == []
    assert await sync_states.pbx_status(ASTERISK_SN) is None
    open_progress = await sync_states.backfill_progress(ASTERISK_SN)
    assert open_progress is not None
    assert (open_progress.requested_since, open_progress.requested_until) == (2, None)


async def test_plain_names_pbxs_keep_tokens_credentials_and_detected_config(appdb: AppDb) -> None:
    office = await appdb.pbx("Office")
    assert (office.number_plan.extension_digits_max, office.number_plan.ivr, office.secrets) == (4, ("6200",), 1)
    credentials = await appdb.pbx_credentials.require(SN, "Office")
    token = PbxToken('"until":', 1795848000.25, 1795849800.5, "r1", 1795934400.0)
    assert msgspec.json.decode(
        await appdb.pbx_credentials.tokens(SN, credentials) or "", type=TokenState
    ) == TokenState(
        current_token=token,
        replaced_tokens=(token,),
        unconfirmed_until=(1795848001.5,),
        retry_at=1795848002.5,
        failures=3,
        refused_logins=1,
        halt_reason="the PBX refuses our address",
        error="10005 ACCESS DENIED",
    )
    asterisk = await appdb.asterisks.get(ASTERISK_SN)
    assert decode_parser_config(asterisk.detected_config) == AsteriskParserConfig(
        trunks=("a",), inbound_contexts=("from-a",), has_pins=True
    )
    assert (asterisk.error, asterisk.inbound, asterisk.is_connected) == ('no "inbound": route', ("from-trunk",), True)
    match = await appdb.source_matches.get(ASTERISK_SN)
    assert (match.addresses, match.path) == (("192.0.2.7", "192.0.2.8"), "/secret-of-the-lab")
    source = await appdb.cdr_sources.get(ASTERISK_SN)
    assert source is not None
    assert (source.location, source.table, source.columns) == ("mysql://u@h:3306/cdr", "cdr", ("a", "b"))
    assert await appdb.retention_overrides.all() == {SN: 90}
    assert await appdb.recordings.get(SN) == Path("/recordings")


async def test_plain_names_alarms_are_open_or_over_as_before(appdb: AppDb) -> None:
    alarms = [
        (alarm.detail, alarm.hint, alarm.last_seen_at, alarm.ended_at, alarm.occurrences)
        for alarm in await appdb.alarms.all()
    ]
    assert alarms == [
        ("no call", "look", to_datetime(T + 2), None, 4),
        ("no call", "look", to_datetime(T + 1), to_datetime(T + 2), 1),
    ]
    await appdb.alarms.raise_alarm(SN, "silence", "no call", hint="look", now_us=T + 5)
    assert [alarm.occurrences for alarm in await appdb.alarms.open_alarms()] == [5]


async def test_plain_names_users_tokens_and_apps_keep_their_rights(appdb: AppDb) -> None:
    alice, bob = await appdb.users.all()
    assert (alice.scope, alice.password_version, alice.last_seen_at) == (
        *(AccessScope((SN,), ("1001",)), T + 3, to_datetime(T + 4)),
    )
    assert (bob.scope, bob.has_password, bob.last_seen_at) == (None, False, None)
    assert [(token.name, token.scope, token.last_used_at) for token in await appdb.tokens.all()] == [
        ("limited", AccessScope(None, ()), None),
        ("unused", None, None),
        ("wall", None, to_datetime(T + 1)),
    ]
    plain, wallboard = await appdb.apps.all()
    assert wallboard.behaviour == ApiBehaviour(model="P560", payload_format="doc")
    assert (wallboard.pbxs, wallboard.networks, wallboard.last_used_at) == (
        *((SN,), ("192.0.2.0/24",), to_datetime(T + 1)),
    )
    assert plain.behaviour == ApiBehaviour()
    assert [blocked_address.address for blocked_address in await appdb.apps.blocked_addresses(T)] == ["192.0.2.9"]


async def test_plain_names_audit_log_and_notes_keep_their_authors(appdb: AppDb) -> None:
    (entry,) = await appdb.audit.latest(10)
    assert (entry.actor, entry.credential, entry.address, entry.action, entry.status, entry.created_at) == (
        *("admin", "token", "127.0.0.1", "POST /people", 201, to_datetime(T)),
    )
    notes = await appdb.notes.history(SN, "1.1")
    assert [(note.text, note.tags, note.author, note.created_at) for note in notes] == [
        ("", ("vip", "sales"), "Bob", to_datetime(T + 1)),
        ("first", (), "Alice", to_datetime(T)),
    ]


SEARCH_PATHS = {
    "/calls": "/calls",
    "/calls?status=!ANSWERED": "/calls?status=!ANSWERED",
    "/calls?columns=by": "/calls?columns=answered_by",
    "/calls?columns=by%2Cwait%2Cwhole": "/calls?columns=answered_by,wait,duration",
    "/calls?columns=whole,by&q=a,by": "/calls?columns=duration,answered_by&q=a,by",
    "/calls?q=%2Cby%2Cwhole&columns=wait%2cby&by_trunk=A": (
        "/calls?q=%2Cby%2Cwhole&columns=wait,answered_by&by_trunk=A"
    ),
    "/calls?q=,whole&sort=-type": "/calls?q=,whole&sort=-type",
    "/calls?columns=": "/calls?columns=",
    "/calls?columns=&of=whole": "/calls?columns=&of=whole",
    "/calls?columns=talk,trunk": "/calls?columns=talk,trunk",
    "/reports": "/reports",
    "/reports?of=week": "/reports?report=week",
    "/reports?since=7d&of=answer&by=day": "/reports?since=7d&report=answer&by=day",
    "/reports?columns=by&q=of": "/reports?columns=by&q=of",
}


@pytest.mark.parametrize(("old_path", "new_path"), SEARCH_PATHS.items())
async def test_plain_names_saved_search_leads_to_the_same_page(path: Path, old_path: str, new_path: str) -> None:
    create_old_file(path, "onhook.appdb", 12, APPLICATION_ID, {}, engine="sqlite")
    connection = sqlite3.connect(path)
    insert_row(connection, "searches", {"name": "mine", "path": old_path, "who": "admin"})
    connection.commit()
    connection.close()
    async with AppDb(path) as appdb:
        saved_searches = await appdb.saved_searches.all()
    assert [(saved.name, saved.path, saved.author) for saved in saved_searches] == [("mine", new_path, "admin")]


async def test_new_file_has_the_schema_of_an_upgraded_one(tmp_path: Path) -> None:
    """It begins with a baseline; the first version is upgraded step by step."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    create_old_file(old, "onhook.appdb", 1, APPLICATION_ID, {}, engine="sqlite")
    for path in (old, new):
        async with AppDb(path) as appdb:
            assert await appdb.pbxs() == []
        assert_sound(path, NEWEST_VERSION)
    assert read_schema(new) == read_schema(old)
