"""Definitions for CI call the verbs of the Makefile, and the files of the project that hosts look for are there."""

import re
import tomllib
from pathlib import Path

import msgspec

from onhook.pbx.registry import dialects

VENDORS = {
    "yeastar": "Yeastar",
    "newcdr": "Yeastar",
    "asterisk": "Asterisk",
    "freeswitch": "FreeSWITCH",
    "grandstream": "Grandstream",
    "3cx": "3CX",
    "avaya": "Avaya",
    "cucm": "Cisco",
}
"""What a dialect is called where Onhook is described."""

ROOT = Path(__file__).parents[1]
CI_FILES = (".github/workflows/ci.yaml", ".gitlab-ci.yml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
"""The supported ones, as docs/support.md says."""


def _verbs() -> set[str]:
    return set(re.findall(r"^([a-z.-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_ci_definitions_call_verbs_alone() -> None:
    for name in CI_FILES:
        text = (ROOT / name).read_text()
        verbs = set(re.findall(r"(?:run: |- )make ([a-z.-]+)", text))
        assert {"check", "test", "test-install", "test-pbx", "dist", "docs"} <= verbs <= _verbs(), name
        assert "make test COVERAGE=1" in text


def test_ci_definitions_install_what_tests_of_installations_need() -> None:
    """With CI=true they fail without a browser."""
    for name in CI_FILES:
        (packages,) = re.findall(r"recommends\s+([a-z0-9 -]*debootstrap[a-z0-9 -]*)", (ROOT / name).read_text())
        assert {"chromium", "debootstrap", "git", "make", "python3-venv", "sip-tester"} <= set(packages.split()), name


def test_ci_definitions_test_all_supported_pythons() -> None:
    for name in CI_FILES:
        document = msgspec.yaml.decode((ROOT / name).read_bytes())
        (pythons,) = [values for values in _find_lists(document) if PYTHONS[0] in values]
        assert pythons == PYTHONS, name
    assert f"{PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / "docs" / "support.md").read_text()


def _find_lists(value: object) -> list[list[object]]:
    """Return all lists in a document."""
    if isinstance(value, dict):
        return [values for member in value.values() for values in _find_lists(member)]
    if isinstance(value, list):
        return [value, *(values for member in value for values in _find_lists(member))]
    return []


def test_project_files_are_there_for_both_hosts() -> None:
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASING.md", "LICENSE", "CHANGELOG.md"):
        assert (ROOT / name).is_file()
    for github, gitlab in (
        (".github/ISSUE_TEMPLATE/bug.md", ".gitlab/issue_templates/Bug.md"),
        (".github/ISSUE_TEMPLATE/feature.md", ".gitlab/issue_templates/Proposal.md"),
        (".github/PULL_REQUEST_TEMPLATE.md", ".gitlab/merge_request_templates/Default.md"),
    ):
        text = (ROOT / gitlab).read_text()
        # GitHub has a header before it.
        assert (ROOT / github).read_text().rpartition("---\n")[2].strip() == text.strip() != ""


def test_container_file_runs_as_a_user_of_its_own_with_pinned_libraries() -> None:
    text = (ROOT / "packaging" / "container" / "Containerfile").read_text()
    stages = text.split("\nFROM ")
    assert len(stages) == 3
    assert "--require-hashes" in stages[1]
    assert re.search(r"^USER 10030:10030$", stages[2], re.MULTILINE)
    assert all(word in stages[2] for word in ("VOLUME /data", "HEALTHCHECK", "COPY --from=build"))
    for name in re.findall(r"requirements/\w+\.txt", text):
        assert (ROOT / name).is_file()
    compose = msgspec.yaml.decode((ROOT / "packaging" / "container" / "compose.yaml").read_bytes())
    service = compose["services"]["onhook"]
    assert (ROOT / "packaging/container" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    # Only where PBXs send events is open to other machines.
    assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == ["30012:30012"]
    assert service["read_only"] is True


def test_descriptions_name_the_vendor_of_each_dialect() -> None:
    assert VENDORS.keys() == dialects().keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = {
        "README.md": (ROOT / "README.md").read_text().partition("```")[0],
        "packaging/debian/control": (ROOT / "packaging" / "debian" / "control").read_text(),
        "pyproject.toml": project["description"],
    }
    missing = [(name, vendor) for name, text in texts.items() for vendor in VENDORS.values() if vendor not in text]
    assert missing == []


def test_nginx_configuration_sets_nothing_for_other_sites() -> None:
    """Its file is included at the level of http, beside those of other sites."""
    depth, directives = 0, set()
    for line in (ROOT / "packaging" / "nginx" / "onhook.conf").read_text().splitlines():
        code = line.partition("#")[0].strip()
        if code and not depth and code != "}":
            directives.add(code.split()[0])
        depth += code.count("{") - code.count("}")
    assert directives == {"map", "server"}
