"""Rules of Prometheus and the dashboard of Grafana, in packaging/monitoring, name only what `/metrics` has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from onhook.receiver.verdict import RESPONSES_BY_VERDICT
from tests.console.conftest import ConsoleHarness
from tests.factories import details

MONITORING = Path(__file__).parents[2] / "packaging" / "monitoring"
RULES = MONITORING / "onhook.rules.yaml"
LABELS = {"destination", "outcome", "pbx", "kind", "result", "status", "le", "instance", "job"}
"""Of the metrics, and those that Prometheus adds."""


def _expressions() -> Iterator[str]:
    """Yield each expression of rules and panels."""
    yield from re.findall(r"^ +expr: (.+)$", RULES.read_text(), re.MULTILINE)
    for panel in json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


async def test_monitoring_names_only_metrics_that_exist(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details()])
    text = await (await client.get("/metrics")).text()
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    names = set(families)
    for name, kind in families.items():
        names |= {f"{name}_{suffix}" for suffix in ("bucket", "sum", "count")} if kind == "histogram" else set()
    expressions = list(_expressions())
    assert len(expressions) >= 20
    used_names = {name for expression in expressions for name in re.findall(r"\bonhook_\w+", expression)}
    assert used_names - names == set()
    # And what there is of importance is used.
    assert {"onhook_store_lag", "onhook_alarms", "onhook_destination_pending"} <= used_names


def test_monitoring_names_only_labels_and_results_that_exist() -> None:
    for expression in _expressions():
        by_labels = re.findall(r"\b(?:by|on) \(([\w, ]+)\)", expression)
        matched_labels = re.findall(r"(\w+)=~?\"", expression)
        assert {word for words in by_labels for word in words.split(", ")} | set(matched_labels) <= LABELS
        for results in re.findall(r"result=~?\"([\w|]+)\"", expression):
            assert set(results.split("|")) <= set(RESPONSES_BY_VERDICT)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="takes promtool")
def test_monitoring_rules_are_valid() -> None:
    result = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
