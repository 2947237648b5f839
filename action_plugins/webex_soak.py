# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of the soak, which library/webex_soak.py documents: has the VM look, shows, and waits."""

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

from module_utils.webex_rollout.evidence import EXTEND, PROMOTE, Evidence
from module_utils.webex_rollout.questions.soak import GATE
from module_utils.webex_rollout.record import evidence_of, verdict_of
from module_utils.webex_rollout.soak import Soak
from module_utils.webex_rollout.verdict import Verdict, earliest, summary
from module_utils.webex_soak_options import BEGUN, OPTIONS, SPECIFICATION
from plugin_utils.asking import ask
from plugin_utils.gate.progress import notes, progress, worth_showing
from plugin_utils.words import at, printable

display = Display()

REQUIRED_IF = [
    ("state", "watched", ("release", "log", "soak_min", "soak_max", "min_requests", "timeouts_per_hour")),
]


class ActionModule(ActionBase):
    """Has the VM look, which judges and acts; shows what it comes to, and waits in between."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read a soak, or look until there is a verdict or the time to wait is over."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=OPTIONS, required_if=REQUIRED_IF)
        self._given, self._vars = given, task_vars or {}
        if given["state"] == "read":
            return {**result, **self._ask(state="read", settings_hash=given["settings_hash"])}
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": f"{given['bot']}: a soak takes time, and check mode has none"}
        must_make_sense(given)
        return {**result, "changed": False, **self._watch()}

    def _watch(self) -> dict[str, Any]:
        given = self._given
        ends = time.monotonic() + given["wait"]
        terminal = on_terminal()
        shown: list[float] = []
        last = None
        decided = {"decision": given["decision"], "why": given["why"], "who": f"{getpass.getuser()}@{platform.node()}"}
        while True:
            soak, record = self._look(**decided)
            decided = {}
            evidence, verdict = evidence_of(record), verdict_of(record)
            eta = earliest(evidence) if verdict.verdict == EXTEND else None
            counts = (verdict.verdict, evidence.counted, evidence.heard, evidence.silence)
            if given["wait"] and worth_showing(shown, evidence.elapsed, terminal, counts != last):
                display.display(printable(progress(evidence, verdict, eta)))
                shown.append(evidence.elapsed)
            last = counts
            left = ends - time.monotonic()
            if verdict.verdict != EXTEND or left <= 0:
                return self._answer(soak, record, eta)
            time.sleep(min(given["poll"], left))

    def _answer(self, soak: Soak, record: dict[str, Any], eta: float | None) -> dict[str, Any]:
        evidence, verdict = evidence_of(record), verdict_of(record)
        noted = notes(soak)
        until = None if eta is None else soak.clock["epoch"] + eta - soak.elapsed
        return {
            "verdict": verdict.verdict,
            "reasons": list(verdict.reasons),
            "missing": list(verdict.missing),
            "summary": summary(evidence, verdict),
            "msg": message(evidence, verdict, noted, until),
            "problem": soak.work.problem,
            "decided": soak.decision is not None,
            "notes": noted,
            "until": until,
            "record": record,
            "history": soak.own.history,
            "since": {**soak.own.since, "now": soak.clock},
            "series": soak.series,
        }

    def _look(self, **decided: str) -> tuple[Soak, dict[str, Any]]:
        given = self._given
        options = {name: given[name] for name in ("release", *BEGUN)}
        answer = self._ask(state="looked", **options, **decided)
        if answer["unstable"]:
            raise AnsibleActionFail(printable(f"{given['bot']} is not stable: {answer['unstable']}"))
        soak = Soak.load(answer["soak"])
        if soak.record is None:
            raise AnsibleActionFail(f"{given['bot']}: its VM looked and kept no record; run the same command again")
        return soak, soak.record

    def _ask(self, **arguments: Any) -> dict[str, Any]:
        """Run the module on the VM; its error is ours."""
        arguments = {"bot": self._given["bot"], **{key: value for key, value in arguments.items() if value is not None}}
        answer = ask(self, "webex_soak", arguments, self._vars, SPECIFICATION)
        if answer.get("failed"):
            raise AnsibleActionFail(printable(str(answer.get("msg") or "webex_soak failed and gave no reason")))
        return answer


def message(evidence: Evidence, verdict: Verdict, noted: list[str], until: float | None) -> str:
    """A verdict for people: what, why, on which evidence, and what is missing.

    :param until: when a promotion is possible at the earliest, in seconds since the epoch.
    """
    why = ""
    if verdict.reasons:
        why = f" ({'reason' if len(verdict.reasons) == 1 else 'reasons'}: {'; '.join(verdict.reasons)})"
    line = summary(evidence, verdict)
    sentences = [f"{evidence.bot}: {verdict.verdict}{why}", line[0].upper() + line[1:], *noted]
    if verdict.verdict != PROMOTE and verdict.missing:
        sentences.append(f"Missing: {', '.join(verdict.missing)}")
    if until is not None:
        sentences.append(f"Promote at {at(until)} at the earliest")
    return ". ".join(sentences)


def must_make_sense(given: Mapping[str, Any]) -> None:
    """Refuse settings of the gate that contradict each other.

    :raises AnsibleActionFail: naming them.
    """
    bot = given["bot"]
    if any(given[name] is None for name in GATE):
        return
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


def on_terminal() -> bool:
    """Whether the run is watched in a terminal. Asked of the main process: a worker's own output is none since 2.19."""
    try:
        return str(Path(f"/proc/{os.getppid()}/fd/1").readlink()).startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
