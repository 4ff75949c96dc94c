"""Versions of installed packages, and the line about them, without Python's reader of their metadata: it costs more
than everything else that `onhook version` does.
"""

import importlib
import sys
from pathlib import Path

from onhook.lib.messages import _


def describe_versions() -> str:
    """Return the line of `onhook version`."""
    return _(
        "onhook {version} (Python {python_version}, DuckDB {duckdb_version})",
        version=installed_version("onhook"),
        python_version=sys.version.split()[0],
        duckdb_version=installed_version("duckdb"),
    )


def installed_version(name: str) -> str:
    """Return the version of an installed package, by the name of its directory of metadata. Raises
    `importlib.metadata.PackageNotFoundError`.
    """
    for directory in filter(None, sys.path):
        for path in Path(directory).glob(f"{name}-*.dist-info"):
            return path.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    # Installed in another way, as in an archive.
    return str(importlib.import_module("importlib.metadata").version(name))
