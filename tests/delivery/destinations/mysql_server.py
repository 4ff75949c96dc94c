"""A real MariaDB, if one is installed: a server in a temporary folder, on a port of the loopback."""

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pymysql

from tests.delivery.harness import SECRET
from tests.pbx.asterisk.servers import install_mariadb

USER, DATABASE = "onhook", "calls"
START_SECONDS_MAX = 60.0


class MysqlServer(msgspec.Struct):
    """A server that can be stopped and started again."""

    folder: Path
    port: int
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [*self.command, "--innodb-flush-log-at-trx-commit=0", *options]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.connect().close()
                return
            except (OSError, pymysql.Error):
                assert time.monotonic() < deadline, "MariaDB does not start"
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return [tuple(row) for row in cursor.fetchall()]

    def connect(self) -> Any:
        return pymysql.connect(
            user=USER, host="127.0.0.1", port=self.port, password=SECRET, database=DATABASE, autocommit=True
        )


@contextmanager
def run_mysql() -> Iterator[MysqlServer]:
    """Run a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mysql"))
    try:
        with socket.create_server(("127.0.0.1", 0)) as free_socket:
            port = free_socket.getsockname()[1]
        command = install_mariadb(
            folder, port, user=getpass.getuser(), database=DATABASE, account=USER, password=SECRET
        )
        server = MysqlServer(folder, port, command)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
