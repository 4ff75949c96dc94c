"""A server with a destination that this version cannot read, as after a downgrade."""

import json
import sqlite3
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from onhook.config import parse_address
from tests.runtime.harness import Server, create_server, wait_until, webhook_body


def get(server: Server, path: str) -> str:
    address = parse_address(server.address("hub") or "", "running.json")
    token = (server.directory / "admin.token").read_text().strip()
    connection = HTTPConnection(address.host, address.port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Connection": "close"})
    response = connection.getresponse()
    assert response.status == 200
    return response.read().decode()


@pytest.mark.slow
def test_unreadable_destination_disables_itself_alone(tmp_path: Path) -> None:
    """Calls go on, and pages, API and doctor name the destination with the reason."""
    with create_server(tmp_path / "data") as server:
        server.add_pbx()
        server.run_command("destination", "add", "CRM", "--url", "https://crm.example.com/calls")
        with closing(sqlite3.connect(server.directory / "onhook.db", isolation_level=None)) as connection:
            connection.execute("UPDATE destinations SET spec = replace(spec, 'p-2026', 'p-2027')")
        server.start()
        assert server.post(webhook_body(1)) == 200
        wait_until(lambda: len(server.calls()) == 1)
        (row,) = json.loads(get(server, "/api/v1/unreadable-rows"))["data"]
        assert (row["table"], row["name"]) == ("destinations", "CRM")
        assert "p-2027" in row["reason"]
        assert "p-2027" in get(server, "/issues")
        assert json.loads(get(server, "/api/v1/destinations"))["data"] == []
        assert "CRM in destinations is disabled" in server.run_command("doctor", exit_code=1)
        assert "cannot be read and is disabled" in server.log_text()
        server.run_command("destination", "remove", "CRM")
        assert json.loads(get(server, "/api/v1/unreadable-rows"))["data"] == []
