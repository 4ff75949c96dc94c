"""Further serial numbers of a PBX."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.serial_numbers import SERIAL_NUMBERS_MAX
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

SECRET = "0123456789abcdef"
OFFICE, BRANCH, STANDBY = "3631A2124ABC", "3631A2125DEF", "3631A2199ZZZ"


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    """Yield a database with two PBXs."""
    async with AppDb(tmp_path / "onhook.db") as database:
        await database.add_pbx(name="Office", sn=OFFICE, secret=SECRET, now_us=1)
        await database.add_pbx(name="Branch", sn=BRANCH, secret=SECRET, now_us=1)
        yield database


async def test_serial_number_added_is_the_pbx_s(appdb: AppDb) -> None:
    """Everywhere: in its listing, when it is looked up, for the intake and for the projector; in capitals or not."""
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    assert (await appdb.pbx("Office")).further_sns == (STANDBY,)
    assert (await appdb.pbx(STANDBY)).sn == (await appdb.pbx(STANDBY.lower())).sn == OFFICE
    credentials = {row.sn: row.further_sns for row in await appdb.webhook_credentials()}
    assert credentials == {OFFICE: (STANDBY,), BRANCH: ()}
    facts = await AppDbPbxFacts(appdb)()
    assert {sn: pbx.sn for sn, pbx in facts.items()} == {OFFICE: OFFICE, BRANCH: BRANCH, STANDBY: OFFICE}


async def test_serial_number_removed_is_rejected_and_its_calls_stay(appdb: AppDb) -> None:
    """Also after the PBX was removed, so that a rebuilt store has the same calls."""
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    await appdb.serial_numbers.remove(OFFICE, STANDBY, now_us=5)
    assert (await appdb.pbx("Office")).further_sns == ()
    assert all(not row.further_sns for row in await appdb.webhook_credentials())
    await appdb.remove_pbx("Office")
    assert (await AppDbPbxFacts(appdb)())[STANDBY].sn == OFFICE
    with pytest.raises(UsageError, match=f"the calls of {STANDBY} belong to the PBX '{OFFICE}'"):
        await appdb.add_pbx(name="New", sn=STANDBY, secret=SECRET, now_us=1)


async def test_serial_number_removed_can_be_added_again(appdb: AppDb) -> None:
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    await appdb.serial_numbers.remove(OFFICE, STANDBY, now_us=5)
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    assert (await appdb.pbx("Office")).further_sns == (STANDBY,)


@pytest.mark.parametrize("sn", [BRANCH, BRANCH.lower(), OFFICE])
async def test_serial_number_of_a_registered_pbx_cannot_be_added(appdb: AppDb, sn: str) -> None:
    with pytest.raises(UsageError, match="is the serial number of the registered PBX"):
        await appdb.serial_numbers.add(OFFICE, sn)


async def test_serial_number_of_another_pbx_cannot_be_added(appdb: AppDb) -> None:
    """Nor be that of a new PBX."""
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    with pytest.raises(UsageError, match="belong to the PBX 'Office'"):
        await appdb.serial_numbers.add(BRANCH, STANDBY)
    with pytest.raises(UsageError, match="belong to the PBX 'Office'"):
        await appdb.add_pbx(name="New", sn=STANDBY.lower(), secret=SECRET, now_us=1)


async def test_serial_number_in_small_letters_is_not_a_second_pbx(appdb: AppDb) -> None:
    with pytest.raises(UsageError, match="there is already a PBX named"):
        await appdb.add_pbx(name="New", sn=OFFICE.lower(), secret=SECRET, now_us=1)


async def test_serial_numbers_of_a_pbx_are_limited(appdb: AppDb) -> None:
    for number in range(SERIAL_NUMBERS_MAX):
        await appdb.serial_numbers.add(OFFICE, f"S{number}")
    with pytest.raises(UsageError, match=f"already has {SERIAL_NUMBERS_MAX} further serial numbers"):
        await appdb.serial_numbers.add(OFFICE, STANDBY)


async def test_serial_number_that_is_not_there_cannot_be_removed(appdb: AppDb) -> None:
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    for pbx_sn, sn in ((OFFICE, "OTHER"), (BRANCH, STANDBY), (OFFICE, OFFICE)):
        with pytest.raises(NotFound, match="has no further serial number"):
            await appdb.serial_numbers.remove(pbx_sn, sn, now_us=5)


async def test_serial_number_takes_its_notes_along(appdb: AppDb) -> None:
    await appdb.notes.write(STANDBY, "1.1", "call back", "", author="alice", now_us=1)
    await appdb.serial_numbers.add(OFFICE, STANDBY.lower())
    assert [note.text for note in await appdb.notes.history(OFFICE, "1.1")] == ["call back"]


async def test_serial_number_changes_are_audited(appdb: AppDb) -> None:
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    await appdb.change_pbx("Office", {"keeps_unregistered": False})
    assert not (await appdb.pbx("Office")).keeps_unregistered
    actions = [entry.action for entry in await appdb.audit.latest(2)]
    assert actions == ["change PBX Office", f"add serial number {STANDBY}"]


async def test_serial_number_of_a_joined_pbx_is_that_of_the_last_one(appdb: AppDb) -> None:
    """In whichever order their names are."""
    await appdb.serial_numbers.add(BRANCH, STANDBY)
    await appdb.serial_numbers.add(BRANCH, "1")
    await appdb.remove_pbx("Branch")
    await appdb.serial_numbers.add(OFFICE, BRANCH)
    assert await appdb.serial_numbers.owners() == dict.fromkeys(("1", STANDBY, BRANCH), OFFICE)
    facts = await AppDbPbxFacts(appdb)()
    assert {sn: pbx.name for sn, pbx in facts.items()} == dict.fromkeys(("1", STANDBY, BRANCH, OFFICE), "Office")


async def test_serial_number_facts_say_when_it_was_removed(appdb: AppDb) -> None:
    """Until it is added again."""
    await appdb.serial_numbers.add(OFFICE, STANDBY.lower())
    assert (await AppDbPbxFacts(appdb)())[STANDBY].removed_sns == {}
    await appdb.serial_numbers.remove(OFFICE, STANDBY.lower(), now_us=5)
    facts = await AppDbPbxFacts(appdb)()
    assert facts[STANDBY].removed_sns == facts[OFFICE].removed_sns == {STANDBY: 5}
    await appdb.serial_numbers.add(OFFICE, STANDBY)
    assert (await AppDbPbxFacts(appdb)())[STANDBY].removed_sns == {}


async def test_facts_name_the_pbxs_that_had_a_secret_in_common(appdb: AppDb) -> None:
    """Also after it was changed, and after one of the PBXs was removed: a rebuilt store has the same calls."""
    await appdb.add_pbx(name="Shop", sn="SHOP", secret="a secret of its own", now_us=1)
    (old_secret,) = await appdb.secrets("Branch")
    await appdb.add_secret("Branch", "a new secret", now_us=2)
    await appdb.remove_secret("Branch", old_secret.secret_id)
    await appdb.add_secret("Shop", SECRET, now_us=3)
    await appdb.remove_pbx("Office")
    facts = await AppDbPbxFacts(appdb)()
    signers = {sn: {signer for group in facts[sn].signers for signer in group} for sn in facts}
    assert signers == {BRANCH: {OFFICE, BRANCH, "SHOP"}, "SHOP": {OFFICE, BRANCH, "SHOP"}}
