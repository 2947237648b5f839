"""Action: watch a bot's log and say what it proves; documented in library/webex_soak.py."""

from __future__ import annotations

import getpass
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils import soak as soaks  # noqa: E402
from plugin_utils.verdict import EXTEND, PROMOTE, Evidence, Settings, Verdict, earliest, judge, summary, to_record  # noqa: E402

display = Display()

# A log that cannot be read three times in a row will not mend itself while we wait.
MAX_PROBLEMS = 3

ARGUMENTS: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "log": {"type": "path", "required": True},
    "before": {"type": "dict"},
    "controls": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"bot": {"type": "str", "required": True}, "log": {"type": "path", "required": True}},
    },
    "recipe": {"type": "str", "default": ""},
    "soak_min": {"type": "float", "required": True},
    "soak_max": {"type": "float", "required": True},
    "min_requests": {"type": "int", "required": True},
    "timeouts_per_hour": {"type": "float", "required": True},
    "alpha": {"type": "float", "default": 0.01},
    "beta": {"type": "float", "default": 0.05},
    "wait": {"type": "float", "default": 0.0},
    "poll": {"type": "float", "default": 10.0},
    "decision": {"type": "str", "default": "", "choices": ["", "promote", "rollback", "hold", "auto"]},
    "why": {"type": "str", "default": ""},
    "signatures": {"type": "list", "elements": "dict", "default": []},
    "timezone": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """Has the logs read by the module bot_soak on the VM, judges on the controller, waits in between."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look until there is a verdict or the time to wait is over."""
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        self._given, self._vars = given, task_vars or {}
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": f"{given['bot']}: a soak takes time, and check mode has none"}
        settings = _settings(given)
        kept = self._ask(state="read")
        if not given["decision"] and self._is_promoted(kept):
            # It stays so: what happens weeks later is the business of verify, and of a rollback, not of this gate.
            soak = kept["soak"]
            evidence = soaks.evidence(soak, settings)
            return {**result, "changed": False, **self._answer(soak, evidence, judge(evidence), None, PROMOTE)}
        return {**result, "changed": False, **self._watch(settings)}

    def _is_promoted(self, kept: Mapping[str, Any]) -> bool:
        soak = kept["soak"]
        return bool(soak) and soak["release"] == self._given["release"] and soak["outcome"] == PROMOTE

    def _watch(self, settings: Settings) -> dict[str, Any]:
        given = self._given
        ends = time.monotonic() + given["wait"]
        terminal = on_terminal()
        shown: list[float] = []
        problems, last = 0, None
        decided = {"decision": given["decision"], "why": given["why"], "who": f"{getpass.getuser()}@{platform.node()}"}
        while True:
            soak = self._look(**decided)
            decided = {}
            problems = problems + 1 if soak["own"]["problem"] else 0
            evidence = soaks.evidence(soak, settings)
            verdict = judge(evidence)
            eta = earliest(evidence) if verdict.outcome == EXTEND else None
            counts = (verdict.outcome, evidence.counted, evidence.hearing, evidence.problem)
            if given["wait"] and soaks.worth_showing(shown, evidence.elapsed, terminal, counts != last):
                display.display(soaks.progress(evidence, verdict, eta))
                shown.append(evidence.elapsed)
            last = counts
            left = ends - time.monotonic()
            if verdict.outcome != EXTEND or left <= 0 or problems >= MAX_PROBLEMS:
                self._ask(state="judged", release=given["release"], record=to_record(evidence, verdict))
                return self._answer(soak, evidence, verdict, eta, verdict.outcome)
            time.sleep(min(given["poll"], left))

    def _answer(
        self, soak: Mapping[str, Any], evidence: Evidence, verdict: Verdict, eta: float | None, outcome: str
    ) -> dict[str, Any]:
        line, notes = summary(evidence, verdict), soaks.notes(soak)
        until = None if eta is None else soak["clock"]["epoch"] + eta - soak["elapsed"]
        said = f"{soak['bot']}: {outcome}. {'; '.join([*verdict.reasons, line, *notes])}"
        if outcome != PROMOTE and verdict.missing:
            said += f". Missing: {', '.join(verdict.missing)}"
        if until is not None:
            said += f". Promote at {soaks.at(until)} at the earliest"
        return {
            "outcome": outcome,
            "reasons": list(verdict.reasons),
            "missing": list(verdict.missing),
            "summary": line,
            "msg": said,
            "problem": soak["own"]["problem"],
            "decided": soak["decision"] is not None,
            "notes": notes,
            "until": until,
            "record": to_record(evidence, verdict),
            "history": soak["own"]["history"],
            "since": {**soak["own"]["since"], "now": soak["clock"]},
            "series": soak["series"],
        }

    def _look(self, **decided: str) -> dict[str, Any]:
        given = self._given
        names = ("release", "log", "before", "controls", "recipe", "signatures", "timezone")
        options = {name: given[name] for name in names}
        answer = self._ask(state="looked", until=given["soak_max"], **options, **decided)
        if answer["unsteady"]:
            raise AnsibleActionFail(f"{given['bot']} does not hold up: {answer['unsteady']}")
        return answer["soak"]

    def _ask(self, **arguments: Any) -> dict[str, Any]:
        """Run the module on the VM; what it says when it fails is what we say."""
        arguments = {"bot": self._given["bot"], **{key: value for key, value in arguments.items() if value is not None}}
        answer = self._execute_module(module_name="bot_soak", module_args=arguments, task_vars=self._vars)
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg") or "bot_soak failed and gave no reason"))
        return answer


def _settings(given: Mapping[str, Any]) -> Settings:
    bot = given["bot"]
    if not 0 <= given["soak_min"] <= given["soak_max"]:
        raise AnsibleActionFail(
            f"{bot}: the shortest soak ({given['soak_min']:g} s) is longer than the longest one "
            f"({given['soak_max']:g} s): rollout_soak_min, rollout_soak_max. Nothing was judged"
        )
    alpha, beta = given["alpha"], given["beta"]
    if given["timeouts_per_hour"] < 0 or not 0 < alpha < 1 or not 0 < beta <= 1 or given["poll"] <= 0:
        raise AnsibleActionFail(
            f"{bot}: rollout_timeouts_per_hour must not be negative, rollout_alpha and rollout_beta are probabilities "
            "above 0. Nothing was judged"
        )
    names = ("soak_min", "soak_max", "min_requests", "timeouts_per_hour", "alpha", "beta")
    return Settings(**{name: given[name] for name in names})


def on_terminal() -> bool:
    """Whether the run is watched in a terminal. Asked of the main process: a worker's own output is none since 2.19."""
    try:
        return str(Path(f"/proc/{os.getppid()}/fd/1").readlink()).startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
