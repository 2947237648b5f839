"""Runs the project's playbooks against a lab through ansible-runner, and keeps what happened."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner

from tests.lab.lab import Lab
from tests.lab.paths import PROJECT


@dataclass
class Run:
    """What one ansible-playbook run did: exit code, counters by host, every event, the text as a person saw it."""

    rc: int
    stats: dict[str, dict[str, int]]
    events: list[dict[str, Any]] = field(repr=False)
    output: str = field(repr=False)
    report: dict[str, Any] = field(repr=False)
    """report.json; empty where the run left none."""
    page: str = field(repr=False)
    """The page beside it."""

    def count(self, what: str, bot: str | None = None) -> int:
        """A counter of the recap (`changed`, `failures`, `ok`, …), for one bot or summed up."""
        counts = self.stats.get(what, {})
        return counts.get(bot, 0) if bot else sum(counts.values())

    def changed_tasks(self) -> list[str]:
        """Which tasks reported a change, as `bot: task`; for the message of a failing idempotence test."""
        return [
            f"{event['event_data']['host']}: {event['event_data']['task']}"
            for event in self.events
            if event["event"] == "runner_on_ok" and event["event_data"]["res"].get("changed")
        ]

    def failures(self) -> list[str]:
        """What each failed task said, in their order."""
        failed = (event["event_data"]["res"] for event in self.events if event["event"] == "runner_on_failed")
        return [str(result.get("msg", "no message")) for result in failed]

    def touched(self) -> set[str]:
        """Hosts on which any task ran."""
        return {event["event_data"]["host"] for event in self.events if event["event"] == "runner_on_ok"}

    def results(self, task: str) -> dict[str, dict[str, Any]]:
        """Result of a task by host, by the end of its name."""
        return {
            event["event_data"]["host"]: event["event_data"]["res"]
            for event in self.events
            if event["event"] in ("runner_on_ok", "runner_on_failed") and event["event_data"]["task"].endswith(task)
        }


def run_playbook(
    lab: Lab,
    playbook: str = "rollout.yml",
    *,
    limit: str | None = None,
    check: bool = False,
    extra: dict[str, Any] | None = None,
    on_event: Callable[[dict[str, Any]], bool] | None = None,
) -> Run:
    """Run a playbook against the lab; `extra` are extra variables, `on_event` sees events as they come."""
    arguments = ["--check", "--diff"] if check else []
    if extra:
        arguments += ["-e", f"'{json.dumps(extra)}'"]
    environment = {
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_DEPRECATION_WARNINGS": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    events: list[dict[str, Any]] = []
    report, page = {}, ""

    def remember(event: dict[str, Any]) -> bool:
        events.append(event)
        return on_event(event) if on_event else True

    # A throw-away directory: ansible-runner writes extra variables and command lines into it, and would use them again.
    with tempfile.TemporaryDirectory(prefix="wbr-runner-") as private:
        environment["ROLLOUT_REPORT_DIRECTORY"] = f"{private}/reports"
        runner = ansible_runner.run(
            private_data_dir=private,
            project_dir=str(PROJECT),
            playbook=playbook,
            inventory=lab.inventory,
            limit=limit,
            cmdline=" ".join(arguments) or None,
            envvars=environment,
            event_handler=remember,
            quiet=True,
            suppress_env_files=True,
        )
        with runner.stdout as stream:
            output = stream.read()
        for written in Path(private, "reports").glob("*/report.json"):
            report = json.loads(written.read_text(encoding="utf-8"))
            beside = written.with_name("index.html")
            page = beside.read_text(encoding="utf-8") if beside.exists() else ""  # killed between the two
    recap = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    return Run(runner.rc, recap[-1] if recap else {}, events, output, report, page)
