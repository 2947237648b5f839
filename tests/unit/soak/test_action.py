"""The controller's side: what it asks the VM for, how long it waits, what people read."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from module_utils.webex_rollout.evidence import EXTEND, PROMOTE, ROLL_BACK, Evidence, History
from module_utils.webex_rollout.record import to_record
from module_utils.webex_rollout.soak import Soak, Watched
from module_utils.webex_rollout.verdict import judge

PROJECT = Path(__file__).resolve().parents[3]
NOW = {"epoch": 1e9, "since_boot": 100.0, "boot": "a:0"}
GIVEN = {
    "bot": "jarvis",
    "release": "r1",
    "log": "/home/vinay/pub/IR/logs/jarvis.log",
    "soak_min": 60,
    "soak_max": 120,
    "min_requests": 1,
    "timeouts_per_hour": 1,
}


def _load(kind: str) -> Any:
    specification = importlib.util.spec_from_file_location(f"{kind}_webex_soak", PROJECT / kind / "webex_soak.py")
    assert specification
    assert specification.loader
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


action, module = _load("action_plugins"), _load("library")


SEEN = Evidence("jarvis", 60.0, requests=10)


def soak(verdict: str = EXTEND, **more: Any) -> Soak:
    """What the VM keeps: it has judged."""
    own = Watched("/jarvis.log", {}, {}, since={"incidents": 0, "pool": {}})
    record = to_record(SEEN, replace(judge(SEEN), verdict=verdict))
    soak = Soak("jarvis", "r1", NOW, NOW, 60.0, own, record=record, verdict=verdict)
    return replace(soak, **more)


class Run:
    """One task, with a VM that answers every question with the same soak."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kept: Soak | None) -> None:
        self.kept, self.asked, self.unstable = kept, [], ""
        self.check_mode = False
        self.monkeypatch = monkeypatch

    def __call__(self, **given: Any) -> dict[str, Any]:
        plugin = action.ActionModule.__new__(action.ActionModule)
        arguments = {name: value for name, value in {**GIVEN, **given}.items() if value is not None}
        plugin._task = type("Task", (), {"args": arguments, "check_mode": self.check_mode, "async_val": 0})()
        self.monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
        plugin._execute_module = self._answer
        return plugin.run(None, {})

    def _answer(self, module_name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(module_args)
        content = None if self.kept is None else asdict(action.Soak.load(asdict(self.kept)))
        answer: dict[str, Any] = {"soak": content, "gate_state": EXTEND}
        return {**answer, "resumed": True, "changed": False, "unstable": self.unstable}

    @property
    def states(self) -> list[str]:
        return [each["state"] for each in self.asked]


def test_the_vm_looks_and_judges_with_the_settings_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak())
    result = run(settings_hash="x", watch=500, act=False)
    assert run.states == ["looked"]
    assert run.asked[0]["settings_hash"] == "x"
    assert {name: run.asked[0][name] for name in ("soak_min", "soak_max", "min_requests", "watch", "act")} == {
        "soak_min": 60,
        "soak_max": 120,
        "min_requests": 1,
        "watch": 500,
        "act": False,
    }
    assert (result["verdict"], result["changed"]) == (EXTEND, False)
    assert result["record"] == soak().record


def test_what_the_vm_came_to_is_shown_and_never_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a controller and a VM of two versions could be at odds."""
    assert judge(SEEN).verdict == EXTEND
    assert Run(monkeypatch, soak(ROLL_BACK))()["verdict"] == ROLL_BACK


def test_a_run_looks_on_until_the_vm_has_come_to_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak())
    monkeypatch.setattr(action.time, "sleep", lambda _: setattr(run, "kept", soak(ROLL_BACK)))
    assert run(wait=3600)["verdict"] == ROLL_BACK
    assert run.states == ["looked", "looked"]


def test_a_vm_that_keeps_no_record_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail, match="its VM looked and kept no record"):
        Run(monkeypatch, soak(record=None))()


def test_a_promoted_release_costs_one_question_however_long_the_run_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak(verdict=PROMOTE))
    assert run(wait=3600)["verdict"] == PROMOTE
    assert run.states == ["looked"]


def test_what_a_human_decides_is_asked_once_with_who_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak())
    monkeypatch.setattr(action.time, "sleep", lambda _: setattr(run, "kept", soak(ROLL_BACK)))
    run(decision="pause", why="holidays", wait=3600)
    assert (run.asked[0]["decision"], run.asked[0]["why"]) == ("pause", "holidays")
    assert run.asked[0]["who"]
    assert not {"decision", "why", "who"} & {*run.asked[1]}


def test_a_soak_is_read_in_check_mode_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak())
    run.check_mode = True
    assert run(state="read")["soak"]["elapsed"] == 60
    assert run()["skipped"] is True
    assert run.states == ["read"]


def test_a_release_that_is_not_stable_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, soak())
    run.unstable = "release r1 is not what it runs any more (release 0, rolled_back: worse)"
    with pytest.raises(AnsibleActionFail, match="jarvis is not stable: release r1 is not what it runs any more"):
        run()
    assert run.states == ["looked"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"soak_min": 200}, r"the shortest soak \(200 s\) is longer than the longest one \(120 s\)"),
        ({"alpha": 0}, "rollout_alpha and rollout_beta are probabilities"),
        ({"timeouts_per_hour": -1}, "rollout_timeouts_per_hour must not be negative"),
        ({"soak_max": None}, "all of the following are missing: soak_max"),
        ({"decision": "hold"}, "promote, rollback, pause, auto"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    run = Run(monkeypatch, soak())
    with pytest.raises(AnsibleActionFail, match=message):
        run(**given)
    assert run.states == []


def test_the_message_is_sentences() -> None:
    evidence = Evidence(
        "jarvis",
        24 * 3600.0,
        requests=2314,
        heard=True,
        idle=5.0,
        history=History(96, 120.0, tuple((i, 1) for i in range(96))),
    )
    said = action.message(evidence, judge(evidence), ["The VM was restarted 1 time"], None)
    assert said.startswith("jarvis: promote (reason: the likelihood ratio against a rise is ")
    assert "(20 needed)). 0 incidents in 2314 requests over 24 h; at the old rate" in said
    assert said.endswith(". The VM was restarted 1 time")


def test_the_message_names_what_is_missing_and_the_earliest_time() -> None:
    evidence = Evidence("jarvis", 60.0, requests=10)
    said = action.message(evidence, judge(evidence), [], 1e9)
    assert said.startswith("jarvis: extend. 0 incidents in 10 requests over 60 s")
    assert ". Missing: a sign of the pool module since the restart" in said
    assert ". Promote at 2001-09-0" in said


def test_the_action_takes_what_the_module_documents() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    accepted = module.SPECIFICATION["argument_spec"]
    assert set(documented) == set(accepted)
    assert set(accepted) - set(action.OPTIONS) == {"who"}
    for name, spec in accepted.items():
        assert documented[name]["type"] == spec["type"]
        assert documented[name].get("default") == spec.get("default")
        assert documented[name].get("choices") == spec.get("choices")
    assert set(documented["state"]["choices"]) - set(action.OPTIONS["state"]["choices"]) == {"looked"}
    for name in ("controls", "signatures"):
        assert set(documented[name]["suboptions"]) == set(action.OPTIONS[name]["options"])
