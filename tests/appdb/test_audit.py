"""The audit log: one entry for each transaction that changes something."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb import audited_tables
from onhook.appdb.appdb import AppDb
from onhook.appdb.audit import FAILED_NOTE, FAILED_SIGN_INS_MAX, AuditEntry
from onhook.appdb.audited_tables import TABLES
from onhook.appdb.delivery_rows import NewDelivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.origin import Origin, set_origin
from onhook.cdr.number_plan import NumberPlan, parse_number_plan
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1
SPEC = DestinationSpec(
    url="https://crm.example.com/calls?key=hush", headers={"X-Key": "hush"}, proxy="http://me:hush@192.0.2.1:3128"
)


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb


async def latest(appdb: AppDb) -> AuditEntry:
    return (await appdb.audit.latest(1))[0]


async def count(appdb: AppDb) -> int:
    return len(await appdb.audit.latest(1_000))


async def test_audit_added_pbx_is_one_entry_with_its_values(appdb: AppDb) -> None:
    await appdb.add_pbx(name="Office", sn="A", secret="a-first-secret", now_us=NOW)
    (entry,) = await appdb.audit.latest(10)
    assert entry.action == "add PBX Office and 1 more"
    assert entry.before == {}
    assert entry.after["pbxs"][0]["name"] == "Office"
    assert entry.after["secrets"] == [{"label": "webhook", "text": "…"}]


async def test_audit_change_has_the_values_before_and_after(appdb: AppDb) -> None:
    await appdb.add_pbx(name="Office", sn="A", secret="a-first-secret", now_us=NOW)
    await appdb.change_pbx("Office", {"name": "Harbour", "number_plan": parse_number_plan({"ivr": "6200"})})
    entry = await latest(appdb)
    assert entry.action == "change PBX Harbour"
    assert [entry.before["pbxs"][0]["name"], entry.after["pbxs"][0]["name"]] == ["Office", "Harbour"]
    assert entry.before["pbxs"][0]["number_plan"] == {}
    assert NumberPlan() != entry.after["pbxs"][0]["number_plan"]


async def test_audit_removed_pbx_names_what_goes_with_it(appdb: AppDb) -> None:
    await appdb.add_pbx(name="Office", sn="A", secret="a-first-secret", now_us=NOW)
    await appdb.remove_pbx("Office")
    entry = await latest(appdb)
    assert entry.after == {}
    assert set(entry.before) == {"pbxs", "secrets"}


async def test_audit_secrets_are_masked(appdb: AppDb) -> None:
    await appdb.destinations.add("CRM", SPEC, "a-signing-secret-hush", after=0, now_us=NOW)
    text = await appdb.tokens.add("wallboard", "reader", now_us=NOW)
    entries = str(await appdb.audit.latest(10))
    assert "crm.example.com" in entries
    assert "hush" not in entries
    assert text not in entries


async def test_audit_share_token_has_its_search(appdb: AppDb) -> None:
    await appdb.tokens.add("sheet", "reader", now_us=NOW, export_filter="status=BUSY")
    added = await latest(appdb)
    await appdb.tokens.remove("sheet")
    for values in (added.after, (await latest(appdb)).before):
        assert values["share_tokens"] == [{"export_filter": "status=BUSY"}]


async def test_audit_app_that_may_control_calls_is_recorded(appdb: AppDb) -> None:
    await appdb.apps.add("crm", now_us=NOW, pbxs=["A"])
    await appdb.apps.change("crm", allow_control=True)
    entry = await latest(appdb)
    assert [values["apps"][0]["allow_control"] for values in (entry.before, entry.after)] == [0, 1]


async def test_audit_entry_has_its_origin(appdb: AppDb) -> None:
    set_origin(Origin(actor="alice", credential="cookie", address="192.0.2.1", way="page"))
    await appdb.saved_searches.add("mine", "/calls", author="alice")
    entry = await latest(appdb)
    assert (entry.actor, entry.credential, entry.address, entry.way) == ("alice", "cookie", "192.0.2.1", "page")


async def test_audit_refused_change_has_no_entry(appdb: AppDb) -> None:
    await appdb.tokens.add("wallboard", "reader", now_us=NOW)
    with pytest.raises(UsageError):
        await appdb.tokens.add("wallboard", "reader", now_us=NOW)
    assert await count(appdb) == 1


async def test_audit_change_to_the_same_values_has_no_entry(appdb: AppDb) -> None:
    await appdb.add_pbx(name="Office", sn="A", secret="a-first-secret", now_us=NOW)
    await appdb.change_pbx("Office", {"name": "Office"})
    assert await count(appdb) == 1


async def test_audit_state_of_onhook_itself_has_no_entry(appdb: AppDb) -> None:
    """Cursors, uses, rows of deliveries."""
    text = await appdb.tokens.add("wallboard", "reader", now_us=NOW)
    destination, _ = await appdb.destinations.add("CRM", SPEC, None, after=0, now_us=NOW)
    before = await count(appdb)
    await appdb.tokens.find(text, now_us=10**9, is_use=True)
    new_delivery = NewDelivery(notification_id="x", seq=1, call=("A", "1"), body=b"", due_at=1, pending_since=1)
    await appdb.deliveries.add(destination.destination_id, new_delivery)
    assert await count(appdb) == before


async def test_audit_retried_and_discarded_deliveries_are_entries(appdb: AppDb) -> None:
    destination, _ = await appdb.destinations.add("CRM", SPEC, None, after=0, now_us=NOW)
    new_delivery = NewDelivery(notification_id="x", seq=1, call=("A", "1"), body=b"", due_at=1, pending_since=1)
    await appdb.deliveries.add(destination.destination_id, new_delivery)
    await appdb.deliveries.retry(1, now_us=NOW)
    await appdb.deliveries.discard(1, now_us=NOW)
    discarded, retried, *_ = await appdb.audit.latest(10)
    assert retried.action == "change deliveries 1"
    assert discarded.after == {"deliveries": [{"state": "discarded"}]}


async def test_audited_tables_have_their_columns(appdb: AppDb) -> None:
    for name, table in TABLES.items():
        columns = ", ".join((table.name, *table.columns, *table.secrets))
        assert await appdb._database.rows(f"SELECT {columns} FROM {name} LIMIT 0") == []  # noqa: S608 - names of the schema


OWN_TABLES = {
    "alarms": "conditions that Onhook finds",
    "issues": "conditions that Onhook finds",
    "disk_samples": "measured",
    "node_states": "reported by processes",
    "live_queues": "reported by hubs",
    "spools": "reported by intakes",
    "learnt_names": "found in events",
    "pbx_names": "read from PBXs",
    "directory_state": "how far names were looked for",
    "stores": "how far each store is",
    "leases": "which process does what",
    "leg_groups": "found in events",
    "leg_names": "found in events",
    "leg_position": "how far events were read for legs",
    "external_ids": "found in responses",
    "mask_key": "made once, and never shown",
    "shared_ledger": "set by the commands that move and begin a ledger",
    "shared_certificates": "made once, and never shown",
    "secret_owners": "follows from `secrets`",
    "sessions": "sign-ins are entries by themselves",
    "pending_sign_ins": "sign-ins are entries by themselves",
    "sign_in_challenges": "what browsers answer within minutes",
    "totp_enrolments": "become rows of `totp_factors`, or end",
    "app_tokens": "logins of apps, each for half an hour",
    "failed_logins": "counted requests",
    "blocked_addresses": "follows from failed logins",
    "deliveries": "results of attempts; a person's retry or discard is an entry by itself",
    "attempts": "results of attempts",
    "destination_log": "results of attempts; sending one again is an entry by itself",
    "attempt_counts": "results of attempts",
    "mails": "results of attempts; a person's retry or discard is an entry by itself",
    "pending_issue_notices": "follows from `issues`",
    "swept_files": "found in folders",
    "pending_alerts": "follows from `issues`",
    "alert_settings": "when a user is not to be disturbed: it changes nothing for others",
    "reader_settings": "how a user sees times: it changes nothing for others",
    "sql_history": "what a user has run: it changes nothing for others",
    "audit": "the log itself",
}
"""Tables without entries, and why."""


@pytest.mark.usefixtures("sqlite_file")
async def test_each_table_of_the_schema_is_audited_or_named_here(appdb: AppDb) -> None:
    """A new table is one or the other."""
    rows = await appdb._database.rows(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    tables = {name for (name,) in rows}
    assert TABLES.keys() & OWN_TABLES.keys() == set()
    assert tables == TABLES.keys() | OWN_TABLES.keys()


ADDING: dict[str, Callable[[AppDb, int], Awaitable[object]]] = {
    "change": lambda appdb, number: appdb.tokens.add(f"t{number}", "reader", now_us=number),
    "sign-in": lambda appdb, number: appdb.audit.add_sign_in(
        now_us=number, actor="x", credential="password", address="192.0.2.7", status=401
    ),
    "read": lambda appdb, number: appdb.audit.add_read(f"read {number}", now_us=number),
}


async def test_audit_failed_sign_ins_and_failed_requests_of_apps_do_not_hide_each_other(appdb: AppDb) -> None:
    """The status of a request is a code of the PBX API, such as 40002; the limit is that of sign-ins."""

    async def add_request() -> None:
        await appdb.audit.add(
            now_us=NOW, actor="crm", credential="app", address="192.0.2.8", action="call/dial", status=40002
        )

    async def add_sign_in() -> None:
        await appdb.audit.add_sign_in(now_us=NOW, actor="ann", credential="password", address="192.0.2.7", status=401)

    for _number in range(FAILED_SIGN_INS_MAX):
        await add_request()
    await add_sign_in()
    assert (await latest(appdb)).action == "sign in"
    for _number in range(FAILED_SIGN_INS_MAX):
        await add_sign_in()
    assert (await latest(appdb)).action == "sign in" + FAILED_NOTE
    assert await count(appdb) == 2 * FAILED_SIGN_INS_MAX
    await add_request()
    assert ((await latest(appdb)).action, (await latest(appdb)).status) == ("call/dial", 40002)


@pytest.mark.parametrize("add", ADDING.values(), ids=ADDING.keys())
async def test_audit_entries_beyond_the_limit_are_deleted(
    appdb: AppDb, monkeypatch: pytest.MonkeyPatch, add: Callable[[AppDb, int], Awaitable[object]]
) -> None:
    """By whichever kind of entry: the oldest first."""
    monkeypatch.setattr(audited_tables, "AUDIT_ENTRIES_MAX", 5)
    for number in range(1, 9):
        await add(appdb, number)
    assert [entry.audit_id for entry in await appdb.audit.latest(100)] == [8, 7, 6, 5, 4]


@pytest.mark.usefixtures("sqlite_file")
async def test_audit_latest_skips_unreadable_entries_and_fills_the_page(appdb: AppDb, tmp_path: Path) -> None:
    for number in range(1, 9):
        await appdb.audit.add_read(f"read {number}", now_us=number)
    with closing(sqlite3.connect(tmp_path / "onhook.db", isolation_level=None)) as connection:
        connection.execute("UPDATE audit SET after = '{' WHERE audit_id IN (4, 5, 7)")
    pages = [await appdb.audit.latest(3), await appdb.audit.latest(3, 3), await appdb.audit.latest(0)]
    assert [[entry.audit_id for entry in page] for page in pages] == [[8, 6, 3], [2, 1], []]
