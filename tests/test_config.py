"""How settings are read: what cannot be meant so gets one sentence."""

import os
from pathlib import Path

import pytest

from onhook.config import Address, Config, is_loopback, parse_address, read_config
from onhook.lib.errors import UsageError

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
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    """A name, IPv4, or IPv6 in brackets."""
    assert parse_address(text, "intake") == address
    assert str(address) == text


NO_ADDRESSES = [
    "",
    "30012",
    ":30012",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:+80",
    "127.0.0.1:８０",  # noqa: RUF001 - digits, but not ours
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


@pytest.mark.parametrize("text", NO_ADDRESSES, ids=lambda text: str(text)[:20])
def test_what_is_no_address_is_refused(text: object) -> None:
    """In one short sentence that says where it stands."""
    with pytest.raises(UsageError, match="intake") as refused:
        parse_address(text, "intake")
    assert len(str(refused.value)) < 300


FILES = {
    "nested too deep": "data = " + "[" * 20_000,
    "a number too long": "data = " + "9" * 5_000,
    "NUL": 'data = "a\\u0000b"',
    "a number for a folder": "data = 5",
    "a list for a folder": 'data = ["a"]',
    "a moment for a folder": "data = 2026-04-27",
    "a table": "[data]\na = 1",
    "no folder": 'data = ""',
    "a list for an address": 'intake = ["127.0.0.1:80"]',
    "a moment for a zone": "zone = 2026-04-27",
    "an unknown zone": 'zone = "Mars/Olympus"',
    "a zone outside": 'zone = "../../etc/passwd"',
    "a list of names": 'console_names = ["a.example"]',
    "names that are none": 'console_names = "a b"',
    "neither true nor false": 'trace = "perhaps"',
    "a list for a flag": "trace = [true]",
    "no setting": "consol = 1",
    "no TOML": "data = ",
    "larger than any": "#" * 2_000_000,
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_meant_so_is_refused(tmp_path: Path, text: str) -> None:
    """In one short sentence that names the file."""
    (tmp_path / "onhook.toml").write_text(text)
    with pytest.raises(UsageError, match=r"onhook\.toml") as refused:
        read_config({}, tmp_path, {})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a directory, bytes that are no text."""
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


ENVIRONMENTS = [
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


@pytest.mark.parametrize(("name", "value"), ENVIRONMENTS, ids=lambda text: repr(text)[:30])
def test_a_variable_that_cannot_be_meant_so_is_refused(tmp_path: Path, name: str, value: str) -> None:
    """In one short sentence that names it; one in small letters is none, and is not passed over in silence."""
    with pytest.raises(UsageError, match=name) as refused:
        read_config({}, tmp_path, {name: value})
    assert len(str(refused.value)) < 400


def test_a_flag_counts_before_a_variable_and_that_before_the_file(tmp_path: Path) -> None:
    """And the default last."""
    (tmp_path / "onhook.toml").write_text('data = "a"\nzone = "Europe/Berlin"\ntrace = true\nintake = "[::1]:1"\n')
    config = read_config(
        {"data": "c", "console": None}, tmp_path, {"ONHOOK_DATA": "b", "ONHOOK_ZONE": "Asia/Kathmandu"}
    )
    assert (config.data, config.zone, config.trace) == (Path("c"), "Asia/Kathmandu", True)
    assert (config.intake, config.console) == (Address("::1", 1), Config().console)


def test_only_the_loopback_is_the_loopback() -> None:
    """A name that merely begins like its address is resolved by others."""
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(host) for host in ("127.example.com", "0.0.0.0", "::", "192.0.2.1", "example.com"))  # noqa: S104 - only read


def test_a_certificate_has_its_key(tmp_path: Path) -> None:
    """Both or neither; as whole paths, so that each process finds them; without them one of the PBX API's own."""
    given = {"pbx_api_certificate": "a.crt", "pbx_api_key": "~/a.key"}
    config = read_config(given, tmp_path, {})
    assert config.pbx_api_certificate_file == Path.cwd() / "a.crt"
    assert config.pbx_api_key_file == Path.home() / "a.key"
    own = read_config({"data": "/var/lib/onhook", "pbx_api_certificate": ""}, tmp_path, {})
    assert own.pbx_api_certificate_file == Path("/var/lib/onhook/pbx_api.crt")
    for name, path in given.items():
        with pytest.raises(UsageError, match="given together"):
            read_config({name: path}, tmp_path, {})


def test_days_are_a_whole_number(tmp_path: Path) -> None:
    """As a number in the file, as a text in the environment; nothing else."""
    (tmp_path / "onhook.toml").write_text("keep_days = 90")
    assert read_config({}, tmp_path, {}).keep_days == 90
    assert read_config({}, tmp_path, {"ONHOOK_KEEP_DAYS": "0"}).keep_days == 0
    for wrong in ("-1", "1.5", "soon", "999999", ""):
        with pytest.raises(UsageError, match="number of days"):
            read_config({}, tmp_path, {"ONHOOK_KEEP_DAYS": wrong})
