"""The pictures of the README: `make screenshots` runs a server with two simulated offices, and photographs its pages.

The calls are those of a seed, ended until now, so that only dates differ from one run to the next.
"""

import argparse
import contextlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
from playwright.sync_api import Page, ViewportSize, sync_playwright

from onhook.simulator.numbers import FIRST_EXTENSION, FIRST_NAMES, IVRS, QUEUE, RING_GROUP, Party
from tools.distribution import ROOT

PICTURES: Final = ROOT / "docs" / "images"
PAGES: Final[Mapping[str, str]] = {"dashboard": "/?since=7d", "destinations": "/destinations"}
"""Names of the pictures, and paths; the picture of a call is of one that the list of calls has."""

OFFICES: Final[Mapping[str, tuple[str, int]]] = {"Berlin": ("3631A2124ABC", 1), "Madrid": ("3631A2125DEF", 2)}
"""Names of the PBXs, their serial numbers, and the seeds of their calls."""

NAMES: Final[Mapping[str, Sequence[Party]]] = {
    "ivr": IVRS,
    "queue": (QUEUE,),
    "ring_group": (RING_GROUP,),
}

DESTINATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "CRM": (),
    "Missed calls to Slack": ("--status", "!answered", "--type", "inbound"),
    "Billing": ("--payload-format", "flat"),
}
SECRET: Final = "0123456789abcdefghijABCDEFGHIJ01"  # noqa: S105 - of a server that lives for a minute
ZONE: Final = "Europe/Berlin"
HISTORY: Final = ("--start", "23d", "--count", "9000")
DELIVERY_SECONDS_MAX: Final = 120.0
START_SECONDS_MAX: Final = 120.0
WINDOW: Final[ViewportSize] = {"width": 1360, "height": 1020}
_ONHOOK: Final = (sys.executable, "-P", "-c", "import sys; from onhook.cli.entry import main; sys.exit(main())")


class AcceptingHandler(http.server.BaseHTTPRequestHandler):
    """An application that accepts every notification."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def main() -> int:
    """Make the pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="directory of the pictures")
    directory: Path = parser.parse_args().to
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onhook-screenshots-") as name, _application() as url:
        data = Path(name)
        for office, (sn, _seed) in OFFICES.items():
            _run(data, "pbx", "add", office, "--sn", sn, "--secret", SECRET)
        _run(data, "directory", "import", str(_write_names(data / "names.csv")))
        for destination, options in DESTINATIONS.items():
            _run(data, "destination", "add", destination, "--url", url, "--allow-private", *options)
        with _server(data) as addresses:
            for sn, seed in OFFICES.values():
                intake = f"http://{addresses['intake']}/"
                source = ("--to", intake, "--sn", sn, "--secret", SECRET, "--seed", str(seed), "--zone", ZONE)
                _run_program(data, "simulate", *source, *HISTORY)
            token = (data / "admin.token").read_text(encoding="ascii").strip()
            _photograph(f"http://{addresses['hub']}", token, directory)
    return 0


def _write_names(path: Path) -> Path:
    """Write the names of both offices, as a person has them in a table."""
    people = [Party(str(FIRST_EXTENSION + number), name) for number, name in enumerate(FIRST_NAMES)]
    lines = [
        f"{kind},{office},{party.number},{party.name}"
        for office in OFFICES
        for kind, parties in {**NAMES, "extension": people}.items()
        for party in parties
    ]
    path.write_text("\n".join(["kind,pbx,number,name", *lines]) + "\n", encoding="utf-8")
    return path


def _photograph(console: str, token: str, directory: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
        page = browser.new_page(viewport=WINDOW, timezone_id=ZONE, locale="en-GB", color_scheme="light")
        page.request.post(f"{console}/sign-in", form={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
        _wait_until_delivered(page, console)
        for name, path in PAGES.items():
            page.goto(console + path)
            _save(page, directory / f"{name}.png")
        page.goto(console + _path_of_a_call(page, console))
        _save(page, directory / "call.png")
        browser.close()


def _wait_until_delivered(page: Page, console: str) -> None:
    deadline = time.monotonic() + DELIVERY_SECONDS_MAX
    while time.monotonic() < deadline:
        destinations = msgspec.json.decode(page.request.get(f"{console}/api/v1/destinations").body())["data"]
        if all(destination["attempts_succeeded"] and not destination["pending"] for destination in destinations):
            return
        time.sleep(0.5)
    raise TimeoutError("the calls were not delivered")


def _path_of_a_call(page: Page, console: str) -> str:
    """Return the path of an answered call with the most legs."""
    answer = page.request.get(f"{console}/api/v1/calls?since=7d&type=inbound&status=answered&limit=200")
    call = max(msgspec.json.decode(answer.body())["data"], key=lambda call: len(call["legs"]))
    return f"/calls/{call['sn']}/{call['call_id']}"


def _save(page: Page, path: Path) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    sys.stdout.write(f"{path}\n")


@contextlib.contextmanager
def _application() -> Iterator[str]:
    """Run the application; yield its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), AcceptingHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/calls"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def _server(data: Path) -> Iterator[Mapping[str, str]]:
    """Run `onhook serve`; yield the addresses of its processes."""
    ports = ("--intake", "127.0.0.1:0", "--console", "127.0.0.1:0", "--pbx-api", "127.0.0.1:0")
    process = subprocess.Popen([*_ONHOOK, "serve", "--data", str(data), "--zone", ZONE, *ports])  # noqa: S603 - own arguments
    try:
        yield _addresses(data)
    finally:
        process.terminate()
        process.wait(START_SECONDS_MAX)


def _addresses(data: Path) -> Mapping[str, str]:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            running = msgspec.json.decode((data / "running.json").read_bytes())
            if running.get("intake") and running.get("hub"):
                return {name: running[name]["address"] for name in ("intake", "hub")}
        time.sleep(0.1)
    raise TimeoutError("the server did not start")


def _run(data: Path, *arguments: str) -> None:
    _run_program(data, *arguments, "--data", str(data))


def _run_program(data: Path, *arguments: str) -> None:
    subprocess.run([*_ONHOOK, *arguments], check=True, cwd=data, stdout=subprocess.DEVNULL)  # noqa: S603 - own arguments


if __name__ == "__main__":
    sys.exit(main())
