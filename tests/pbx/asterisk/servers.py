"""A PostgreSQL and a MariaDB server on the loopback, each on a free port and in a temporary folder."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pg8000.dbapi
import pymysql

from tests.runtime.harness import wait_until

USER, PASSWORD, DATABASE = "asterisk", "s3cret-of-the-database", "asteriskcdrdb"
POSTGRESQL_DIRECTORY = Path("/usr/lib/postgresql")
MYSQL_SHARE_DIRECTORY = Path("/usr/share/mysql")
NO_OUTPUT = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def missing_postgresql() -> str:
    """Return what the machine lacks for PostgreSQL; empty if nothing is missing."""
    return (
        ""
        if list(POSTGRESQL_DIRECTORY.glob("*/bin/initdb"))
        else ("PostgreSQL is not installed: apt-get install postgresql")
    )


def missing_mariadb() -> str:
    """Return what the machine lacks for MariaDB; empty if nothing is missing."""
    return "" if shutil.which("mariadbd") else "MariaDB is not installed: apt-get install mariadb-server-core"


class DatabaseServer:
    """A running database server."""

    def __init__(self, engine: str, port: int, connect: Callable[[int], Any]) -> None:
        self.engine = engine
        self.port = port
        self._connect = connect

    @property
    def url(self) -> str:
        return f"{self.engine}://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def run(self, *statements: str) -> None:
        with closing(self._connect(self.port)) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def insert(self, table: str, rows: list[dict[str, str]]) -> None:
        """Insert rows; an empty value gets the default of its column."""
        quote = "`" if self.engine == "mysql" else '"'
        with closing(self._connect(self.port)) as connection, closing(connection.cursor()) as cursor:
            for row in rows:
                quoted_values = {f"{quote}{name}{quote}": value for name, value in row.items() if value}
                placeholders = ", ".join(["%s"] * len(quoted_values))
                cursor.execute(
                    (f"INSERT INTO {table} ({', '.join(quoted_values)}) VALUES ({placeholders})"),  # noqa: S608 - names of a test
                    list(quoted_values.values()),
                )
            connection.commit()


@contextmanager
def postgresql() -> Iterator[DatabaseServer]:
    """Start PostgreSQL as the user of its package, because it refuses to run as root."""
    programs = max(POSTGRESQL_DIRECTORY.glob("*/bin/initdb")).parent
    with _temporary_directory("postgres") as folder:
        password = folder / "password"
        password.write_text(PASSWORD)
        command = [programs / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", "--pwfile", password]
        subprocess.run(command, check=True, user="postgres", cwd=folder, **NO_OUTPUT)  # type: ignore[call-overload] # QUIET
        port = _free_port()
        command = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        with _run_database_server(
            DatabaseServer("postgresql", port, _connect_postgresql), command, user="postgres", folder=folder
        ) as server:
            with closing(_connect_postgresql(port, "postgres")) as connection:
                connection.autocommit = True
                connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
            yield server


@contextmanager
def mariadb() -> Iterator[DatabaseServer]:
    """Start MariaDB as root, the owner of its folder."""
    with _temporary_directory("root") as folder:
        port = _free_port()
        command = install_mariadb(folder, port, user="root", database=DATABASE, account=USER, password=PASSWORD)
        with _run_database_server(
            DatabaseServer("mysql", port, _connect_mariadb), command, user="root", folder=folder
        ) as server:
            yield server


def install_mariadb(folder: Path, port: int, *, user: str, database: str, account: str, password: str) -> list[str]:
    """Make the files of a server that this user runs; return the command that starts it."""
    data_options = ["--no-defaults", f"--user={user}", f"--datadir={folder / 'data'}"]
    (folder / "data").mkdir()
    # The steps of `mariadb-install-db`, which requires the client package too.
    scripts = [(MYSQL_SHARE_DIRECTORY / f"mysql_system_tables{part}.sql").read_text() for part in ("", "_data")]
    bootstrap_sql = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n" + "".join(scripts)
    command = ["mariadbd", *data_options, "--bootstrap"]
    subprocess.run(command, check=True, input=bootstrap_sql, text=True, capture_output=True)
    init_file = folder / "first.sql"
    init_file.write_text(
        f"CREATE DATABASE IF NOT EXISTS {database};\n"
        f"CREATE USER IF NOT EXISTS '{account}'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON {database}.* TO '{account}'@'127.0.0.1';"
    )
    address_options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"]
    options = [f"--init-file={init_file}", "--skip-log-bin", "--skip-name-resolve", f"--pid-file={folder / 'pid'}"]
    return ["mariadbd", *data_options, *address_options, *options]


@contextmanager
def _run_database_server(
    server: DatabaseServer, command: list[Any], *, user: str, folder: Path
) -> Iterator[DatabaseServer]:
    process = subprocess.Popen(command, user=user, cwd=folder, **NO_OUTPUT)  # type: ignore[call-overload] # QUIET
    try:
        wait_until(lambda: _is_reachable(server))
        yield server
    finally:
        process.terminate()
        process.wait(60)


def _is_reachable(server: DatabaseServer) -> bool:
    try:
        if server.engine == "postgresql":
            _connect_postgresql(server.port, "postgres").close()
        else:
            server.run("SELECT 1")
    except (OSError, pg8000.dbapi.Error, pymysql.Error):
        return False
    return True


def _connect_postgresql(port: int, database: str = DATABASE) -> Any:
    return pg8000.dbapi.connect(USER, host="127.0.0.1", port=port, password=PASSWORD, database=database)


def _connect_mariadb(port: int) -> Any:
    return pymysql.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, database=DATABASE)


@contextmanager
def _temporary_directory(owner: str) -> Iterator[Path]:
    """Create a temporary folder outside pytest's folders, which only their own user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="onhook-"))
    try:
        shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
