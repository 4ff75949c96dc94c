"""docs/install.md, literally: its commands are run in a new Debian system, and the first call is on the screen."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.install.conftest import EPOCH
from tests.install.debian_root import ROOT, DebianRoot
from tests.install.test_debian_package import run_service
from tests.runtime.harness import SECRET, SN, wait_until, webhook_body
from tools.distribution import build_distribution, read_version

pytestmark = [pytest.mark.install, pytest.mark.timeout(3_600)]

DOCUMENT = (ROOT / "docs" / "install.md").read_text()
SUDO = """\
#!/bin/sh
if [ "$1" = -u ]; then
    user=$2
    shift 2
    exec setpriv --reuid="$user" --regid="$user" --init-groups "$@"
fi
exec "$@"
"""
"""A new system has no sudo; this one asks for no password."""

NOT_RUN = {
    "make dist": "runs on the machine that builds: the fixtures do it",
    "docker compose": "takes a machine with containers",
}
WHEELHOUSE = "/opt/wheelhouse"
"""Wheels with their real hashes, collected as the page says for machines without a network."""


def read_section(title: str) -> list[str]:
    """Return the commands of a section, a text for each block."""
    section = DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, title
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run_block(root: DebianRoot, block: str, answer: str = "", directory: str = "/root") -> str:
    """Run a block as a person pastes it; return its output."""
    variables = f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELHOUSE} PIP_DISABLE_PIP_VERSION_CHECK=1"
    result = root.execute("bash", "-euc", f"{variables}\ncd {directory}\n{block}", stdin=answer)
    assert result.returncode == 0, f"{block}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture
def new_system(debian_root: DebianRoot) -> DebianRoot:
    debian_root.write("usr/bin/sudo", SUDO, 0o755)
    return debian_root


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the wheel, the sdist and all wheels that they need."""
    directory = tmp_path_factory.mktemp("wheelhouse")
    paths = build_distribution(ROOT, tmp_path_factory.mktemp("dist"), EPOCH)
    (wheel,) = (path for path in paths if path.suffix == ".whl")
    lock = ROOT / "requirements" / "run.txt"
    command = [sys.executable, "-m", "pip", "download", "-q", "-d", str(directory), "-r", str(lock)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copyfile(wheel, directory / wheel.name)
    return directory


def test_document_of_installation_has_no_block_that_is_not_run() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    run_sections = ("The Debian package", "The first call", "In an environment of its own", "As a service")
    run_blocks = [block for title in run_sections for block in read_section(title)]
    other_blocks = [block for block in blocks if block not in run_blocks]
    assert len(run_blocks) >= 7
    assert [block for block in other_blocks if not block.startswith(tuple(NOT_RUN))] == []


def test_document_of_installation_leads_to_a_call_on_the_screen(
    new_system: DebianRoot, packages: tuple[Path, Path], chromium_path: str
) -> None:
    """The Debian package, then the first call; a test takes the place of systemd, which would start the service."""
    shutil.copyfile(packages[0], new_system.path(f"root/{packages[0].name}"))
    (block,) = read_section("The Debian package")
    run_block(new_system, block)
    with socket.create_server(("127.0.0.1", 0)) as listener, run_service(new_system, listener) as server:
        add_pbx, show_link, list_calls = read_section("The first call")
        assert (SN in add_pbx, SECRET in add_pbx) == (True, True)
        run_block(new_system, add_pbx)
        host, port = listener.getsockname()
        assert server.post(webhook_body(1), address_text=f"{host}:{port}") == 200
        settings_block = "cd /etc/onhook\n"
        wait_until(lambda: "Alice" in run_block(new_system, settings_block + list_calls))
        output = run_block(new_system, settings_block + show_link)
        (link,) = re.findall(r"http://\S+/sign-in\?token=\S+", output)
        _check_screen(link, chromium_path)


def _check_screen(link: str, chromium_path: str) -> None:
    """Open the link in a browser, sign in, and look for the call."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button").first.click()
        page.goto(link.partition("/sign-in")[0] + "/calls?since=2026-04-01")
        page.get_by_text("Alice").first.wait_for()
        assert page.get_by_text("Bob").count() >= 1
        browser.close()


def test_document_of_an_environment_and_a_service_does_what_it_says(new_system: DebianRoot, wheelhouse: Path) -> None:
    shutil.copytree(wheelhouse, new_system.path(WHEELHOUSE.lstrip("/")))
    (wheel,) = wheelhouse.glob("onhook-*.whl")
    shutil.copyfile(wheel, new_system.path(f"root/{wheel.name}"))
    shutil.copytree(ROOT / "requirements", new_system.path("root/requirements"))
    install, install_pinned = read_section("In an environment of its own")
    assert f"onhook {read_version(ROOT)} " in run_block(new_system, install)
    run_block(new_system, install_pinned)
    assert new_system.path("opt/onhook/share/man/man1/onhook.1").exists()
    (block,) = read_section("As a service")
    show_files, install_service, show_status = block.splitlines()
    assert "[Service]" in run_block(new_system, show_files)
    run_block(new_system, install_service, answer="y\n")
    assert new_system.read_log("systemctl") == [
        "daemon-reload",
        "enable onhook.socket onhook.service",
        "start onhook.socket",
        "restart onhook.service",
    ]
    assert new_system.run("getent", "passwd", "onhook").startswith("onhook:")
    unit = new_system.path("etc/systemd/system/onhook.service").read_text()
    assert "ExecStart=/opt/onhook/bin/onhook serve --data /var/lib/onhook --zone Europe/Berlin" in unit
    # Nothing runs: no service manager does.
    assert new_system.execute("bash", "-euc", show_status).returncode == 1
    run_block(new_system, "sudo onhook service uninstall", answer="y\n")
    assert not new_system.path("etc/systemd/system/onhook.service").exists()
