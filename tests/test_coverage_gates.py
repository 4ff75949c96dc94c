"""The gates of the branch coverage."""

from pathlib import Path

from coverage import Coverage

from tools.coverage_gates import Gate, list_missing, measure


def test_measure_counts_branches(tmp_path: Path) -> None:
    """Of three statements and two branches one statement and one branch are missing."""
    module = tmp_path / "measured_module.py"
    module.write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    coverage = Coverage(data_file=None, branch=True, include=[str(module)], config_file=False)
    with coverage.collect():
        namespace: dict[str, object] = {}
        exec(compile(module.read_text(), str(module), "exec"), namespace)  # noqa: S102 - a file of this test
        function = namespace["f"]
        assert callable(function)
        assert function(1) == 1
    assert round(measure(coverage, [str(module)])) == 67
    assert measure(coverage, []) == 0.0
    (row,) = (line.split() for line in list_missing(coverage, [str(module)]).splitlines() if str(module) in line)
    assert row[-1] == "4"


def test_gate_below_its_minimum_says_so() -> None:
    assert "BELOW" in str(Gate("onhook", 89.99, 90.0))
    assert "BELOW" not in str(Gate("onhook", 90.0, 90.0))
