"""The bill of materials has what the lock file pins, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from tools import bill_of_materials

ROOT = Path(__file__).parents[1]
EPOCH = 1_795_000_000

TOOLS = {"dev.txt", "docs.txt"}
"""Lock files of what Onhook is developed with."""


def _render() -> dict[str, Any]:
    bill: dict[str, Any] = json.loads(bill_of_materials.render(ROOT, "9.8.7", EPOCH))
    return bill


def test_bill_of_materials_has_the_packages_and_hashes_of_the_lock_file() -> None:
    locks = {path.name: path.read_text() for path in (ROOT / "requirements").glob("*.txt") if path.name not in TOOLS}
    assert locks.keys() == bill_of_materials.LOCKS.keys()
    lock = locks.pop("run.txt")
    extras_lock = "\n".join(locks.values())
    bill = _render()
    packages = {part["name"]: part for part in bill["components"] if part["purl"].startswith("pkg:pypi/")}
    pin = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
    versions, extra_versions = dict(pin.findall(lock)), dict(pin.findall(extras_lock))
    assert {name: part["version"] for name, part in packages.items()} == extra_versions | versions
    required = [part for part in packages.values() if part["scope"] == "required"]
    assert [part["name"] for part in required] == list(versions)
    assert {name for name, part in packages.items() if part["scope"] == "optional"} == extra_versions.keys() - versions
    hashes = [entry["content"] for part in required for entry in part["externalReferences"][0]["hashes"]]
    assert hashes == re.findall(r"sha256:([0-9a-f]{64})", lock)
    assert packages["colorama"]["properties"] == [{"name": "onhook:marker", "value": "sys_platform == 'win32'"}]


def test_bill_of_materials_has_libraries_of_pages_and_none_of_tests() -> None:
    (library,) = (part for part in _render()["components"] if part["purl"].startswith("pkg:npm/"))
    assert (library["name"], library["licenses"]) == ("echarts", [{"license": {"id": "Apache-2.0"}}])
    assert library["hashes"][0]["content"] in (ROOT / "docs" / "vendored.md").read_text()


def test_bill_of_materials_dependencies_lead_from_onhook_to_every_component() -> None:
    bill = _render()
    own_reference = bill["metadata"]["component"]["bom-ref"]
    needs = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    reached, waiting = set[str](), [own_reference]
    while waiting:
        reference = waiting.pop()
        waiting += [other for other in needs.get(reference, []) if other not in reached]
        reached.add(reference)
    assert reached == {own_reference, *(part["bom-ref"] for part in bill["components"])}
    (aiormq,) = (reference for reference in needs if reference.startswith("pkg:pypi/aiormq@"))
    assert [reference.partition("@")[0] for reference in needs[aiormq]] == ["pkg:pypi/pamqp", "pkg:pypi/yarl"]
    direct = {reference.partition("/")[2].partition("@")[0] for reference in needs[own_reference]}
    texts = [(ROOT / "requirements" / name).read_text() for name in ("run.in", "brokers.in", "cluster.in", "pdf.in")]
    requirements = re.findall(r"^(\w[\w-]+)", "\n".join(texts), re.MULTILINE)
    assert direct == {*requirements, "echarts"}


def test_bill_of_materials_depends_on_version_and_time_alone() -> None:
    bill = bill_of_materials.render(ROOT, "9.8.7", EPOCH)
    assert bill == bill_of_materials.render(ROOT, "9.8.7", EPOCH)
    assert bill != bill_of_materials.render(ROOT, "9.8.8", EPOCH)
    assert json.loads(bill)["metadata"]["timestamp"] == "2026-11-18T11:06:40Z"
