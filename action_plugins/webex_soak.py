"""Action: watch a bot's log and say what it proves; documented in library/webex_soak.py."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils import soak as soaks  # noqa: E402
from plugin_utils.verdict import EXTEND, Evidence, Settings, Verdict, earliest, judge, summary, to_record  # noqa: E402

display = Display()

# The other bots are read once a minute, and whenever the outcome hangs on them; the canary at every look.
CONTROL_SECONDS = 60
# A log that cannot be read three times in a row will not mend itself while we wait.
MAX_PROBLEMS = 3

ARGUMENTS: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "log": {"type": "path", "required": True},
    "before": {"type": "dict"},
    "state": {"type": "raw"},
    "controls": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"bot": {"type": "str", "required": True}, "log": {"type": "path", "required": True}},
    },
    "soak_min": {"type": "float", "required": True},
    "soak_max": {"type": "float", "required": True},
    "min_requests": {"type": "int", "required": True},
    "timeouts_per_hour": {"type": "float", "required": True},
    "alpha": {"type": "float", "default": 0.01},
    "beta": {"type": "float", "default": 0.05},
    "wait": {"type": "float", "default": 0.0},
    "poll": {"type": "float", "default": 10.0},
    "decision": {"type": "str", "default": ""},
    "decided_by": {"type": "str", "default": ""},
    "decided_why": {"type": "str", "default": ""},
    "signatures": {"type": "list", "elements": "dict", "default": []},
    "timezone": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """Reads the logs by the module bot_log_info on the VM, judges on the controller, waits in between."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look until there is a verdict or the time to wait is over."""
        result = super().run(tmp, task_vars)
        _, self._given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        self._vars = task_vars or {}
        given = self._given
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": f"{given['bot']}: a soak takes time, and check mode has none"}
        try:
            self._check(given)
            settings = Settings(
                **{
                    name: given[name]
                    for name in ("soak_min", "soak_max", "min_requests", "timeouts_per_hour", "alpha", "beta")
                }
            )
            decision = soaks.decided(given["decision"], given["decided_by"], given["decided_why"])
            soak = soaks.resume(given["state"], given["bot"], given["release"])
            resumed = soak is not None
            soak = soak or soaks.begin(given["bot"], given["release"], given["log"], given["before"] or {})
        except soaks.SoakError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, "changed": False, "resumed": resumed, **self._watch(soak, settings, decision)}

    @staticmethod
    def _check(given: Mapping[str, Any]) -> None:
        bot = given["bot"]
        if not 0 <= given["soak_min"] <= given["soak_max"]:
            raise soaks.SoakError(
                f"{bot}: the shortest soak ({given['soak_min']:g} s) is longer than the longest one "
                f"({given['soak_max']:g} s): rollout_soak_min, rollout_soak_max"
            )
        if (
            given["timeouts_per_hour"] < 0
            or not 0 < given["alpha"] < 1
            or not 0 < given["beta"] <= 1
            or given["poll"] <= 0
        ):
            raise soaks.SoakError(f"{bot}: budget, alpha, beta and poll must be positive, alpha and beta below 1")

    def _watch(self, soak: soaks.Soak, settings: Settings, decision: Any) -> dict[str, Any]:
        given = self._given
        begun = time.monotonic()
        ends = begun + given["wait"]
        terminal = on_terminal()
        shown: list[float] = []
        problems, last_counts, controls_read = 0, None, -float("inf")
        while True:
            self._look(soak, soak.own)
            problems = problems + 1 if soak.own.problem else 0
            if time.monotonic() - controls_read >= CONTROL_SECONDS:
                self._look_at_controls(soak)
                controls_read = time.monotonic()
            evidence = soaks.evidence(soak, settings, decision)
            verdict = judge(evidence)
            if verdict.outcome != EXTEND and controls_read < time.monotonic() - 1:
                self._look_at_controls(soak)
                controls_read = time.monotonic()
                evidence = soaks.evidence(soak, settings, decision)
                verdict = judge(evidence)
            eta = earliest(evidence) if verdict.outcome == EXTEND else None
            counts = (verdict.outcome, evidence.counted, evidence.hearing, evidence.problem)
            if given["wait"] and soaks.worth_showing(shown, evidence.elapsed, terminal, counts != last_counts):
                display.display(soaks.progress(evidence, verdict, eta))
                shown.append(evidence.elapsed)
            last_counts = counts
            left = ends - time.monotonic()
            if verdict.outcome != EXTEND or left <= 0 or problems >= MAX_PROBLEMS:
                return self._answer(soak, evidence, verdict, eta)
            time.sleep(min(given["poll"], left))

    def _answer(self, soak: soaks.Soak, evidence: Evidence, verdict: Verdict, eta: float | None) -> dict[str, Any]:
        soak.record = to_record(evidence, verdict)
        until = None if eta is None else soak.clock["epoch"] + eta - soak.elapsed
        line = summary(evidence, verdict)
        return {
            "outcome": verdict.outcome,
            "reasons": list(verdict.reasons),
            "missing": list(verdict.missing),
            "summary": line,
            "msg": f"{soak.bot}: {verdict.outcome}. {'; '.join([*verdict.reasons, line, *soaks.notes(soak)])}"
            + (f". Missing: {', '.join(verdict.missing)}" if verdict.missing else ""),
            "problem": soak.own.problem,
            "notes": soaks.notes(soak),
            "until": until,
            "record": soak.record,
            "history": soak.own.history,
            "since": soak.own.since,
            "state": soak.to_dict(),
        }

    # --- looking ---------------------------------------------------------------------------------------------------

    def _log_info(self, path: str, **arguments: Any) -> dict[str, Any]:
        arguments = {"path": path, "buckets": True, "signatures": self._given["signatures"], **arguments}
        if self._given["timezone"]:
            arguments["timezone"] = self._given["timezone"]
        return self._execute_module(module_name="bot_log_info", module_args=arguments, task_vars=self._vars)

    def _look(self, soak: soaks.Soak, watch: soaks.Watched) -> None:
        """Read what was written to a log since the last look; what goes wrong becomes the watch's problem."""
        try:
            seen = self._log_info(watch.log, cursor=watch.cursor)
        except AnsibleConnectionFailure as error:
            watch.problem = f"the VM could not be reached: {error}"
            return
        if "now" in seen:
            soak.passed(seen["now"])
        if seen.get("failed"):
            watch.problem = str(seen.get("msg", "bot_log_info failed"))
            return
        watch.problem = ""
        watch.cursor = seen.pop("cursor")
        watch.since = {key: value for key, value in seen.items() if key not in ("invocation", "ansible_facts")}

    def _look_at_controls(self, soak: soaks.Soak) -> None:
        wanted = {control["bot"]: control["log"] for control in self._given["controls"]}
        for bot in set(soak.controls) - set(wanted):  # has got the release by now
            del soak.controls[bot]
        for bot, log in wanted.items():
            if bot in soak.controls:
                self._look(soak, soak.controls[bot])
                continue
            before = self._log_info(log, history=True)
            if not before.get("failed"):
                soak.passed(before["now"])
                soak.controls[bot] = soaks.watched(log, before, soak.elapsed)


def on_terminal() -> bool:
    """Whether the run is watched in a terminal. Asked of the main process: a worker's own output is none since 2.19."""
    try:
        return str(Path(f"/proc/{os.getppid()}/fd/1").readlink()).startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
