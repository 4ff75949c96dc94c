"""The bill of materials of Onhook in CycloneDX's JSON: the pinned dependencies, and the libraries in the pages.

It is made from `requirements/run.txt` and the lock files of the extras (versions, hashes, and in their comments which
package needs which), and from the table of `docs/vendored.md`, so that it has exactly what is pinned. What only extras
bring has the scope `optional`. Its hashes are those of all files of a release, one of which is installed.
"""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

SPEC_VERSION: Final = "1.6"
NAMESPACE: Final = uuid.UUID("6c1f3a6e-6a7c-5d7e-9b59-0d4b7b0f2c11")
"""Of serial numbers: any fixed one."""

JsonObject = dict[str, object]

_PIN: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_HASH: Final = re.compile(r"--hash=sha256:(?P<hash>[0-9a-f]{64})")
_PARENT: Final = re.compile(r"#\s+(?:via\s+)?(?P<parent>-r \S+|[A-Za-z0-9._-]+)$")
_VENDORED_ROW: Final = re.compile(
    r"^\| `(?P<file>[^`]+)` \| [^|]* \| (?P<version>[^| ]+) \| `(?P<name>[^`]+)`[^|]*\| (?P<licence>[A-Za-z0-9.-]+)"
    r"[^|]*\| `(?P<hash>[0-9a-f]{64})` \|$",
    re.MULTILINE,
)


LOCKS: Final = {"run.txt": "required", "brokers.txt": "optional", "cluster.txt": "optional", "pdf.txt": "optional"}
"""Lock files, and the scope of what only they pin."""


class PinnedPackage(NamedTuple):
    """A package of a lock file: `marker` is the condition under which it is installed, or empty; `parents` are the
    packages that need it, where `-r …` is Onhook itself.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    parents: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Return its package URL, which is also its reference in the bill."""
        return f"pkg:pypi/{self.name}@{self.version}"


def parse_lock(text: str) -> list[PinnedPackage]:
    """Return the packages of a lock file that `make lock` has written."""
    return [_parse_block(block) for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE) if "==" in block]


def _parse_block(block: str) -> PinnedPackage:
    lines = block.splitlines()
    match = _PIN.match(lines[0])
    if match is None:
        message = f"{lines[0]!r} is no line of a lock file"
        raise ValueError(message)
    comments = [line.strip() for line in lines[1:] if line.strip().startswith("#")]
    return PinnedPackage(
        name=match["name"],
        version=match["version"],
        marker=match["marker"] or "",
        hashes=tuple(_HASH.findall(block)),
        parents=tuple(parent["parent"] for comment in comments if (parent := _PARENT.match(comment))),
    )


def render(root: Path, version: str, epoch: int) -> bytes:
    """Return the bill, which depends on nothing but the files under `root`, the version and the time."""
    locks = {name: (root / "requirements" / name).read_text("utf-8") for name in LOCKS}
    scopes: dict[str, str] = {}
    packages_by_name: dict[str, PinnedPackage] = {}
    for name, lock in locks.items():
        for package in parse_lock(lock):
            scopes.setdefault(package.name, LOCKS[name])
            known_package = packages_by_name.setdefault(package.name, package)
            parents = tuple(dict.fromkeys([*known_package.parents, *package.parents]))
            packages_by_name[package.name] = known_package._replace(parents=parents)
    packages = list(packages_by_name.values())
    vendored = list(_vendored_components((root / "docs" / "vendored.md").read_text("utf-8")))
    own_reference = f"pkg:pypi/onhook@{version}"
    direct = [package.purl for package in packages if any(name.startswith("-r ") for name in package.parents)]
    dependencies = [{"ref": own_reference, "dependsOn": sorted(direct + [str(part["bom-ref"]) for part in vendored])}]
    for package in packages:
        needed = sorted(other.purl for other in packages if package.name in other.parents)
        dependencies.append({"ref": package.purl, "dependsOn": needed})
    bill = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{version} {epoch} {locks}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": own_reference,
                "name": "onhook",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "purl": own_reference,
            },
        },
        "components": [*(_component(package, scopes[package.name]) for package in packages), *vendored],
        "dependencies": dependencies,
    }
    return json.dumps(bill, indent=1, ensure_ascii=False).encode() + b"\n"


def _component(package: PinnedPackage, scope: str) -> JsonObject:
    component: JsonObject = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "scope": scope,
        "purl": package.purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": package.purl,
                "hashes": [{"alg": "SHA-256", "content": content} for content in package.hashes],
            }
        ],
    }
    if package.marker:
        component["properties"] = [{"name": "onhook:marker", "value": package.marker}]
    return component


def _vendored_components(text: str) -> Iterator[JsonObject]:
    """Yield the libraries of the first table, which are in the package; those of the second are for tests alone."""
    for row in _VENDORED_ROW.finditer(text.partition("In `tests/vendor/`")[0]):
        purl = f"pkg:npm/{row['name']}@{row['version']}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": row["name"],
            "version": row["version"],
            "hashes": [{"alg": "SHA-256", "content": row["hash"]}],
            "licenses": [{"license": {"id": row["licence"]}}],
            "purl": purl,
        }
