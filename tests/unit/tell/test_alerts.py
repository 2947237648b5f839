"""Alert rules and dashboard against the metrics as the watch writes them, by Prometheus's own promtool where it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.webex_rollout.metrics import BotMetrics, VmMetrics, render

from tests.unit.tell.test_metrics import parsed

ROOT = Path(__file__).resolve().parents[3]
ALERTS = ROOT / "monitoring/alerts.yml"
DASHBOARD = json.loads((ROOT / "monitoring/dashboard.json").read_text())
RULES = {rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool; `make alerts` installs it")

VM = VmMetrics("0.3.0", 0.0, 1.25, 0, 0, 0, 0, False)
BOT = BotMetrics(
    *("jarvis", "3f2a", "confirmed", True, "promote", "0", 600.5, 590.0, 400),
    *({"time-out": 0}, 0, 8, {"edited": 0, "copies": 0}, "good", 0.0, 0.0),
)
# Each alert's sickness, as how a bot or VM differs from a healthy one; a list grows by its step each minute.
SICK: dict[str, dict[str, Any]] = {
    "WebexBotsNotWatched": {"last_look": -100000.0},
    "WebexBotDown": {"up": False},
    "WebexBotRestarts": {"restarts": [1]},
    "WebexBotFailsRequests": {"failures": [1], "requests": [4]},
    "WebexBotRolledBack": {"phase": "rolled_back"},
    "WebexRolloutOpen": {"phase": "armed"},
    "WebexCanaryHeld": {"verdict": "hold"},
    "WebexBotDrift": {"drift": {"edited": 1, "copies": 0}},
    "WebexUnreachable": {"weather": "bad"},
    "WebexMessagesDropped": {"notify_dropped": [1]},
}
SILENT_IN_BAD_WEATHER = {"WebexBotDown", "WebexBotFailsRequests", "WebexRolloutOpen"}
COUNTERS = {
    "restarts": "webex_rollout_restarts_total",
    "failures": "webex_rollout_request_failures_total",
    "requests": "webex_rollout_requests_total",
    "notify_dropped": "webex_rollout_notify_dropped_total",
}


def series(sick: dict[str, Any]) -> list[dict[str, str]]:
    """What Prometheus would have scraped over two hours, from what the watch writes."""
    still = {name: value for name, value in sick.items() if not isinstance(value, list)}
    of_vm = {name: value for name, value in still.items() if hasattr(VM, name)}
    text = render(
        [replace(BOT, **{name: value for name, value in still.items() if name not in of_vm})], replace(VM, **of_vm)
    )
    steps = {COUNTERS[name]: value[0] for name, value in sick.items() if isinstance(value, list)}
    found = []
    for (name, labels), value in parsed(text).items():
        # The watch looks all the while: its moment is a minute's ago, not that of the first scrape.
        step = 60 if name.endswith("timestamp_seconds") and value == 0 else steps.get(name, 0)
        shown = ",".join(f'{label}="{text}"' for label, text in (("instance", "vm1"), *labels))
        found.append({"series": f"{name}{{{shown}}}", "values": f"{value:.0f}+{step}x120"})
    return found


def firing(tmp_path: Path, sick: dict[str, Any]) -> set[str]:
    """The alerts that fire after two hours: promtool only compares, so it is told that none does."""
    checks = [{"eval_time": "2h", "alertname": alert, "exp_alerts": []} for alert in RULES]
    test = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series(sick), "alert_rule_test": checks}],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    fired = set(re.findall(r"alertname:\s*(\w+), time", done.stdout + done.stderr))
    assert bool(fired) == (done.returncode != 0), done.stdout + done.stderr
    return fired


def test_every_alert_has_a_sickness_here_and_says_what_to_do() -> None:
    assert set(SICK) == set(RULES)
    for name, rule in RULES.items():
        assert set(rule["annotations"]) == {"summary", "description"}, name
        assert rule["labels"]["severity"] in ("critical", "warning"), name


@promtool
def test_healthy_bots_are_silent(tmp_path: Path) -> None:
    assert firing(tmp_path, {"requests": [4]}) == set()


@promtool
@pytest.mark.parametrize("alert", sorted(SICK))
def test_a_sickness_is_one_alert(tmp_path: Path, alert: str) -> None:
    assert firing(tmp_path, SICK[alert]) == {alert}


@promtool
@pytest.mark.parametrize("alert", sorted(SILENT_IN_BAD_WEATHER))
def test_an_outage_is_no_bots_fault(tmp_path: Path, alert: str) -> None:
    assert firing(tmp_path, {**SICK[alert], "weather": "bad"}) == {"WebexUnreachable"}


# -- the dashboard ------------------------------------------------------------------------------------------------


def expressions() -> list[str]:
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*targets, *(each["expr"] for each in DASHBOARD["annotations"]["list"])]


def test_rules_and_dashboard_ask_for_metrics_and_labels_that_there_are() -> None:
    known = {name for name, _labels in parsed(render([BOT], VM))}
    labels = {label for _name, labels in parsed(render([BOT], VM)) for label, _value in labels} | {"instance"}
    for text in (*expressions(), *(rule["expr"] for rule in RULES.values())):
        assert set(re.findall(r"webex_rollout_\w+", text)) <= known, text
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=(?!=))\s*\"", text)) <= labels, text


def test_no_panel_lies_upon_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        for place in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert place not in taken, (panel["title"], taken.get(place))
            assert place[0] < 24
            taken[place] = panel["title"]


@promtool
def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"x:{n}", "expr": re.sub(r"\$\w+", ".*", text)} for n, text in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
