# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the soak, which library/webex_soak.py documents: has the VM look, judges, and waits."""

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

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_rollout.evidence import EXTEND, PROMOTE, Evidence, GateSettings
from module_utils.webex_rollout.record import to_record
from module_utils.webex_rollout.soak import Soak
from module_utils.webex_rollout.verdict import Verdict, earliest, judge, summary
from module_utils.webex_soak_options import OPTIONS
from plugin_utils.gate.progress import notes, progress, worth_showing
from plugin_utils.words import at, printable

display = Display()

# A log that cannot be read three times in a row will not mend itself while we wait.
MAX_PROBLEMS = 3
SETTINGS = ("soak_min", "soak_max", "min_requests", "timeouts_per_hour", "alpha", "beta")
LOOK_OPTIONS = ("release", "log", "before", "controls", "settings_hash", "soak_max", "signatures", "timezone")

REQUIRED_IF = [
    ("state", "watched", ("release", "log", "soak_min", "soak_max", "min_requests", "timeouts_per_hour")),
    ("state", "begun", ("release", "log", "soak_max")),
]


class ActionModule(ActionBase):
    """Has the logs read by the module on the VM, judges on the controller, waits in between."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read or begin a soak, or look until there is a verdict or the time to wait is over."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=OPTIONS, required_if=REQUIRED_IF)
        self._given, self._vars = given, task_vars or {}
        if given["state"] == "read":
            return {**result, **self._ask(state="read", settings_hash=given["settings_hash"])}
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": f"{given['bot']}: a soak takes time, and check mode has none"}
        if given["state"] == "begun":
            return {**result, **self._ask(state="begun", **{name: given[name] for name in LOOK_OPTIONS})}
        return {**result, "changed": False, **self._watched(settings_of(given))}

    def _watched(self, settings: GateSettings) -> dict[str, Any]:
        """A release that was promoted stays so: what happens weeks later is the business of verify, and of a rollback,
        not of this gate."""
        kept = self._ask(state="read")["soak"]
        soak = None if kept is None or self._given["decision"] else Soak.load(kept)
        if soak is None or (soak.release, soak.verdict) != (self._given["release"], PROMOTE):
            return self._watch(settings)
        # Without a look: weeks later nothing may fail here.
        if self._given["settings_hash"] not in ("", soak.settings_hash):
            names = ("release", "settings_hash")
            self._ask(state="judged", **{name: self._given[name] for name in names})
        evidence = soak.evidence(settings)
        return self._answer(soak, evidence, judge(evidence), None, PROMOTE)

    def _watch(self, settings: GateSettings) -> dict[str, Any]:
        given = self._given
        ends = time.monotonic() + given["wait"]
        terminal = on_terminal()
        shown: list[float] = []
        problems, last = 0, None
        decided = {"decision": given["decision"], "why": given["why"], "who": f"{getpass.getuser()}@{platform.node()}"}
        while True:
            soak = self._look(**decided)
            decided = {}
            problems = problems + 1 if soak.own.problem else 0
            evidence = soak.evidence(settings)
            verdict = judge(evidence)
            eta = earliest(evidence) if verdict.verdict == EXTEND else None
            counts = (verdict.verdict, evidence.counted, evidence.ready_line, evidence.problem)
            if given["wait"] and worth_showing(shown, evidence.elapsed, terminal, counts != last):
                display.display(printable(progress(evidence, verdict, eta)))
                shown.append(evidence.elapsed)
            last = counts
            left = ends - time.monotonic()
            if verdict.verdict != EXTEND or left <= 0 or problems >= MAX_PROBLEMS:
                names = ("release", "settings_hash")
                kept = {name: given[name] for name in names}
                self._ask(state="judged", **kept, record=to_record(evidence, verdict))
                return self._answer(soak, evidence, verdict, eta, verdict.verdict)
            time.sleep(min(given["poll"], left))

    def _answer(self, soak: Soak, evidence: Evidence, verdict: Verdict, eta: float | None, word: str) -> dict[str, Any]:
        noted = notes(soak)
        until = None if eta is None else soak.clock["epoch"] + eta - soak.elapsed
        return {
            "verdict": word,
            "reasons": list(verdict.reasons),
            "missing": list(verdict.missing),
            "summary": summary(evidence, verdict),
            "msg": message(evidence, verdict, word, noted, until),
            "problem": soak.own.problem,
            "decided": soak.decision is not None,
            "notes": noted,
            "until": until,
            "record": to_record(evidence, verdict),
            "history": soak.own.history,
            "since": {**soak.own.since, "now": soak.clock},
            "series": soak.series,
        }

    def _look(self, **decided: str) -> Soak:
        given = self._given
        answer = self._ask(state="looked", **{name: given[name] for name in LOOK_OPTIONS}, **decided)
        if answer["unstable"]:
            raise AnsibleActionFail(printable(f"{given['bot']} is not stable: {answer['unstable']}"))
        return Soak.load(answer["soak"])

    def _ask(self, **arguments: Any) -> dict[str, Any]:
        """Run the module on the VM; its error is ours."""
        arguments = {"bot": self._given["bot"], **{key: value for key, value in arguments.items() if value is not None}}
        answer: dict[str, Any] = self._execute_module(
            module_name="webex_soak", module_args=arguments, task_vars=self._vars
        )
        if answer.get("failed"):
            raise AnsibleActionFail(printable(str(answer.get("msg") or "webex_soak failed and gave no reason")))
        return answer


def message(evidence: Evidence, verdict: Verdict, word: str, noted: list[str], until: float | None) -> str:
    """A verdict for people: what, why, on which evidence, and what is missing.

    :param word: the verdict that holds; a release that was promoted stays so.
    :param until: when a promotion is possible at the earliest, in seconds since the epoch.
    """
    why = ""
    if verdict.reasons and word == verdict.verdict:
        why = f" ({'reason' if len(verdict.reasons) == 1 else 'reasons'}: {'; '.join(verdict.reasons)})"
    line = summary(evidence, verdict)
    sentences = [f"{evidence.bot}: {word}{why}", line[0].upper() + line[1:], *noted]
    if word != PROMOTE and verdict.missing:
        sentences.append(f"Missing: {', '.join(verdict.missing)}")
    if until is not None:
        sentences.append(f"Promote at {at(until)} at the earliest")
    return ". ".join(sentences)


def settings_of(given: Mapping[str, Any]) -> GateSettings:
    """The gate's settings.

    :raises AnsibleActionFail: when they contradict each other.
    """
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
    return GateSettings(**{name: given[name] for name in SETTINGS})


def on_terminal() -> bool:
    """Whether the run is watched in a terminal. Asked of the main process: a worker's own output is none since 2.19."""
    try:
        return str(Path(f"/proc/{os.getppid()}/fd/1").readlink()).startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
