"""What became of a bot: the rows of `make outages`, and what its acts share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_USER
from tests.lab.playbooks import run_playbook

# Long soaks: whatever is to happen does so meanwhile.
SOAK = {**QUICK, "rollout_soak_min": 3600, "rollout_soak_max": 7200, "rollout_wait": 0}
HEADER = "what happened | bot | told | release | copies | devices | seconds down | as it must be"

# A start may register one, in whichever release; starting a bot again and again may not.
MOST_DEVICES = 5


@dataclass
class Row:
    """What became of one bot."""

    what: str
    bot: str
    wanted: str
    """`old` or `new`: which release has to run."""
    told: list[str] = field(default_factory=list)
    release: str = ""
    copies: int = 0
    devices: int = 0
    """Registered with Webex, of which an account may have a limited number."""
    down: float = 0.0
    most_down: float = float("inf")
    needs: Sequence[str] = ()
    """Events that have to be told."""
    never: Sequence[str] = ()
    found: Sequence[str] = ()
    """What else is not as it must be."""

    @property
    def problems(self) -> list[str]:
        kinds = [event.partition(":")[0] for event in self.told]
        found = [*self.found, *(f"{kind} was not told" for kind in self.needs if kind not in kinds)]
        found += [f"{kind} was told" for kind in self.never if kind in kinds]
        if self.copies != 1:
            found.append(f"{self.copies} copies run")
        if self.devices > MOST_DEVICES:
            found.append(f"{self.devices} devices are registered")
        if self.wanted != self.release:
            found.append(f"the {self.release} release runs")
        if self.down > self.most_down:
            found.append(f"down for longer than {self.most_down:.0f} s")
        return found

    def shown(self) -> str:
        told = "; ".join(dict.fromkeys(self.told)) or "nothing"
        verdict = "good" if not self.problems else "BAD: " + ", ".join(self.problems)
        numbers = f"{self.copies} | {self.devices} | {self.down:.1f}"
        return f"{self.what} | {self.bot} | {told} | {self.release} | {numbers} | {verdict}"


def told(lab: Lab, since: float) -> list[tuple[str, str]]:
    """Events of the VM's journal since a moment (epoch): the bot, and kind with text."""
    lines = lab.machine.execute(
        ["journalctl", "-t", "webex-rollout", "-o", "json", "--since", f"@{since:.0f}"], check=False
    ).stdout.splitlines()
    found = []
    for line in lines:
        with suppress(ValueError):
            event = json.loads(line)
            if event.get("WEBEX_EVENT"):
                text = str(event.get("MESSAGE"))[:160]
                found.append((str(event.get("WEBEX_BOT", "")), f"{event['WEBEX_EVENT']}: {text}"))
    return found


def phase(lab: Lab, bot: str) -> str:
    """Where a bot's rollout stands."""
    text = lab.machine.execute(["cat", f"/var/lib/webex-rollout/{bot}/state.json"], check=False).stdout
    return str(json.loads(text)["content"]["phase"]) if text else "none"


def look(lab: Lab, row: Row, since: float) -> Row:
    """Fill in what became of a bot."""
    page = lab.webex.books()
    row.told = [event for bot, event in told(lab, since) if bot in (row.bot, "")]
    row.release = "new" if phase(lab, row.bot) == "confirmed" else "old"
    row.copies = len(processes(lab)[row.bot])
    row.devices = page.bots[row.bot].devices
    row.down = page.bots[row.bot].down_time(since, page.now)
    return row


def rollout(lab: Lab, *bots: str, **more: Any) -> None:
    """Have these bots soak."""
    done = run_playbook(lab, limit=",".join(bots) if bots else None, extra={**SOAK, **more})
    if done.rc != 0:
        raise LabError(f"the rollout ended with {done.rc}: {done.output[-3000:]}")


def as_user(lab: Lab, script: str) -> None:
    lab.machine.execute(["runuser", "-u", VM_USER, "--", "sh", "-c", script])


def is_back(lab: Lab, bot: str) -> bool:
    """Whether the VM has rolled a bot back."""
    return phase(lab, bot) == "rolled_back"


def with_canaries(lab: Lab, *bots: str) -> None:
    """Have these be the canaries, and the others the fleet."""
    groups = {"canary": bots, "fleet": tuple(bot for bot in BOTS if bot not in bots)}
    children = {group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}
    (lab.directory / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"bots": {"children": children}}))
