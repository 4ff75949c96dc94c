"""The end of a test run prints nothing that is not about the tests."""

import subprocess
import sys

import pytest

from tests.code_base import ROOT

TESTS = (
    "tests/cli/test_formats.py::test_fit_columns_wide_ones_are_cut_first",
    "tests/console/test_search.py::test_search_country_of_number_is_that_of_zone",
)
"""A property test, and one that uses the store."""


@pytest.mark.slow
def test_exit_output_has_no_leaks_of_a_library() -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *TESTS]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout
    assert result.stderr == ""
    assert "leaked" not in result.stdout
