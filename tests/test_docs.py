"""Documentation is complete: an undocumented command, option, setting or route fails here."""

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from litestar.routes import HTTPRoute

from onhook.appdb.destination_spec import PayloadFormat
from onhook.cli.main import COMMANDS, load_command
from onhook.config import ENVIRONMENT_PREFIX, Config
from onhook.console.app import _api_router, _page_router
from onhook.simulator.office_plan import FILE_FORMATS, LINE_FORMATS, WEBHOOK_FORMATS
from tests.runtime.harness import create_server

DOCS = Path(__file__).parents[1] / "docs"
UNDOCUMENTED = frozenset({"--help"})
"""Documented once, for all commands."""


def _commands() -> Iterator[tuple[str, Any]]:
    for name in COMMANDS:
        yield from _walk(f"onhook {name}", load_command(name))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}", below)


COMMANDS_BY_PATH = dict(_commands())


def _section(text: str, path: str) -> str:
    """Return the section of a command."""
    match = re.search(rf"^##+ `{re.escape(path)}`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


@pytest.mark.parametrize("path", COMMANDS_BY_PATH)
def test_docs_command_has_section_with_all_options(path: str) -> None:
    text, command = (DOCS / "commands.md").read_text(), COMMANDS_BY_PATH[path]
    section = _section(text, path)
    assert section, f"docs/commands.md has no section for `{path}`"
    filters = _section(text.replace("## Filters", "## `filters`"), "filters") if "#filters" in section else ""
    for parameter in command.params:
        for name in [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else []:
            documented = re.search(rf"{name}\b", section + filters) or name in UNDOCUMENTED
            assert documented, f"docs/commands.md does not describe {name} of `{path}`"
        if parameter.param_type_name == "argument":
            assert f"`{parameter.metavar}`" in section


@pytest.mark.parametrize(
    ("path", "payload_formats"),
    [
        *((f"onhook destination {name}", get_args(PayloadFormat)) for name in ("add", "change", "preview")),
        ("onhook simulate", (*WEBHOOK_FORMATS, *LINE_FORMATS, *FILE_FORMATS)),
    ],
)
def test_docs_command_lists_the_payload_formats_that_it_accepts(path: str, payload_formats: Sequence[str]) -> None:
    """So does the help of a simulated PBX, whose option has no choices."""
    section = _section((DOCS / "commands.md").read_text(), path)
    (text,) = re.findall(r"^\| `--payload-format[^|]*\| Event format: ([^|]*)\. Default", section, re.MULTILINE)
    assert re.split("[,;] (?:of (?:lines|files) )?", text) == list(payload_formats)
    (option,) = (option for option in COMMANDS_BY_PATH[path].params if "--payload-format" in option.opts)
    if path == "onhook simulate":
        assert re.findall(r"[\w-]+(?=[,;]|$)", option.help) == list(payload_formats)


@pytest.mark.parametrize("path", COMMANDS_BY_PATH)
def test_docs_command_help_has_example(path: str) -> None:
    command = COMMANDS_BY_PATH[path]
    assert command.help
    assert command.epilog.startswith(f"Example: {path.removesuffix(' secret')}")


@pytest.mark.parametrize("name", Config.__struct_fields__)
def test_docs_setting_has_row_with_variable(name: str) -> None:
    text = (DOCS / "configuration.md").read_text()
    assert f"| `{name}` |" in text
    assert f"`{ENVIRONMENT_PREFIX}{name.upper()}`" in text


def _routes() -> Iterator[str]:
    """Yield the routes for programs; pages and charts are excluded."""
    for router in (_api_router(), _page_router()):
        for route in router.routes:
            if isinstance(route, HTTPRoute) and any(
                route_handler.include_in_schema is not False for route_handler in route.route_handlers
            ):
                yield re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path).removeprefix("/api/v1")


@pytest.mark.parametrize("path", sorted(set(_routes())))
def test_docs_route_is_in_api_reference(path: str) -> None:
    """With or without `/api/v1`."""
    assert path in (DOCS / "api.md").read_text(), f"docs/api.md does not name {path}"


VENDORED = (
    Path(__file__).parents[1] / "src" / "onhook" / "console" / "static" / "vendor",
    Path(__file__).parent / "vendor",
)


def test_docs_vendored_file_has_hash_and_licence() -> None:
    text = (DOCS / "vendored.md").read_text()
    scripts = [file for directory in VENDORED for file in directory.iterdir() if file.suffix == ".js"]
    assert len(scripts) >= 2
    for file in scripts:
        assert f"| `{file.name}` |" in text
        assert hashlib.sha256(file.read_bytes()).hexdigest() in text
        assert file.with_name(f"{file.name.partition('.')[0]}.LICENSE.txt").exists()


MENU = re.compile(r"Integrations [>→] .{30}")
KNOWN_MENU = re.compile(r"Integrations > API( > Webhook Event Push)?(?! >)")


def test_docs_menu_of_webhooks_has_one_path() -> None:
    """Everywhere the menu is named, it is the one that the PBX shows."""
    root = DOCS.parent
    paths = [root / "README.md", *DOCS.rglob("*.md"), *(root / "src").rglob("*.py"), *(root / "src").rglob("*.html")]
    menus = [menu for path in paths for menu in MENU.findall(" ".join(path.read_text().split()))]
    assert menus
    assert [menu for menu in menus if not KNOWN_MENU.match(menu)] == []


def test_docs_readme_installs_no_test_tools_on_a_server() -> None:
    (command,) = re.findall(r"`(make [^`]+)` installs Onhook", (DOCS.parent / "README.md").read_text())
    result = subprocess.run(
        [*command.split(), "--dry-run", "--always-make"], cwd=DOCS.parent, capture_output=True, text=True, check=True
    )
    assert "requirements/run.txt" in result.stdout
    assert "requirements/dev.txt" not in result.stdout
    assert "requirements/brokers.txt" not in result.stdout


NEW_PBX = re.compile(r"onhook pbx add (\"[^\"]+\"|\S+) .*?--(?:sn (\S+)|asterisk)")


def test_docs_readme_examples_of_new_pbxs_have_different_names() -> None:
    """So that all of them can be followed, with the pages that they lead to."""
    for pages in (("README.md",), ("README.md", "docs/asterisk.md", "docs/simulator.md"), ("docs/receiving.md",)):
        pbxs = {match.groups() for page in pages for match in NEW_PBX.finditer((DOCS.parent / page).read_text())}
        names = [name for name, _sn in pbxs if name != "…"]
        assert len(names) >= 2
        assert len(set(names)) == len(names), pages


def test_docs_example_of_a_signed_event_is_stored(tmp_path: Path) -> None:
    """As it is pasted, with the address of the test's server."""
    text = (DOCS / "receiving.md").read_text()
    (script,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "openssl" in block]
    (command,) = re.findall(r"^onhook (pbx add Office .*)$", text, re.MULTILINE)
    with create_server(tmp_path / "data") as server:
        server.run_command(*command.split())
        server.start(ready_process="intake")
        assert "http://127.0.0.1:30012/" in script
        script = script.replace("http://127.0.0.1:30012/", f"http://{server.address('intake')}/")
        for answer in ("stored", "already stored"):
            result = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
            status, _, body = result.stdout.partition("\n")
            assert (status.split()[1], body.strip().splitlines()[-1]) == ("200", answer)


_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub, GitLab and the site make them."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        slug = base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while slug in anchors:
            number += 1
            slug = f"{base}-{number}"
        anchors.add(slug)
    return anchors


def test_docs_links_lead_to_files_and_headings_that_exist() -> None:
    root = DOCS.parent
    pages = {path.resolve(): path.read_text() for path in [*root.glob("*.md"), *DOCS.rglob("*.md")]}
    broken_links = []
    for path, text in pages.items():
        for link in _LINK.findall(re.sub(r"`[^`]*`|^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
            name, _, anchor = link.partition("#")
            if ":" in name:
                continue
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and target in pages and anchor not in _anchors(pages[target])):
                broken_links.append(f"{path.name}: {link}")
    assert broken_links == []
