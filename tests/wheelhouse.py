"""Wheels of the packages that are installed here, made again from their files: to install them takes no network."""

import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from tools.bill_of_materials import parse_lock

LOCK = Path(__file__).parents[1] / "requirements" / "run.txt"
LEFT_OUT = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
"""Files of the metadata that an installer writes."""


def write_wheels(directory: Path) -> None:
    """Write a wheel of each installed package that the lock file pins."""
    directory.mkdir()
    for package in parse_lock(LOCK.read_text()):
        try:
            installed = distribution(package.name)
        except PackageNotFoundError:
            assert package.marker, f"{package.name} is pinned, and not installed"
            continue
        _write_wheel(installed, directory)


def _write_wheel(installed: Distribution, directory: Path) -> None:
    files = [path for path in installed.files or [] if ".." not in path.parts and "__pycache__" not in path.parts]
    (metadata,) = {path.parts[0] for path in files if path.name == "WHEEL" and path.parts[0].endswith(".dist-info")}
    stem = metadata.removesuffix(".dist-info")
    with zipfile.ZipFile(directory / f"{stem}-{_read_tag(installed)}.whl", "w") as archive:
        names = [path.as_posix() for path in files if path.parts[0] != metadata or path.name not in LEFT_OUT]
        for name in names:
            archive.write(str(installed.locate_file(name)), name)
        record = f"{metadata}/RECORD"
        archive.writestr(record, "".join(f"{name},,\n" for name in [*names, record]))


def _read_tag(installed: Distribution) -> str:
    """Return the compressed tag, such as `cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64`."""
    lines = (installed.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    return "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
