"""Whether the fleet may follow its canaries, and what to show where it may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from module_utils.webex_rollout.evidence import EXTEND, HOLD, ROLL_BACK

NONE, OTHER, PAUSED = "none", "other", "paused"


@dataclass(frozen=True)
class Answer:
    """Both empty where the fleet may follow. A refusal ends the run with an error, waiting ends it well."""

    refusal: str = ""
    waiting: str = ""


def may_follow(canaries: Sequence[Mapping[str, Any]], fleet: Sequence[str], gate: str) -> Answer:
    """The fleet follows when every canary's verdict is to promote and the gate acts on verdicts.

    :param canaries: what `webex_soak` with ``state: read`` returned for each, with the canary's name as ``item``.
    :param fleet: the bots that want to follow.
    :param gate: the setting `rollout_gate`, ``act`` or ``observe``.
    """
    names = ", ".join(fleet)
    if not canaries:
        return Answer(
            f"{names}: this inventory has no canary, so there is no evidence for this release. Nothing was changed. "
            "Put one bot into the group `canary`, or set rollout_skip_canary to continue without."
        )
    never = [*_without_evidence(canaries)]
    if never:
        limit = ",".join(each["item"] for each in canaries if each["gate_state"] in (NONE, OTHER))
        return Answer(
            f"{names}: {'; '.join(never)}, so there is no evidence for this release. Nothing was changed. Roll the "
            f"canary out first (ansible-playbook rollout.yml --limit {limit}), or set rollout_skip_canary to "
            "continue without."
        )
    refused = [each["item"] for each in canaries if each["gate_state"] in (HOLD, ROLL_BACK)]
    if refused and gate == "act":
        return Answer(
            f"{names}: the verdict on {', '.join(refused)} does not let the fleet follow. Nothing was changed. Run "
            f"rollout.yml --limit {','.join(refused)} to see why; decide with -e rollout_verdict=promote or "
            "-e rollout_verdict=rollback."
        )
    waiting = [*_paused(canaries), *_soaking(canaries)]
    if gate == "observe":
        waiting.append("The gate only observes (rollout_gate).")
    return Answer(waiting=f"{' '.join(waiting)} The fleet waits." if waiting else "")


def _without_evidence(canaries: Sequence[Mapping[str, Any]]) -> list[str]:
    none = [each["item"] for each in canaries if each["gate_state"] == NONE]
    other = [each["item"] for each in canaries if each["gate_state"] == OTHER]
    found = []
    if none:
        found.append(f"{', '.join(none)} has not been rolled out, or was rolled back since")
    if other:
        found.append(f"{', '.join(other)} has soaked with other settings, templates or another pool module")
    return found


def _paused(canaries: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for each in canaries:
        if each["gate_state"] == PAUSED:
            by = each["soak"]["decision"]
            found.append(
                f"{each['item']} is paused by {by['who']} since {by['when']} ({by['why'] or 'no reason given'}); "
                "-e rollout_verdict=auto lets the evidence decide again."
            )
    return found


def _soaking(canaries: Sequence[Mapping[str, Any]]) -> list[str]:
    soaking = [each["item"] for each in canaries if each["gate_state"] == EXTEND]
    if not soaking:
        return []
    return [
        f"{', '.join(soaking)} still soaks; the verdict above shows what is missing. Run the same command again later; "
        "rollout_wait lets a run wait for it."
    ]
