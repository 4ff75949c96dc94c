"""The configurations of packaging/ for reverse proxies, run by the proxy itself before a real server."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from websockets.sync.client import connect

from onhook.config import parse_address
from onhook.console.queries.directory import IMPORT_BYTES_MAX
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.receiver.http_parser import BODY_BYTES_MAX
from tests.runtime.harness import SECRET, Server, call_id, wait_until, webhook_body
from tests.server_certificates import create_server_certificate

PACKAGING = Path(__file__).parents[2] / "packaging"
HOST = "calls.example.com"
CLIENT = "127.0.0.2"
SPOOFED = {"X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9"}
"""What a client writes to seem another one."""

SETTINGS = f'console_names = "{HOST}"\ntrusted_proxies = "127.0.0.1/32"\npbx_api_plain = true\n'
PORTS = ("8030", "30012", "8088")
"""Of Onhook in the configurations: console, intake, PBX API; those of the proxy stand before them, in this order."""

PROXY_PORTS = ("443", "30443", "8443")
READ_SECONDS_MAX = 60

DEBIAN_TLS = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;\nssl_prefer_server_ciphers on;\n"
"""What nginx.conf of Debian has beside conf.d."""


class ProxyAddresses(msgspec.Struct, frozen=True):
    """Ports at which the proxy listens, and the context that trusts its certificate."""

    console: int
    intake: int
    pbx_api: int
    tls: ssl.SSLContext

    def connect(self, port: int) -> ssl.SSLSocket:
        """Connect as a client on another machine does: by the name, and from an address that is not the proxy's."""
        connection = socket.create_connection(("127.0.0.1", port), READ_SECONDS_MAX, (CLIENT, 0))
        return self.tls.wrap_socket(connection, server_hostname=HOST)

    @contextlib.contextmanager
    def request(
        self, port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(HOST, port)
        connection.sock = self.connect(port)
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body, {**SPOOFED, **(headers or {})})
            yield connection.getresponse()


def write_nginx(directory: Path, text: str, ports: Mapping[str, int]) -> list[str]:
    """Write the configuration with free ports; return the command that runs it."""
    for port, free_port in ports.items():
        text = re.sub(rf"\b{port}( ssl)?;", rf"{free_port}\1;", text)
    text = text.replace("/etc/ssl/onhook/fullchain.pem", str(directory / "server.pem"))
    text = text.replace("/etc/ssl/onhook/privkey.pem", str(directory / "server.key"))
    (directory / "onhook.conf").write_text(text)
    places = "".join(
        f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off;\nuser root;\npid {directory}/nginx.pid;\nerror_log {directory}/proxy.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{DEBIAN_TLS}{places}include {directory}/onhook.conf;\n}}\n"
    )
    return ["nginx", "-c", str(main), "-e", str(directory / "proxy.log")]


def write_caddy(directory: Path, text: str, ports: Mapping[str, int]) -> list[str]:
    """Write the configuration with free ports and the certificate of the test; return the command that runs it."""
    for port in PORTS:
        text = text.replace(f"127.0.0.1:{port} ", f"127.0.0.1:{ports[port]} ")
    site = f"\ttls {directory}/server.pem {directory}/server.key"
    text = text.replace(f"\n{HOST} {{", f"\n{HOST}:443 {{")
    for port in PROXY_PORTS:
        text = text.replace(f"\n{HOST}:{port} {{", f"\n{HOST}:{ports[port]} {{\n{site}")
    # What it would fetch and write elsewhere.
    options = f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {directory}/storage\n}}\n"
    path = directory / "Caddyfile"
    path.write_text(options + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


PROXIES = {"nginx": (write_nginx, "nginx/onhook.conf"), "caddy": (write_caddy, "caddy/Caddyfile")}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[ProxyAddresses]:
    """Run Onhook behind the proxy."""
    if shutil.which(request.param) is None:
        pytest.skip(f"takes {request.param}")
    write, name = PROXIES[request.param]
    certificate = create_server_certificate(tmp_path, HOST)
    (tmp_path / "onhook.toml").write_text(SETTINGS)
    server.run_command("app", "add", "crm", "--pbx", "Office", "--format", "json")
    server.start("--pbx-api", "127.0.0.1:0")
    wait_until(lambda: server.address("pbx_api") is not None)
    addresses = [server.address(process) for process in ("hub", "intake", "pbx_api")]
    ports = {name: parse_address(address, "running.json").port for name, address in zip(PORTS, addresses, strict=True)}
    ports |= {port: _find_free_port() for port in PROXY_PORTS}
    command = write(tmp_path, (PACKAGING / name).read_text(), ports)
    with (tmp_path / "proxy.out").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or all(_is_open(ports[port]) for port in PROXY_PORTS))
        assert process.poll() is None, (tmp_path / "proxy.out").read_text()
        context = ssl.create_default_context(cadata=certificate.authority_pem)
        yield ProxyAddresses(ports["443"], ports["30443"], ports["8443"], context)
    finally:
        process.terminate()
        process.wait()


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _post_event(proxy: ProxyAddresses, body: bytes) -> int:
    with proxy.request(proxy.intake, "/", body, {SIGNATURE_HEADER: sign(SECRET, body)}) as response:
        return response.status


@pytest.mark.skipif(shutil.which("nginx") is None, reason="takes nginx")
def test_nginx_configuration_replaces_the_versions_of_tls_that_debian_allows(tmp_path: Path) -> None:
    """In a block that has them already, they would be added to those, with a warning."""
    create_server_certificate(tmp_path, HOST)
    command = write_nginx(tmp_path, (PACKAGING / "nginx" / "onhook.conf").read_text(), {})
    result = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "[warn]" not in result.stderr


def test_nginx_configuration_accepts_the_largest_bodies_of_console_and_intake() -> None:
    text = (PACKAGING / "nginx" / "onhook.conf").read_text()
    sizes = [int(size) for size in re.findall(r"client_max_body_size (\d+)k;", text)]
    assert sizes == [IMPORT_BYTES_MAX // 1024, BODY_BYTES_MAX // 1024]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reverse_proxy_passes_events_feeds_and_sockets_on_and_names_the_client(
    server: Server, proxy: ProxyAddresses
) -> None:
    token = (server.directory / "admin.token").read_text().strip()
    bearer = {"Authorization": f"Bearer {token}"}
    assert _post_event(proxy, webhook_body(1)) == HTTPStatus.OK
    assert _post_event(proxy, b" " * 300_000) == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    # Each record of the live feed arrives at once, while the response goes on.
    with proxy.request(proxy.console, "/api/v1/live", headers=bearer) as feed:
        assert feed.status == HTTPStatus.OK
        assert _post_event(proxy, webhook_body(2)) == HTTPStatus.OK
        data = (line.removeprefix(b"data:") for line in iter(feed.readline, b"") if line.startswith(b"data:"))
        # The first event may be stored only after the feed began.
        assert call_id(2) in (json.loads(text)["call_id"] for text in islice(data, 2))
    form = f"token={token}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    with proxy.request(proxy.console, "/sign-in", form, headers) as response:
        assert response.status == HTTPStatus.SEE_OTHER
        assert "Secure" in str(response.getheader("Set-Cookie"))
    with proxy.request(proxy.console, "/api/v1/audit", headers=bearer) as response:
        addresses = {entry["address"] for entry in json.load(response)["data"] if entry["action"].startswith("sign")}
    assert addresses == {CLIENT}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reverse_proxy_passes_the_sockets_of_the_pbx_api_on(server: Server, proxy: ProxyAddresses) -> None:
    credentials = json.loads(server.run_command("app", "renew", "crm", "--format", "json"))
    login = json.dumps({"username": credentials["client_id"], "password": credentials["client_secret"]}).encode()
    headers = {"User-Agent": "OpenAPI", "Content-Type": "application/json"}
    with proxy.request(proxy.pbx_api, "/openapi/v1.0/get_token", login, headers) as response:
        token = json.load(response)["access_token"]
    url = f"wss://{HOST}:{proxy.pbx_api}/openapi/v1.0/subscribe?access_token={token}"
    connection = socket.create_connection(("127.0.0.1", proxy.pbx_api), READ_SECONDS_MAX)
    with connect(url, sock=connection, ssl=proxy.tls, user_agent_header="OpenAPI") as subscription:
        subscription.send('{"topic_list":[30012]}')
        assert json.loads(subscription.recv(timeout=READ_SECONDS_MAX))["errcode"] == 0
        assert _post_event(proxy, webhook_body(1)) == HTTPStatus.OK
        event = json.loads(subscription.recv(timeout=READ_SECONDS_MAX))
    assert json.loads(event["msg"])["call_id"] == call_id(1)
