"""The post-deploy check of one bot: what runs, what speaks against it, and its log since the switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from plugin_utils.gate.log_check import log_check


@dataclass(frozen=True)
class Verified:
    """`problem` says what to do; `evidence` is one line for people."""

    passed: bool
    problem: str = ""
    evidence: str = ""


def verified(bot: str, found: Mapping[str, Any], unit: str, log: str, per_hour: float) -> Verified:
    """Whether a bot is as it was rolled out, with no more failed calls than are accepted.

    :param found: what `bot_info` returned.
    :param unit: the unit that has to run it.
    :param log: the path of its log, for the message.
    :param per_hour: accepted failed calls an hour.
    """
    if found.get("stopped"):
        return _left_stopped(bot, found)
    problems = [*_process(found["facts"], unit), *found["problems"]]
    if found["soak_problem"]:
        problems.append(f"{found['soak_problem']}. Correct that and run playbooks/verify.yml again")
    evidence = ""
    if found["since"] is not None:
        check = log_check(found["since"], found["soak"], per_hour)
        evidence = check.evidence
        if not check.passed:
            problems.append(
                f"{evidence}. At most {check.allowed} are accepted. Roll it back with ansible-playbook "
                f"playbooks/rollback.yml --limit {bot}, or look into {log}"
            )
    return Verified(not problems, ". Also: ".join(problems), evidence)


def _left_stopped(bot: str, found: Mapping[str, Any]) -> Verified:
    """A bot that is patched and was not to be started (`bot_start`)."""
    problems = list(found["problems"])
    pids = [str(process["pid"]) for process in found["facts"]["processes"]]
    if pids:
        problems.append(
            f"{bot} was left stopped and runs now (pid {', '.join(pids)}), not under its unit; run rollout.yml again"
        )
    return Verified(not problems, ". Also: ".join(problems), f"{bot} is left stopped (bot_start)")


def _process(facts: Mapping[str, Any], unit: str) -> Iterator[str]:
    by = [process["supervisor"] for process in facts["processes"]]
    now = facts["unit"]
    if by != [unit] or (now["active"], now["file_state"]) != ("active", "enabled"):
        yield (
            f"expected one copy, under {unit}, active and enabled. Found {', '.join(by) or 'none running'}; the unit "
            f"is {now['active']} and {now['file_state'] or '?'}. See `journalctl -u {unit}`, then run rollout.yml again"
        )
