"""`onhook backup` and `onhook restore`."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.issue_recipients import IssueRecipient
from onhook.appdb.mails import MailContent, NewMail
from onhook.appdb.sqlite_file import copy_database
from onhook.appdb.tokens import hash_secret
from onhook.config import Config
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.ops.backup import create_backup, restore
from onhook.ops.instance_lock import exclusive_intake_lock, shared_intake_lock
from onhook.pbx_api.tokens import AppTokens
from tests.runtime.harness import Server, call_id, call_ids, wait_until, webhook_body


@pytest.mark.slow
def test_backup_of_a_running_server_can_be_restored(server: Server, tmp_path: Path) -> None:
    """With events up to then, PBXs and secrets; later events are not in it."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    copy = tmp_path / "copy"
    server.run_command("backup", str(copy))
    assert server.post(webhook_body(2)) == 200
    assert copy.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in copy.iterdir()} == {"backup.json", "ledger.db", "onhook.db"}
    server.stop()
    other = Server(tmp_path / "other")
    other.run_command("restore", str(copy))
    assert call_ids(other.calls()) == [call_id(1)]
    assert "Office" in other.run_command("pbx", "list")
    server.run_command("restore", str(copy), "--replace")
    assert call_ids(server.calls()) == [call_id(1)]
    server.start()
    assert server.post(webhook_body(3)) == 200
    wait_until(lambda: call_ids(server.calls()) == [call_id(1), call_id(3)])


@pytest.mark.slow
def test_restore_replaces_nothing_without_replace(server: Server, tmp_path: Path) -> None:
    """Neither the data directory, nor an earlier backup, nor files of a running server."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    copy = tmp_path / "copy"
    server.run_command("backup", str(copy))
    assert "already" in server.execute("backup", str(copy)).stderr
    assert "already running" in server.execute("restore", str(copy), "--replace").stderr
    server.stop()
    assert "--replace" in server.execute("restore", str(copy)).stderr
    assert call_ids(server.calls()) == [call_id(1)]


@pytest.mark.slow
def test_restore_is_rejected_while_a_receiver_runs(server: Server, tmp_path: Path) -> None:
    """It would continue to write to a removed ledger."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    copy = tmp_path / "copy"
    server.run_command("backup", str(copy))
    server.stop()
    config = Config(data=server.directory)
    with shared_intake_lock(config), shared_intake_lock(config):
        refused = server.execute("restore", str(copy), "--replace")
        assert (refused.returncode, "an intake is already running" in refused.stderr) == (2, True)
    server.run_command("restore", str(copy), "--replace")
    with exclusive_intake_lock(config), pytest.raises(Unavailable, match="being restored"), shared_intake_lock(config):
        pass


@pytest.mark.slow
def test_restore_damaged_backup_is_rejected(server: Server, tmp_path: Path) -> None:
    """Before anything is replaced."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    copy = tmp_path / "copy"
    server.run_command("backup", str(copy))
    server.stop()
    (copy / "ledger.db").write_bytes(b"\xff" * 8192)
    assert "damaged" in server.execute("restore", str(copy), "--replace").stderr
    (copy / "backup.json").unlink()
    assert "not a complete backup" in server.execute("restore", str(copy), "--replace").stderr
    assert call_ids(server.calls()) == [call_id(1)]


@pytest.mark.slow
@pytest.mark.parametrize("commit", ["9ed7d20", "7a0f07c", "fac98bd"])
def test_restore_backup_of_an_older_version_is_upgraded(tmp_path: Path, commit: str) -> None:
    with tarfile.open(Path(__file__).parents[1] / "data_directories" / f"{commit}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ledger.db", "onhook.db"):
        copy_database(tmp_path / "onhook-data" / name, copy / name)
    manifest = '{"made_at":"2026-04-27T11:04:36.123456Z","files":["onhook.db","ledger.db"]}'
    (copy / "backup.json").write_text(manifest)
    server = Server(tmp_path / "restored")
    assert "2026-04-27 11:04:36+00:00" in server.run_command("restore", str(copy))
    assert server.calls() != []
    assert len(server.run_command("pbx", "list").splitlines()) > 1
    server.run_command("destination", "list")


@pytest.fixture
async def config(tmp_path: Path) -> Config:
    """Return a data directory with an application database and a ledger of one row."""
    data_config = Config(data=tmp_path / "onhook-data")
    data_config.data.mkdir()
    async with AppDb(data_config.appdb_file):
        pass
    _write(data_config, "first")
    return data_config


def _write(config: Config, text: str) -> None:
    connection = sqlite3.connect(config.ledger_file)
    connection.execute("CREATE TABLE IF NOT EXISTS said (text)")
    connection.execute("INSERT INTO said VALUES (?)", (text,))
    connection.commit()
    connection.close()


def _restored_calls(config: Config) -> list[str]:
    connection = sqlite3.connect(config.ledger_file)
    rows = [text for (text,) in connection.execute("SELECT text FROM said")]
    connection.close()
    return rows


@pytest.mark.slow
def test_backup_into_the_data_directory_is_rejected(server: Server, tmp_path: Path) -> None:
    """Neither into it nor below it, by whatever name; later events stay."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    link = tmp_path / "link"
    link.symlink_to(server.directory)
    for target in (server.directory, server.directory / "copy", link, link / "copy", tmp_path / "x" / ".." / "data"):
        is_replaced = server.execute("backup", str(target))
        assert (is_replaced.returncode, is_replaced.stderr.count("\n")) == (2, 1)
        assert "choose another directory" in is_replaced.stderr
        assert server.post(webhook_body(2)) == 200
    assert not (server.directory / "copy").exists()
    server.stop()
    assert call_ids(server.calls()) == [call_id(1), call_id(2)]


@pytest.mark.parametrize("name", ["ledger.db", "onhook.db", "backup.json", "letter.txt"])
def test_backup_needs_an_empty_target(config: Config, tmp_path: Path, name: str) -> None:
    """Existing files stay."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / name).write_text("mine")
    with pytest.raises(UsageError, match="choose another directory"):
        create_backup(config, copy, SystemClock())
    assert [path.read_text() for path in copy.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="choose another directory"):
        create_backup(config, copy / name, SystemClock())
    (copy / name).unlink()
    assert create_backup(config, copy, SystemClock()).files == ("onhook.db", "ledger.db")


@pytest.mark.parametrize("nth", [1, 2])
def test_backup_that_fails_leaves_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Whichever copy fails."""
    _fail_at(nth, monkeypatch)
    with pytest.raises(Unavailable):
        create_backup(config, tmp_path / "copy", SystemClock())
    assert not (tmp_path / "copy").exists()
    assert _restored_calls(config) == ["first"]


@pytest.mark.parametrize("nth", [1, 2])
def test_restore_that_fails_changes_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    """Whichever copy fails, as on a full disk: the old files stay, the store too, and no other files."""
    create_backup(config, tmp_path / "copy", SystemClock())
    _write(config, "second")
    config.store_file.write_text("the store")
    before = {path.name: path.read_bytes() for path in config.data.iterdir()}
    _fail_at(nth, monkeypatch)
    with pytest.raises(Unavailable):
        restore(config, tmp_path / "copy", replace=True)
    after = {path.name: path.read_bytes() for path in config.data.iterdir() if path.suffix != ".lock"}
    assert after == before
    monkeypatch.undo()
    restore(config, tmp_path / "copy", replace=True)
    assert _restored_calls(config) == ["first"]
    assert {path.name for path in config.data.iterdir() if path.suffix != ".lock"} == {"ledger.db", "onhook.db"}


async def test_restore_ends_sessions_and_tokens_of_apps(config: Config, tmp_path: Path) -> None:
    """Some of them may have been ended since the backup; tokens of programs and passwords are those of the backup."""
    clock = SystemClock()
    now_us = clock.microseconds()
    async with AppDb(config.appdb_file) as appdb:
        token = await appdb.tokens.add("wall", "reader", now_us=now_us)
        session_id = await appdb.sessions.start_for_token(token, address="", now_us=now_us)
        app, secret = await appdb.apps.add("crm", now_us=now_us)
        pair = await AppTokens(clock, appdb.app_tokens).issue(app.client_id, hash_secret(secret))
    create_backup(config, tmp_path / "copy", clock)
    restore(config, tmp_path / "copy", replace=True)
    async with AppDb(config.appdb_file) as appdb:
        assert await appdb.tokens.find(token, now_us=now_us) is not None
        assert await appdb.sessions.find([session_id], now_us) is None
        app_tokens = AppTokens(clock, appdb.app_tokens)
        assert await app_tokens.find_grant(pair.access_token) is None
        assert await app_tokens.find_refreshable_grant(pair.refresh_token) is None
        assert await appdb.apps.find_by_credentials(app.client_id, secret) is not None


async def test_restore_discards_mails_that_were_pending(config: Config, tmp_path: Path) -> None:
    """A trial beside the server that was backed up sends nothing a second time; and a backup has no links of mails."""
    clock = SystemClock()
    now_us = clock.microseconds()
    content = MailContent(text="https://calls.example.com/invitation?invitation=c0ffee")
    async with AppDb(config.appdb_file) as appdb:
        mail = NewMail(mail_key="1", kind="invitation", recipient="a@example.com", subject="Hello", content=content)
        await appdb.mails.add(mail, now_us=now_us)
        await appdb.issue_recipients.put(IssueRecipient(address="a@example.com"))
        await appdb._database.write("INSERT INTO issues VALUES (1, 'k', 'alarm', '', 's', '', '', NULL, 1, NULL)")
        await appdb.issue_recipients.note(1, "alarm", "began", now_us=now_us)
    create_backup(config, tmp_path / "copy", clock)
    assert b"c0ffee" not in (tmp_path / "copy" / config.appdb_file.name).read_bytes()
    copy_database(config.appdb_file, tmp_path / "copy" / config.appdb_file.name)  # as a backup of before
    restore(config, tmp_path / "copy", replace=True)
    async with AppDb(config.appdb_file) as appdb:
        (stored_mail,) = await appdb.mails.latest(9)
        assert (stored_mail.state, stored_mail.detail) == ("discarded", "not sent: it was pending in a backup")
        assert await appdb.issue_recipients.pending("a@example.com") == []
    assert b"c0ffee" not in config.appdb_file.read_bytes()


def test_restore_failed_rename_is_undone(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever rename fails."""
    create_backup(config, tmp_path / "copy", SystemClock())
    _write(config, "second")
    plain, is_replaced = Path.replace, False
    for nth in range(1, 20):
        left = [nth]

        def replace(path: Path, target: Path, left: list[int] = left) -> Path:
            if path.name.endswith((".restored", ".replaced")) or target.name.endswith(".replaced"):
                left[0] -= 1
                if left[0] == 0:
                    raise OSError(28, "No space left on device")
            return plain(path, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            restore(config, tmp_path / "copy", replace=True)
            is_replaced = True
        except OnhookError:
            assert _restored_calls(config) == ["first", "second"]
        if is_replaced:
            break
    assert is_replaced
    assert nth > 2
    assert _restored_calls(config) == ["first"]


def test_restore_from_the_data_directory_itself_is_rejected(config: Config, tmp_path: Path) -> None:
    """By whatever name."""
    link = tmp_path / "link"
    link.symlink_to(config.data)
    (config.data / "backup.json").write_text('{"made_at":"2026-04-27T00:00:00Z","files":["ledger.db","onhook.db"]}')
    for source in (config.data, link, link / ".." / "onhook-data"):
        with pytest.raises(UsageError, match="from itself"):
            restore(config, source, replace=True)
    links = tmp_path / "links"
    links.mkdir()
    (links / "ledger.db").symlink_to(config.ledger_file)
    (links / "backup.json").write_text('{"made_at":"2026-04-27T00:00:00Z","files":["ledger.db"]}')
    with pytest.raises(UsageError, match="from itself"):
        restore(config, links, replace=True)
    (links / "backup.json").write_text('{"made_at":"2026-04-27T00:00:00Z","files":[]}')
    (links / "ledger.db").unlink()
    with pytest.raises(OnhookError, match="has no ledger"):
        restore(config, links, replace=True)
    assert _restored_calls(config) == ["first"]


def _fail_at(nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the nth copy fail as on a full disk."""
    plain, left = copy_database, [nth]

    def copy(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Unavailable("cannot copy: the disk is full")
        plain(source, target)

    monkeypatch.setattr("onhook.ops.backup.copy_database", copy)


@pytest.mark.parametrize("has_file", [True, False])
async def test_backup_with_lost_settings_is_refused(tmp_path: Path, has_file: bool) -> None:
    """A backup of the ledger alone could rotate out good ones; an option makes it all the same."""
    config = Config(data=tmp_path / "data")
    config.data.mkdir()
    ledger = SqliteLedger(config.ledger_file)
    if has_file:
        async with AppDb(config.appdb_file):
            pass
    files = ("onhook.db", "ledger.db") if has_file else ("ledger.db",)
    assert create_backup(config, tmp_path / "empty", SystemClock()).files == files
    await ledger.append([LedgerEntry(sn="A", dialect="yeastar", via="webhook", received_at=1, key=bytes(16), body=b"")])
    await ledger.close()
    with pytest.raises(OnhookError, match=r"onhook\.db") as error:
        create_backup(config, tmp_path / "copy", SystemClock())
    assert "onhook restore" in error.value.hint
    assert "--without-settings" in error.value.hint
    assert not (tmp_path / "copy").exists()
    assert create_backup(config, tmp_path / "copy", SystemClock(), without_settings=True).files == files


async def test_backup_of_settings_that_cannot_be_read_is_made(tmp_path: Path) -> None:
    """A PBX is registered, though its row is damaged: the copy is what can be repaired."""
    config = Config(data=tmp_path / "data")
    config.data.mkdir()
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([LedgerEntry(sn="A", dialect="yeastar", via="webhook", received_at=1, key=bytes(16), body=b"")])
    await ledger.close()
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Office", sn="A", secret="first-secret", now_us=1)
    with closing(sqlite3.connect(config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = '{'")
    assert create_backup(config, tmp_path / "copy", SystemClock()).files == ("onhook.db", "ledger.db")
