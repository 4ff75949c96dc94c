"""Reading of settings; invalid ones are rejected with one sentence."""

import os
import socket
from pathlib import Path

import pytest

from onhook.appdb import destination_spec
from onhook.config import (
    LOG_DAYS_MAX,
    Address,
    Config,
    child_environment,
    is_loopback,
    parse_address,
    read_config,
    secret_environment,
)
from onhook.lib.errors import UsageError
from onhook.runtime.child import build_command

ADDRESSES = {
    "127.0.0.1:8030": Address("127.0.0.1", 8030),
    "0.0.0.0:0": Address("0.0.0.0", 0),  # noqa: S104 - only read
    "[::1]:80": Address("::1", 80),
    "[::]:30012": Address("::", 30012),
    "localhost:65535": Address("localhost", 65535),
    "calls-1.example.com:80": Address("calls-1.example.com", 80),
    "Office_PBX.local:80": Address("Office_PBX.local", 80),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=str)
def test_parse_address_valid_text_round_trips(text: str, address: Address) -> None:
    assert parse_address(text, "intake") == address
    assert str(address) == text


INVALID_ADDRESSES = [
    "",
    "30012",
    ":30012",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:+80",
    "127.0.0.1:８０",  # noqa: RUF001 - full-width digits
    "127.0.0.1:" + "9" * 5000,
    "a..b:31801",
    ".a:80",
    "a.:80",
    "a b:80",
    "-a:80",
    "x" * 300 + ":80",
    "x" * 64 + ":80",
    ".".join(["x" * 60] * 5) + ":80",
    "[::1:80",
    "::1]:80",
    "[[::1]]:80",
    "[127.0.0.1]:80",
    "[]:80",
    "[::g]:80",
    "::1:80",
    "a\0b:80",
    "127.0.0.1:80\n",
    5,
    ["127.0.0.1:80"],
    None,
]


@pytest.mark.parametrize("text", INVALID_ADDRESSES, ids=lambda text: str(text)[:20])
def test_parse_address_invalid_text_names_the_setting(text: object) -> None:
    with pytest.raises(UsageError, match="intake") as error:
        parse_address(text, "intake")
    assert len(str(error.value)) < 300


INVALID_FILES = {
    "nested too deeply": "data = " + "[" * 20_000,
    "number too long": "data = " + "9" * 5_000,
    "NUL": 'data = "a\\u0000b"',
    "number as directory": "data = 5",
    "list as directory": 'data = ["a"]',
    "date as directory": "data = 2026-04-27",
    "a table": "[data]\na = 1",
    "empty directory": 'data = ""',
    "list as address": 'intake = ["127.0.0.1:80"]',
    "date as zone": "zone = 2026-04-27",
    "unknown zone": 'zone = "Mars/Olympus"',
    "path as zone": 'zone = "../../etc/passwd"',
    "list of names": 'console_names = ["a.example"]',
    "invalid names": 'console_names = "a b"',
    "invalid boolean": 'trace = "perhaps"',
    "list as boolean": "trace = [true]",
    "unknown setting": "consol = 1",
    "invalid TOML": "data = ",
    "file too large": "#" * 2_000_000,
}


@pytest.mark.parametrize("text", INVALID_FILES.values(), ids=INVALID_FILES.keys())
def test_read_config_invalid_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "onhook.toml").write_text(text)
    with pytest.raises(UsageError, match=r"onhook\.toml") as error:
        read_config({}, tmp_path, {})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_read_config_special_file_is_rejected_without_waiting(tmp_path: Path) -> None:
    """A pipe, a directory, and bytes that are not UTF-8."""
    file = tmp_path / "onhook.toml"
    os.mkfifo(file)
    with pytest.raises(UsageError, match=r"onhook\.toml"):
        read_config({}, tmp_path, {})
    file.unlink()
    file.mkdir()
    with pytest.raises(UsageError, match=r"onhook\.toml"):
        read_config({}, tmp_path, {})
    file.rmdir()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"onhook\.toml"):
        read_config({}, tmp_path, {})


INVALID_VARIABLES = [
    ("ONHOOK_DATA", "~nosuchuser/x"),
    ("ONHOOK_DATA", "a\udcffb"),
    ("ONHOOK_INTAKE", "127.0.0.1:" + "9" * 5_000),
    ("ONHOOK_ZONE", "\udcff"),
    ("ONHOOK_ZONE", "x" * 5_000),
    ("ONHOOK_CONSOLE_NAMES", "\udcff"),
    ("ONHOOK_trace", "true"),
    ("ONHOOK_Data", "x"),
    ("ONHOOK_", "x"),
    ("ONHOOK_NONSENSE", "x"),
]


@pytest.mark.parametrize(("name", "value"), INVALID_VARIABLES, ids=lambda text: repr(text)[:30])
def test_read_config_invalid_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    """A variable in small letters is rejected, not ignored."""
    with pytest.raises(UsageError, match=name) as error:
        read_config({}, tmp_path, {name: value})
    assert len(str(error.value)) < 400


def test_read_config_precedence_is_flag_variable_file_default(tmp_path: Path) -> None:
    (tmp_path / "onhook.toml").write_text('data = "a"\nzone = "Europe/Berlin"\ntrace = true\nintake = "[::1]:1"\n')
    config = read_config(
        {"data": "c", "console": None}, tmp_path, {"ONHOOK_DATA": "b", "ONHOOK_ZONE": "Asia/Kathmandu"}
    )
    assert (config.data, config.zone, config.trace) == (Path("c"), "Asia/Kathmandu", True)
    assert (config.intake, config.console) == (Address("::1", 1), Config().console)


def test_is_loopback_rejects_other_hosts() -> None:
    """A name that begins like the loopback address is resolved by DNS."""
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(host) for host in ("127.example.com", "0.0.0.0", "::", "192.0.2.1", "example.com"))  # noqa: S104 - only parsed


def test_read_config_certificate_requires_key(tmp_path: Path) -> None:
    """Paths become absolute, because child processes have other working directories."""
    settings = {"pbx_api_certificate": "a.crt", "pbx_api_key": "~/a.key"}
    config = read_config(settings, tmp_path, {})
    assert config.pbx_api_certificate_file == Path.cwd() / "a.crt"
    assert config.pbx_api_key_file == Path.home() / "a.key"
    defaults = read_config({"data": "/var/lib/onhook", "pbx_api_certificate": ""}, tmp_path, {})
    assert defaults.pbx_api_certificate_file == Path("/var/lib/onhook/pbx_api.crt")
    for name, path in settings.items():
        with pytest.raises(UsageError, match="must be set together"):
            read_config({name: path}, tmp_path, {})


@pytest.mark.parametrize(("text", "days"), [("7", 7), ("0", 0), ("365", 365)])
def test_read_config_log_days_are_days_of_a_year_at_most(tmp_path: Path, text: str, days: int) -> None:
    assert LOG_DAYS_MAX == destination_spec.LOG_DAYS_MAX
    assert read_config({}, tmp_path, {"ONHOOK_LOG_DAYS": text}).log_days == days
    for invalid_text in ("366", "-1", "week", "1.5", "٣"):
        with pytest.raises(UsageError, match="is not a number of days"):
            read_config({}, tmp_path, {"ONHOOK_LOG_DAYS": invalid_text})


def test_read_config_keep_days_is_whole_number(tmp_path: Path) -> None:
    (tmp_path / "onhook.toml").write_text("keep_days = 90")
    assert read_config({}, tmp_path, {}).keep_days == 90
    assert read_config({}, tmp_path, {"ONHOOK_KEEP_DAYS": "0"}).keep_days == 0
    for invalid in ("-1", "1.5", "soon", "999999", ""):
        with pytest.raises(UsageError, match="number of days"):
            read_config({}, tmp_path, {"ONHOOK_KEEP_DAYS": invalid})


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://onhook:pw@[2001:db8::1]:8080/", "http://onhook:pw@[2001:db8::1]:8080"),
        ("none", ""),
        ("", ""),
    ],
)
def test_config_proxy_is_a_url(tmp_path: Path, text: str, proxy: str) -> None:
    assert read_config({}, tmp_path, {"ONHOOK_PROXY": text}).proxy == proxy


@pytest.mark.parametrize("text", ["proxy.example:3128", "socks5://a:1", "http://me:geheim@proxy", "http://a:1/x"])
def test_config_invalid_proxy_is_an_error_without_its_password(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a proxy") as error:
        read_config({}, tmp_path, {"ONHOOK_PROXY": text})
    assert "geheim" not in str(error.value)


def test_config_child_process_receives_the_proxy_in_its_environment(tmp_path: Path) -> None:
    """Its arguments are visible to everyone on this machine."""
    config = Config(proxy="http://onhook:geheim@proxy.example:3128")
    assert "geheim" not in repr(config)
    assert "geheim" not in " ".join(build_command("onhook.runtime.hub_process", config))
    environment = child_environment(config, {"PATH": "/bin", "ONHOOK_PROXY": "http://other:1"})
    assert environment == {"PATH": "/bin", "ONHOOK_PROXY": config.proxy, "ONHOOK_APPDB": "", "ONHOOK_LEDGER": ""}
    assert read_config({}, tmp_path, secret_environment(environment)).proxy == config.proxy


def test_config_child_process_receives_nothing_of_the_service_manager() -> None:
    """It must not notify that the service is ready, nor use a descriptor that is closed."""
    environ = {"NOTIFY_SOCKET": "@manager", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "LISTEN_PID": "1", "TZ": "UTC"}
    expected = {"TZ": "UTC", "ONHOOK_PROXY": "", "ONHOOK_APPDB": "", "ONHOOK_LEDGER": ""}
    assert child_environment(Config(), environ) == expected


@pytest.mark.parametrize(
    "url",
    ["", "postgresql://onhook:geheim@db1:5433,db2/onhook?sslmode=require", "postgres:///onhook?host=/run/postgresql"],
)
def test_config_appdb_is_a_url_that_child_processes_receive_in_their_environment(tmp_path: Path, url: str) -> None:
    config = read_config({}, tmp_path, {"ONHOOK_APPDB": url})
    assert config.appdb == url
    assert "geheim" not in " ".join(build_command("onhook.runtime.hub_process", config))
    assert read_config({}, tmp_path, secret_environment(child_environment(config, {}))).appdb == url


@pytest.mark.parametrize("url", ["onhook.db", "mysql://me:geheim@db/onhook", "postgresql://me:geheim@db", " ", "x\0"])
def test_config_invalid_appdb_is_an_error_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a PostgreSQL database") as error:
        read_config({}, tmp_path, {"ONHOOK_APPDB": url})
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["nats://onhook:geheim@n1,n2:4223,n3/ONHOOK?monitor=8222", "nats+tls://geheim@n1/ONHOOK?replicas=1&ca=/ca.pem"],
)
def test_config_ledger_is_a_url_that_child_processes_receive_in_their_environment(tmp_path: Path, url: str) -> None:
    config = read_config({}, tmp_path, {"ONHOOK_LEDGER": url, "ONHOOK_APPDB": "postgresql://db1/onhook"})
    assert config.ledger == url
    assert "geheim" not in " ".join(build_command("onhook.runtime.hub_process", config))
    assert read_config({}, tmp_path, secret_environment(child_environment(config, {}))).ledger == url


@pytest.mark.parametrize("url", ["ledger.db", "http://me:geheim@n1/ONHOOK", "nats://me:geheim@n1", " ", "x\0"])
def test_config_invalid_ledger_is_an_error_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a ledger on NATS") as error:
        read_config({}, tmp_path, {"ONHOOK_LEDGER": url})
    assert "geheim" not in str(error.value)


def test_config_ledger_on_nats_needs_an_application_database_that_machines_share(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs an application database on PostgreSQL"):
        read_config({}, tmp_path, {"ONHOOK_LEDGER": "nats://n1/ONHOOK?monitor=8222"})


def test_config_role_and_node_are_those_of_a_machine_among_several(tmp_path: Path) -> None:
    shared = {"ONHOOK_LEDGER": "nats://n1/ONHOOK?monitor=8222", "ONHOOK_APPDB": "postgresql://db1/onhook"}
    config = read_config({"role": "hub"}, tmp_path, {**shared, "ONHOOK_NODE": "berlin-1"})
    assert (config.role, config.node_name) == ("hub", "berlin-1")
    assert read_config({}, tmp_path, shared).node_name == socket.gethostname()
    assert read_config({}, tmp_path, {"ONHOOK_NODE": "berlin-1"}).node_name == ""
    for values, message in {
        ("role", "hub"): "on different machines only with a ledger on NATS",
        ("role", "both"): "use one of all, intake, hub",
        ("node", "a/b"): "is no name of a machine",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_config(dict([values]), tmp_path, {})
