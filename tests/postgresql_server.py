"""A real PostgreSQL, if one is installed: a cluster in a temporary folder, on a port of the loopback."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pg8000.dbapi

PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
USER = "onhook"
PASSWORD = "0123456789abcdefghijABCDEFGHIJ01"
SERVER_USER = "postgres"
"""PostgreSQL refuses to run as root."""

START_SECONDS_MAX = 30.0


class PostgresqlServer(msgspec.Struct):
    """A cluster whose server can be stopped and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None
    connection: Any = None
    """The owner's: to sign in takes longer than most queries."""

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def database_url(self, name: str) -> str:
        """Return the address of a database, with the password."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def start(self, *extra_options: str) -> None:
        command = [str(PROGRAMS[-1] / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        options = ["-k", str(self.folder), "-h", "127.0.0.1", "-c", "fsync=off", *extra_options]
        self.process = subprocess.Popen([*command, *options], **_run_options(self.folder))
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.connect().close()
                return
            except (OSError, pg8000.dbapi.Error):
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once; what was committed stays."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
            self.process = None

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the owner; return its rows."""
        if self.connection is None:
            self.connection = self.connect()
            self.connection.autocommit = True
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(sql, parameters)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def connect(self, password: str = PASSWORD) -> Any:
        return pg8000.dbapi.connect(
            USER, host="127.0.0.1", port=self.port, password=password, database="postgres", timeout=10
        )


@contextmanager
def run_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql"))
    try:
        (folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            shutil.chown(folder, SERVER_USER)
            shutil.chown(folder / "password", SERVER_USER)
        command = [
            str(PROGRAMS[-1] / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(
            [*command, "--no-sync", "--pwfile", str(folder / "password")], check=True, **_run_options(folder)
        )
        with socket.socket() as free_socket:
            free_socket.bind(("127.0.0.1", 0))
            server = PostgresqlServer(folder, free_socket.getsockname()[1])
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _run_options(folder: Path) -> dict[str, Any]:
    user = SERVER_USER if os.getuid() == 0 else getpass.getuser()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return {"user": user if os.getuid() == 0 else None, "cwd": folder, **quiet}
