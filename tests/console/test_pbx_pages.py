"""Pages of PBXs: adding a PBX up to its first call, secrets, and the state."""

import re
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import parse_cdr_source
from onhook.ledger.contract import CounterKey, LedgerEntry
from onhook.pbx.asterisk.payload import PAYLOAD_FORMAT, Asterisk
from onhook.runtime.adapters import actions
from tests.console.conftest import SECRET, ConsoleHarness
from tests.factories import QUEUE, SN, STARTED_AT, details

OURS = {"Sec-Fetch-Site": "same-origin"}
NEW_SN = "3699NEW"


async def read_page(client: aiohttp.ClientSession, path: str) -> str:
    answer = await client.get(path)
    assert answer.status == 200, path
    return await answer.text()


async def test_pbx_page_guides_new_pbx_to_first_call(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Add it, copy the settings with the secret, wait for the test event; the secret is never shown again."""
    text = await (await client.post("/pbxs", data={"name": "branch", "sn": NEW_SN})).text()
    secret = re.search(r'class="secret" data-copy="secret">(\w{32})<', text)
    assert secret
    assert ":30012/" in text
    waiting = await read_page(client, f"/pbxs/{NEW_SN}?wait=yes")
    assert 'http-equiv="refresh"' in waiting
    assert "Nothing received yet" in waiting
    await harness.ledger.add_counts({CounterKey("test_message", NEW_SN, "test"): 1}, harness.clock.microseconds())
    arrived = await read_page(client, f"/pbxs/{NEW_SN}?wait=yes")
    assert "The test event has arrived" in arrived
    assert 'http-equiv="refresh"' not in arrived
    assert secret[1] not in arrived + await read_page(client, "/pbxs") + await read_page(client, f"/pbxs/{NEW_SN}")


async def test_pbx_page_secrets_are_added_and_removed(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The last secret cannot be removed; no text of a secret is on the page."""
    answer = await client.post(f"/pbxs/{SN}/secrets/1/remove")
    assert "no other secret" in await answer.text()
    text = await (await client.post(f"/pbxs/{SN}/secrets", data={"label": "new", "secret": "another secret"})).text()
    assert "another secret" in text
    assert "Secret revoked" in await (await client.post(f"/pbxs/{SN}/secrets/1/remove")).text()
    assert [secret.label for secret in await harness.appdb.secrets(SN)] == ["new"]
    text = await read_page(client, f"/pbxs/{SN}")
    assert SECRET not in text
    assert "another secret" not in text


async def test_pbx_page_changes_name_zone_and_number_plan(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """An invalid value is an error and changes nothing."""
    changes = {"name": "head office", "zone": "Asia/Kathmandu", "queue": "7000-7099", "ivr": "6200-6299"}
    changes |= {"extension_digits_max": "3", "extension": "12345670-12345679"}
    assert "Settings saved." in await (await client.post(f"/pbxs/{SN}", data=changes)).text()
    changed = await harness.appdb.pbx(SN)
    assert (changed.name, changed.zone, changed.number_plan.queue) == ("head office", "Asia/Kathmandu", ("7000-7099",))
    assert (changed.number_plan.extension_digits_max, changed.number_plan.kind_of("1001")) == (3, "external")
    assert [changed.number_plan.kind_of(number) for number in ("201", "12345678")] == ["extension"] * 2
    for wrong in ({"zone": "Mars/Base"}, {"queue": "x"}, {"name": ""}, {"extension_digits_max": "many"}):
        text = await (await client.post(f"/pbxs/{SN}", data={"name": "head office", **wrong})).text()
        assert 'role="alert"' in text
    assert await harness.appdb.pbx(SN) == changed
    await client.post(f"/pbxs/{SN}/remove")
    assert await harness.appdb.pbxs() == []


async def test_pbx_page_state_follows_events(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A wrong clock is marked; a rejected request, is counted; an unknown PBX can be added."""
    assert ">waiting<" in await read_page(client, "/pbxs")
    await harness.ingest_details([details(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))])
    text = await read_page(client, f"/pbxs/{SN}")
    assert ">reporting<" in text
    assert "clock?" in text
    assert "Detected from its call ids: UTC+08:00" in text
    later = harness.clock.microseconds() + 1_000_000
    await harness.ledger.add_counts(
        {CounterKey("invalid_signature", SN, ""): 3, CounterKey("unknown_pbx", NEW_SN, ""): 2}, later
    )
    text = await read_page(client, "/pbxs")
    assert ">reporting<" in text
    assert '<td data-label="Rejected" class="figure">3</td>' in text
    assert f'value="{NEW_SN}"' in text


async def test_pbx_page_imported_calls_are_no_events(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The state stays that of a PBX that has sent nothing."""
    await harness.ledger.add_counts({CounterKey("stored", SN, "via:import"): 3}, harness.clock.microseconds())
    assert ">waiting<" in await read_page(client, f"/pbxs/{SN}")


async def test_pbx_page_registered_pbx_is_not_unknown(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A PBX may be configured before it is registered."""
    await harness.ledger.add_counts({CounterKey("unknown_pbx", SN, ""): 6}, harness.clock.microseconds())
    assert "Unknown PBXs trying to connect" not in await read_page(client, "/pbxs")
    assert "Requests from an unknown PBX" not in await read_page(client, "/")


async def test_pbx_page_impossible_action_is_explained(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples are a receiver that does not respond, simulated calls beside real ones, and a reader."""
    # The usual port may be that of a running installation.
    monkeypatch.setattr(actions, "intake_port", lambda _config: 1)
    text = await (await client.post(f"/pbxs/{SN}/test")).text()
    assert "does not answer" in text
    await harness.ingest_details([details()])
    assert (await client.post("/pbxs/simulated")).status == 400
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert "/secrets" not in await read_page(other, f"/pbxs/{SN}")
        for path in ("/pbxs", "/pbxs/simulated", f"/pbxs/{SN}", f"/pbxs/{SN}/secrets", f"/pbxs/{SN}/remove"):
            assert (await other.post(path, data={"name": "x", "sn": "y"}, headers=OURS)).status == 403


async def test_pbx_page_runs_checks(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The page and the API say what to do; a reader is rejected."""
    text = await (await client.post(f"/pbxs/{SN}/checks")).text()
    assert "Results" in text
    assert "is not set: no further checks" in text
    checks = (await (await client.post(f"/api/v1/pbxs/{SN}/checks")).json())["data"]
    assert {"OK", "WARNING"} == {check["status"] for check in checks}
    assert all(bool(check["hint"]) is (check["status"] == "WARNING") for check in checks)
    assert "its texts are read as utf-8" in text
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert "/checks" not in await read_page(other, f"/pbxs/{SN}")
        assert (await other.post(f"/pbxs/{SN}/checks")).status == 403


async def test_pbx_page_changes_conventions(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The encoding and the meaning of `agent_ring_time`, by the page and by the API; an empty field has its default."""
    path, api_path = f"/pbxs/{SN}/conventions", f"/api/v1/pbxs/{SN}/conventions"
    text = await (await client.post(path, data={"encoding": "GBK", "ring_time": "wait"})).text()
    assert "Its texts are in gbk." in text
    assert "It is set for this PBX." in text
    assert await (await client.get(api_path)).json() == {"encoding": "gbk", "ring_time": "wait"}
    assert 'role="alert"' in await (await client.post(path, data={"encoding": "utf-7000"})).text()
    assert 'role="alert"' in await (await client.post(path, data={"ring_time": "long"})).text()
    assert (await harness.appdb.pbx_conventions.get(SN)).encoding == "gbk"
    refused = await client.put(api_path, json={"encoding": "base64"})
    assert (refused.status, "is not an encoding of texts" in await refused.text()) == (400, True)
    assert (await client.put(api_path, json={"ring_time": "long"})).status == 400
    changed = await client.put(api_path, json={"ring_time": "ring"})
    assert await changed.json() == {"encoding": "utf-8", "ring_time": "ring"}
    await client.post(path, data={})
    assert await (await client.get(api_path)).json() == {"encoding": "utf-8", "ring_time": "auto"}
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert "/conventions" not in await read_page(other, f"/pbxs/{SN}")
        assert (await other.post(path, data={}, headers=OURS)).status == 403
        assert (await other.put(api_path, json={})).status == 403


async def test_pbx_page_sets_the_alarm_of_silence_and_the_signature(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """A PBX without a secret cannot be required to sign; an Asterisk is not asked."""
    path = f"/pbxs/{SN}/alarm"
    page = await (await client.post(path, data={"silence": "30", "signed": ""})).text()
    assert ("Settings saved" in page, 'name="silence" maxlength="6" value="30"' in page) == (True, True)
    assert await harness.appdb.sync_states.silence_minutes(SN) == 30
    assert (await harness.appdb.pbx(SN)).is_unsigned
    (secret,) = await harness.appdb.secrets(SN)
    await harness.appdb.remove_secret(SN, secret.secret_id)
    page = await (await client.post(path, data={"silence": "never", "signed": "yes"})).text()
    assert "has no secret to sign with" in page
    assert await harness.appdb.sync_states.silence_minutes(SN) == 30
    assert "is not a number of minutes" in await (await client.post(path, data={"silence": "soon"})).text()
    await harness.appdb.add_secret(SN, SECRET, now_us=1)
    await client.post(path, data={"silence": "", "signed": "yes"})
    assert await harness.appdb.sync_states.silence_minutes(SN) is None
    assert not (await harness.appdb.pbx(SN)).is_unsigned


@pytest.mark.parametrize(
    ("agent_ring_time", "sentence"),
    [
        (6, "The time for which the telephone of the agent rang. It is detected from its calls."),
        (40, "The time that the caller waited in the queue for an agent. It is detected from its calls."),
        (0, "Unknown: no call shows whether it is the ringing of the telephone"),
    ],
)
async def test_pbx_page_says_what_the_ring_time_of_its_calls_means(
    harness: ConsoleHarness, client: aiohttp.ClientSession, agent_ring_time: int, sentence: str
) -> None:
    """The page of a PBX with three calls that waited in a queue, and whose agent's telephone rang last."""
    for number in range(3):
        started_at = STARTED_AT + timedelta(minutes=number)
        call_id = f"{int(started_at.timestamp())}.{number}"
        queue = details(started_at, call_id=call_id, call_to=QUEUE, call_duration=60, agent_ring_time=agent_ring_time)
        agent = details(
            started_at + timedelta(seconds=34),
            call_id=call_id,
            call_to="1001",
            call_duration=26,
            talk_duration=20,
            agent_ring_time=agent_ring_time,
        )
        await harness.ingest_details([queue, agent])
    assert sentence in await read_page(client, f"/pbxs/{SN}")


async def test_pbx_page_offers_unregistered_serial_numbers(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """One that knows a secret of the PBX is added by a button, listed, and removed; an error is shown."""
    await harness.ledger.add_counts({CounterKey("unregistered", NEW_SN, SN): 3}, harness.clock.microseconds())
    text = await read_page(client, f"/pbxs/{SN}")
    assert "has sent 3 events, signed with a secret of this PBX" in text
    path = f"/pbxs/{SN}/serial-numbers"
    text = await (await client.post(path, data={"sn": NEW_SN})).text()
    assert "Serial number added." in text
    assert "signed with a secret of this PBX" not in text
    assert (await harness.appdb.pbx(SN)).further_sns == (NEW_SN,)
    assert 'role="alert"' in await (await client.post(path, data={"sn": "two words"})).text()
    assert "Serial number removed." in await (await client.post(f"{path}/remove", data={"sn": NEW_SN})).text()
    assert 'role="alert"' in await (await client.post(f"{path}/remove", data={"sn": NEW_SN})).text()


async def test_pbx_page_changes_whether_unregistered_senders_are_kept(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """A box that is not checked is not sent."""
    assert "checked" in await read_page(client, f"/pbxs/{SN}")
    await client.post(f"/pbxs/{SN}", data={"name": "office"})
    assert not (await harness.appdb.pbx(SN)).keeps_unregistered
    await client.post(f"/pbxs/{SN}", data={"name": "office", "keeps_unregistered": "yes"})
    assert (await harness.appdb.pbx(SN)).keeps_unregistered


ASTERISK_SN = "pbx.example.org"
MANAGER_SECRET = "a secret of the manager"


async def add_asterisk(harness: ConsoleHarness) -> None:
    now_us = harness.clock.microseconds()
    await harness.appdb.add_pbx(name="branch", sn=ASTERISK_SN, secret=SECRET, dialect="asterisk", now_us=now_us)
    asterisk = AsteriskPbx(sn=ASTERISK_SN, host="192.0.2.7", port=5038, user="manager-user")
    await harness.appdb.asterisks.add(asterisk, MANAGER_SECRET)


async def test_pbx_page_of_an_asterisk_has_its_connection_and_no_webhook_settings(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """State and settings of manager interface, CDR source and CEL; those of other PBXs have no such section."""
    await add_asterisk(harness)
    text = await read_page(client, f"/pbxs/{ASTERISK_SN}")
    for expected_text in (
        "192.0.2.7:5038, without TLS", "manager-user", "Not connected yet.", "No CDR source: gaps cannot be filled.",
        "Unknown: the latest call did not come over the manager interface.", "no trunk is known",
        "onhook pbx change branch --trunks NAMES",
    ):  # fmt: skip
        assert expected_text in text, expected_text
    for other_text in (
        "/secrets",
        "/serial-numbers",
        "/test",
        "Signature required",
        "30012",
        "Keep events with another",
    ):
        assert other_text not in text, other_text
        assert other_text in await read_page(client, f"/pbxs/{SN}?wait=yes"), other_text
    assert MANAGER_SECRET not in text
    assert "30012" not in await read_page(client, f"/pbxs/{ASTERISK_SN}?wait=yes")
    assert "manager-interface" not in await read_page(client, f"/pbxs/{SN}")


async def test_pbx_page_of_an_asterisk_follows_its_state(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Of the connection, the source, the trunks, and the channel events of the latest call."""
    await add_asterisk(harness)
    now_us = harness.clock.microseconds()
    await harness.appdb.asterisks.set_connected(ASTERISK_SN, now_us)
    await harness.appdb.asterisks.set_trunks(ASTERISK_SN, trunks=("trunk-a",))
    source = parse_cdr_source("mysql://reader:a-password@db.example.org/asteriskcdrdb")
    await harness.appdb.cdr_sources.put(ASTERISK_SN, source)
    text = await read_page(client, f"/pbxs/{ASTERISK_SN}")
    for expected_text in ("Connected since", "trunk-a", "mysql://reader@db.example.org:3306", "A table, read after"):
        assert expected_text in text, expected_text
    assert ("no trunk is known" in text, "a-password" in text) == (False, False)
    await harness.appdb.alarms.raise_alarm(ASTERISK_SN, "source", "Access denied", hint="", now_us=now_us)
    await harness.appdb.asterisks.set_disconnected(ASTERISK_SN, "Connection refused")
    text = await read_page(client, f"/pbxs/{ASTERISK_SN}")
    assert ("It cannot be read: Access denied" in text, "Not connected: Connection refused" in text) == (True, True)
    cel = b"Event: CEL\r\nEventName: CHAN_START\r\n\r\n"
    for number, (event, expected_text) in enumerate(((b"", "No: the latest call has none"), (cel, "Yes: the latest"))):
        call = details(STARTED_AT + timedelta(minutes=number))
        entry = LedgerEntry(
            sn=ASTERISK_SN, dialect="asterisk", via="ami", received_at=harness.clock.microseconds(),
            key=bytes([number]) * 16, body=Asterisk().format(call, ASTERISK_SN, PAYLOAD_FORMAT) + event,
        )  # fmt: skip
        await harness.ledger.append([entry])
        await harness.projector.catch_up()
        assert expected_text in await read_page(client, f"/pbxs/{ASTERISK_SN}")
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=now_us)
    async with harness.client(reader) as other:
        text = await read_page(other, f"/pbxs/{ASTERISK_SN}")
    assert ("trunk-a" in text, "manager-user" in text, "db.example.org" in text) == (True, False, False)
