"""A server with the setting `appdb`: its application database is on PostgreSQL."""

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.ops.cluster_ledger import FILE_LEDGER_LEASE
from onhook.ops.instance_lock import START_SECONDS_MAX
from onhook.runtime import hub_process
from tests import waiting
from tests.postgresql_server import PASSWORD, PostgresqlServer
from tests.runtime.harness import call_id, call_ids, create_server, wait_until, webhook_body

pytestmark = pytest.mark.slow


@pytest.fixture
def database_url(postgresql_server: PostgresqlServer, request: pytest.FixtureRequest) -> str:
    name = f"setting_{abs(hash(request.node.name))}"
    postgresql_server.query(f"CREATE DATABASE {name}")
    return postgresql_server.database_url(name)


def use_database(folder: Path, url: str, node: str = "") -> None:
    """Write the settings where servers and commands of this folder read them."""
    folder.mkdir(exist_ok=True)
    (folder / "onhook.toml").write_text(f'appdb = "{url}"\nnode = "{node}"\n')


def read_command_lines() -> str:
    """Return the arguments of all processes, as every user of the machine can read them."""
    return "".join(map(_read_if_alive, Path("/proc").glob("[0-9]*/cmdline")))


def _read_if_alive(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_serve_on_postgresql_after_the_move_receives_while_the_database_is_gone(
    postgresql_server: PostgresqlServer, database_url: str, tmp_path: Path
) -> None:
    """The intake goes on, and begins, without the database; what it receives is there when the database is back."""
    with create_server(tmp_path / "data") as server:
        server.add_pbx()
        use_database(tmp_path, database_url)
        assert "compared each" in server.run_command("cluster", "move-appdb")
        assert not (server.directory / "onhook.db").exists()
        assert (server.directory / "onhook.db.moved").exists()
        assert "Office" in server.run_command("pbx", "list")
        server.start()
        assert server.post(webhook_body(1)) == 200
        assert PASSWORD not in read_command_lines()
        postgresql_server.stop()
        try:
            assert server.post(webhook_body(2)) == 200
            server.stop()
            server.start(ready_process="intake")
            assert server.post(webhook_body(3)) == 200
        finally:
            postgresql_server.start()
        wait_until(lambda: server.address("hub") is not None, START_SECONDS_MAX)
        wait_until(lambda: call_ids(server.calls()) == [call_id(number) for number in (1, 2, 3)])
        assert server.stop() == 0
        assert PASSWORD not in server.log_text()


def test_serve_first_start_without_the_database_has_an_administrator_once_it_answers(
    postgresql_server: PostgresqlServer, database_url: str, tmp_path: Path
) -> None:
    use_database(tmp_path, database_url)
    with create_server(tmp_path / "data") as server:
        postgresql_server.stop()
        try:
            server.start(ready_process="intake")
            wait_until(lambda: "the application database cannot be used" in server.log_text())
            assert not (server.directory / "admin.token").exists()
        finally:
            postgresql_server.start()
        wait_until(lambda: server.address("hub") is not None, START_SECONDS_MAX)
        assert server.run_command("token", "link").startswith("http://127.0.0.1:")
        assert "sign-in?token=\n" not in server.log_text()


def test_serve_wrong_password_ends_a_first_start_and_keeps_no_later_one_from_receiving(
    database_url: str, tmp_path: Path
) -> None:
    """It names the setting. A server that has run knows its PBXs, and receives their events all the same."""
    message = "the PostgreSQL server refuses what the setting `appdb` says: password authentication failed"
    wrong_url = database_url.replace(PASSWORD, "wrong")
    use_database(tmp_path, wrong_url)
    with create_server(tmp_path / "data") as server:
        completed = server.execute("serve", timeout_seconds=START_SECONDS_MAX)
        assert (completed.returncode, message in completed.stderr) == (2, True)
        assert message in server.execute("pbx", "list").stderr
        use_database(tmp_path, database_url)
        server.add_pbx()
        server.start()
        server.stop()
        use_database(tmp_path, wrong_url)
        server.start(ready_process="intake")
        assert message in server.log_text()
        assert server.post(webhook_body(1)) == 200


def test_hub_with_a_ledger_of_its_own_is_refused_beside_another_one(database_url: str, tmp_path: Path) -> None:
    """The numbers of two ledgers mean different events: destinations of the database would skip some. The token of the
    other machine stays.
    """
    for name in ("first", "second"):
        use_database(tmp_path / name, database_url, node=name)
    with create_server(tmp_path / "first" / "data") as first, create_server(tmp_path / "second" / "data") as second:
        first.start()
        second.launch()
        wait_until(lambda: "another hub uses this application database" in second.log_text(), START_SECONDS_MAX)
        assert second.address("hub") is None
        assert first.calls() == []
        assert first.stop() == 0
        wait_until(lambda: second.address("hub") is not None, START_SECONDS_MAX)


async def test_hub_beside_another_one_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Cursors are past the end of its own ledger."""
    database = PostgresqlDatabase(database_url)
    config = Config(data=tmp_path, appdb=database_url)
    async with AppDb(database) as appdb:
        spec = DestinationSpec(url="http://a.example/")
        destination, _secret = await appdb.destinations.add("CRM", spec, None, after=5, now_us=1)
        await appdb.leases.acquire(FILE_LEDGER_LEASE, "another", now_us=1)
        await database.write("UPDATE leases SET until = until + 9000000")
        with pytest.raises(Unavailable, match="another hub uses this application database"):
            async with hub_process.open_hub(config, SystemClock()):
                pass
        streams = await appdb.destinations.streams(destination.destination_id)
        assert [stream.cursor for stream in streams] == [5]


async def test_hub_that_is_overtaken_stops(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that stood still for longer than its lease."""
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signals.append(arguments))
    database = PostgresqlDatabase(database_url)
    async with AppDb(database) as appdb, AsyncExitStack() as stack:
        config = Config(data=tmp_path, appdb=database_url)
        leases = await hub_process._open_leases(stack, config, appdb, SystemClock())
        await leases.renew()
        await database.write("UPDATE leases SET owner = 'another', fence = fence + 1")
        assert signals == []
        await leases.renew()
        await waiting.wait_until(lambda: bool(signals))
        assert signals == [(os.getpid(), signal.SIGTERM)]


def test_move_appdb_that_was_interrupted_is_completed_and_other_rows_stay(database_url: str, tmp_path: Path) -> None:
    """It is refused while the server runs."""
    with create_server(tmp_path / "data") as server:
        server.add_pbx()
        assert "names no PostgreSQL database" in server.execute("cluster", "move-appdb").stderr
        server.start()
        use_database(tmp_path, database_url)
        assert "onhook.db has PBXs, and the database" in server.execute("pbx", "list").stderr
        assert "a server is already running" in server.execute("cluster", "move-appdb").stderr
        server.stop()
        assert "onhook.db has PBXs, and the database" in server.execute("serve").stderr
        server.run_command("cluster", "move-appdb")
        moved_path, path = server.directory / "onhook.db.moved", server.directory / "onhook.db"
        assert "there is no onhook.db to move" in server.execute("cluster", "move-appdb").stderr
        moved_path.rename(path)
        server.run_command("cluster", "move-appdb")
        moved_path.rename(path)
        assert "onhook.db is here and not used" in server.execute("doctor").stdout
        server.run_command("pbx", "change", "Office", "--name", "Works")
        assert "the database is not empty" in server.execute("cluster", "move-appdb").stderr
        assert path.exists()


def test_backup_with_the_setting_has_the_ledger_alone(database_url: str, tmp_path: Path) -> None:
    """A backup of one machine is not restored beside a database that it does not replace."""
    with create_server(tmp_path / "data") as server:
        server.add_pbx()
        server.start()
        server.stop()
        server.run_command("backup", str(tmp_path / "of one machine"))
        use_database(tmp_path, database_url)
        server.run_command("cluster", "move-appdb")
        completed = server.execute("backup", str(tmp_path / "copy"))
        assert "pg_dump" in completed.stderr
        assert {path.name for path in (tmp_path / "copy").iterdir()} == {"backup.json", "ledger.db"}
        error = server.execute("restore", str(tmp_path / "of one machine"), "--replace").stderr
        assert "the setting `appdb` names another one" in error
        server.run_command("restore", str(tmp_path / "copy"), "--replace")
