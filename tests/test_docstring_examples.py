"""The examples in docstrings."""

import doctest
import importlib
from typing import Final

import pytest

from tests.code_base import ROOT

SOURCES: Final = ROOT / "src"
MODULES: Final = sorted(
    ".".join(path.relative_to(SOURCES).with_suffix("").parts)
    for path in SOURCES.rglob("*.py")
    if ">>>" in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_what_they_say(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed  # what differs is on standard output
