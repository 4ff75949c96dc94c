"""Modules that are imported when they are first used."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from onhook.lib.deferred_module import DeferredModule


def test_deferred_module_is_imported_when_an_attribute_is_read() -> None:
    script = """
import sys
from onhook.lib.deferred_module import DeferredModule
colours = DeferredModule("colorsys")
assert "colorsys" not in sys.modules
assert colours.rgb_to_hls(0.0, 0.0, 0.0) == (0.0, 0.0, 0.0)
assert sys.modules["colorsys"].rgb_to_hls is colours.rgb_to_hls
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_deferred_module_is_read_by_several_threads() -> None:
    module = DeferredModule("onhook.lib.text")
    with ThreadPoolExecutor(8) as executor:
        texts = set(executor.map(lambda _number: module.UNKNOWN, range(50)))
    assert len(texts) == 1


def test_deferred_module_without_the_attribute_or_the_module_says_so() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = DeferredModule("onhook.lib.text").no_such_name
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = DeferredModule("onhook.no_such_module").name
