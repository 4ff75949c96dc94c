"""Build the documentation site in `build/site`: all pages, the API and the messages, with a search without a network.

Run by `make docs`, by Sphinx. Strict: a warning, as of a link to a heading that does not exist, fails the build.
The site is of one version; a host keeps each in a directory of its own.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tools.contract_changes import METHODS
from tools.contracts import ASYNCAPI, OPENAPI, asyncapi_document, openapi_document
from tools.distribution import ROOT, read_version

PROJECT_PAGES: Final = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "RELEASING.md",
    "SECURITY.md",
)
GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "Begin": (
        "install",
        "tutorials",
        "receiving",
        "asterisk",
        "freeswitch",
        "grandstream",
        "lines",
        "cucm",
        "simulator",
    ),
    "Use": (
        "console",
        "destinations",
        "http",
        "postgresql",
        "mysql",
        "clickhouse",
        "brokers",
        "files",
        "syslog",
        "email",
        "mail",
        "sign-in",
        "privacy",
    ),
    "Operate": ("operations", "upgrading", "configuration", "several-machines", "support", "measurements"),
    "Reference": (
        "commands",
        "api",
        "api-reference",
        "messages",
        "mcp",
        "pbx-api",
        "sql-tables",
        "glossary",
        "translating",
    ),
    "Project": (
        *(name.removesuffix(".md") for name in PROJECT_PAGES),
        "decisions",
        "vendored",
        "reference/yeastar-p-series",
        "reference/freeswitch",
        "reference/lines",
        "reference/cucm",
    ),
}
"""The menu; pages that are not named here come under `OTHER`."""

OTHER: Final = "More"

BUILD_SECONDS_MAX: Final = 900.0

CONFIGURATION: Final = """\
project = "Onhook"
version = release = {version!r}
html_title = "Onhook {version}"
extensions = ["myst_parser"]
html_theme = "furo"
html_static_path = ["_static"]
html_show_copyright = False
html_copy_source = False
myst_heading_anchors = 6
myst_linkify_fuzzy_links = False
nitpicky = True
# An example may leave something out by an ellipsis, which no language has.
suppress_warnings = ["misc.highlighting_failure"]
# Addresses in the documents are examples; only those of other projects can be looked up.
linkcheck_ignore = [r"https?://([^/]*\\.)?(example\\.(com|org|net)|localhost|127\\.0\\.0\\.1|192\\.0\\.2\\.)"]
linkcheck_timeout = 20
"""


def write_sources(root: Path, target: Path) -> None:
    """Write the sources of the site: the pages, with links as they are there, and those that are generated."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "_static").mkdir(parents=True)
    for path in sorted((root / "docs").rglob("*.md")):
        page = target / path.relative_to(root / "docs")
        page.parent.mkdir(exist_ok=True)
        page.write_text(path.read_text("utf-8").replace("](../", "]("), "utf-8")
    for name in PROJECT_PAGES:
        (target / name).write_text(_link_from_root((root / name).read_text("utf-8")), "utf-8")
    if (root / "docs" / "images").is_dir():
        shutil.copytree(root / "docs" / "images", target / "images")
    (target / "index.md").write_text(
        _link_from_root((root / "README.md").read_text("utf-8")) + _menu(root / "docs"), "utf-8"
    )
    openapi, asyncapi = openapi_document(), asyncapi_document()
    (target / "api-reference.md").write_text("\n".join(describe_api(openapi)), "utf-8")
    (target / "messages.md").write_text("\n".join(describe_messages(asyncapi)), "utf-8")
    for name, document in ((OPENAPI, openapi), (ASYNCAPI, asyncapi)):
        (target / "_static" / name).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    (target / "conf.py").write_text(CONFIGURATION.format(version=read_version(root)), "utf-8")


def _link_from_root(text: str) -> str:
    """Return a page of the repository's root with the links of the site, where all pages are at one place."""
    linked = re.sub(r"(\]\(|src=\")docs/", r"\1", text)
    return linked.replace("](LICENSE)", "](https://www.apache.org/licenses/LICENSE-2.0)")


def list_menu(docs: Path) -> dict[str, list[str]]:
    """Return the pages of the menu by group: every page once."""
    named_pages = {page for pages in GROUPS.values() for page in pages}
    found_pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    groups = {title: list(pages) for title, pages in GROUPS.items()}
    other_pages = sorted(found_pages - named_pages)
    return groups | ({OTHER: other_pages} if other_pages else {})


def _menu(docs: Path) -> str:
    blocks = (
        f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n{chr(10).join(pages)}\n```\n"
        for title, pages in list_menu(docs).items()
    )
    return "\n" + "\n".join(blocks)


def describe_api(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page about all routes, grouped by their first tag."""
    yield "# Routes of the API\n"
    yield "Made from the [OpenAPI document](_static/openapi.json), which each server has at `/schema/openapi.json`."
    yield "[The API](api.md) explains access, filters and errors.\n"
    groups: dict[str, list[tuple[str, str, Any]]] = {}
    for path, operations in sorted(document["paths"].items()):
        for method in METHODS:
            if method in operations:
                tag = (operations[method].get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append((method, path, operations[method]))
    for tag, routes in sorted(groups.items()):
        yield f"## {tag}\n"
        for method, path, operation in routes:
            yield from _describe_route(method, path, operation)


def _describe_route(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    yield f"{' '.join((operation.get('description') or operation.get('summary') or '').split())}\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | |\n|---|---|---|"
        for parameter in parameters:
            text = " ".join((parameter.get("description") or "").split()).replace("|", "\\|")
            mark = " (required)" if parameter.get("required") else ""
            yield f"| `{parameter['name']}` | {parameter['in']} | {text}{mark} |"
        yield ""
    statuses = ", ".join(f"{status} {response['description']}" for status, response in operation["responses"].items())
    yield f"Responses: {statuses}.\n"


def describe_messages(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page about what destinations get."""
    yield "# Messages to destinations\n"
    yield "Made from the [AsyncAPI document](_static/asyncapi.json), which has a JSON Schema of each message."
    yield "[Destinations](destinations.md) explains formats, signatures and retries.\n"
    for name, message in document["components"]["messages"].items():
        yield f"## `{name}`\n"
        example = msgspec.json.format(msgspec.json.encode(message["examples"][0]["payload"]), indent=2).decode()
        yield f"```json\n{example}\n```\n"
        schema = message["payload"]
        members = schema["properties"]
        content = members.get("msg", {}).get("contentSchema") or members.get("msg", {})
        members = content.get("properties", members)
        required = set(content.get("required", schema["required"]))
        yield "| member | type | |\n|---|---|---|"
        for member, shape in members.items():
            presence = "always" if member in required else "where it is known"
            yield f"| `{member}` | {', '.join(shape['type'])} | {presence} |"
        yield ""


def build_site(root: Path, directory: Path, builder: str = "html") -> subprocess.CompletedProcess[str]:
    """Run Sphinx; its exit code is not 0 where there was a warning."""
    source = directory.parent / "documentation"
    write_sources(root, source)
    shutil.rmtree(directory, ignore_errors=True)
    arguments = ("-b", builder, "-W", "--keep-going", "-q", "-n", "-d", str(directory.parent / "doctrees"))
    return subprocess.run(  # noqa: S603 - own arguments
        [sys.executable, "-m", "sphinx", *arguments, str(source), str(directory)],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )


def main() -> int:
    """Build the site, print warnings; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("--external", action="store_true", help="look up the addresses of other sites too")
    options = parser.parse_args()
    directory = ROOT / "build" / "site"
    result = build_site(ROOT, directory)
    if result.returncode == 0 and options.external:
        result = build_site(ROOT, ROOT / "build" / "links", "linkcheck")
    sys.stderr.write(result.stdout + result.stderr)
    if result.returncode == 0:
        sys.stdout.write(f"{directory / 'index.html'}\n")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
