"""The dashboard and the rules: they ask for what the agent tells, in words that PromQL has."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from isotherm.agent.config import Settings
from isotherm.agent.exposition import Told, agent_families, families, scheme_families
from isotherm.agent.groups import WatchedGroups
from isotherm.agent.metrics import MetricsSink
from isotherm.agent.openmetrics import END, text_of
from isotherm.agent.sums import GroupSum
from isotherm.model.page_use import PageUse, UseRow
from isotherm.model.scheme_state import SchemeState
from isotherm.model.snapshot import Columns, Snapshot

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "agent/dashboard.json").read_text())
RULES = yaml.safe_load((DOCS / "agent/rules.yaml").read_text())["groups"]
S = 1_000_000_000
WINDOWS = (*Settings().windows_ns, 7 * 3600 * S)
#: What Prometheus adds to each sample.
ADDED = {"instance", "job"}
_SELECTOR = re.compile(r"([a-z_][a-z_0-9]*:[a-z_0-9:]+|isotherm_[a-z_0-9]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"([^\"]*)\"")


def told():
    """What the exposition prints of one group of which all is known: values of labels by name."""
    sizes = tuple(range(1, len(WINDOWS) + 1))
    use_row = UseRow(0, "", "anon", None, 100, 0, 0, sizes, sizes, sizes, sizes, sizes)
    use = PageUse(5 * S, WINDOWS[-1] + S, WINDOWS, (use_row,))
    group = GroupSum(use_row, 1, 0, {"anon": 1}, {"file": 1}, "/a")
    settings = Settings()
    sink = MetricsSink(settings, WatchedGroups(()))
    sink.take(Snapshot(0, 0, 1, 1, 1, (), Columns(), page_use=use))
    text = text_of(
        [
            *families(Told({(("unit", "a"),): group}, use, settings.windows_ns)),
            *scheme_families([SchemeState("stat", "stat")], dry_run=True),
            *agent_families(1, 1, reload_failed=False, ring=(1, False)),
        ]
    )
    found = {}
    for part in (text + END, sink.text()):
        for family in text_string_to_metric_families(part.decode()):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    labels.setdefault(name, set()).add(value)
    return found


def recorded():
    return {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}


def rule_expressions():
    return [rule["expr"] for group in RULES for rule in group["rules"]]


def panel_expressions():
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = {"$window": "5m", "$top": "10", "$__rate_interval": "5m", "$instance": ".*"}
    for name, value in variables.items():
        found = [text.replace(name, value) for text in found]
    return found


@pytest.mark.parametrize("expression", [*rule_expressions(), *panel_expressions()])
def test_what_is_asked_for_is_told(expression):
    metrics = told()
    selectors = list(_SELECTOR.finditer(expression))
    assert selectors
    for name, matchers in (found.groups() for found in selectors):
        if ":" in name:
            assert name in recorded()
            continue
        assert name in metrics
        for label, value in _MATCHER.findall(matchers or ""):
            assert label in {*metrics[name], *ADDED}
            assert label in ADDED or value in metrics[name][label]


def test_variables_of_the_dashboard_are_of_metrics():
    metrics = told()
    queries = [
        one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"
    ]
    assert queries
    for query in queries:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert label in {*metrics[name], *ADDED}


def test_panels_are_beside_each_other():
    places, ids = set(), set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        here = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not here & places
        assert max(x for x, _ in here) < 24
        places |= here
        ids.add(panel["id"])
    assert len(ids) == len(DASHBOARD["panels"])


def promtool(*words):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    done = subprocess.run(
        ["promtool", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_prometheus_reads_rules_and_panels(tmp_path):
    panels = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(panel_expressions())
    ]
    asked = tmp_path / "panels.yaml"
    asked.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}))
    promtool("check", "rules", DOCS / "agent/rules.yaml", asked)


def test_rules_fire_when_they_should(tmp_path):
    """A machine whose ring fails for half an hour, and a group with 300 of 1,000 bytes cold."""
    bucket, machine = "isotherm_idle_age_seconds_bucket", 'instance="m"'
    series = {
        f"isotherm_ring_failed{{{machine}}}": "1x60",
        f"isotherm_config_last_reload_successful{{{machine}}}": "1x60",
        f'{bucket}{{{machine}, unit="a", le="3600.0"}}': "700x60",
        f'{bucket}{{{machine}, unit="a", le="+Inf"}}': "1000x60",
    }
    alerts = {("IsothermRingNotWritten", "10m"): [], ("IsothermConfigurationWrong", "30m"): []}
    (rule,) = [one for one in RULES[1]["rules"] if one["alert"] == "IsothermRingNotWritten"]
    summary = rule["annotations"]["summary"].replace("{{ $labels.instance }}", "m")
    alerts["IsothermRingNotWritten", "30m"] = [
        {
            "exp_labels": {"instance": "m", "severity": "warning"},
            "exp_annotations": {**rule["annotations"], "summary": summary},
        }
    ]
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values.replace("x", "+0x")}
            for name, values in series.items()
        ],
        "alert_rule_test": [
            {"alertname": name, "eval_time": time, "exp_alerts": expected}
            for (name, time), expected in alerts.items()
        ],
        "promql_expr_test": [
            {
                "expr": "isotherm:cold_bytes:1h",
                "eval_time": "30m",
                "exp_samples": [
                    {"labels": f'isotherm:cold_bytes:1h{{{machine}, unit="a"}}', "value": 300}
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    rules = str(DOCS / "agent/rules.yaml")
    path.write_text(yaml.safe_dump({"rule_files": [rules], "tests": [test]}))
    promtool("test", "rules", path)
