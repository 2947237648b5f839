"""A release that does not work: the canary is rolled back, the five are not touched, the run reports it."""

from __future__ import annotations

from typing import Any

from tests.integration.conftest import processes
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import CHECKOUT, VM_CHECKOUT
from tests.lab.playbooks import run_playbook
from tests.lab.webex.driver import Pattern
from tests.lab.webex.faults import Fault


def test_a_canary_that_dies_at_start_is_rolled_back(lab: Lab) -> None:
    """The log's directory turns read-only for the unit alone: the nohup process has its log open already."""
    before = processes(lab)
    lab.machine.execute(["sh", "-c", "mkdir -p /etc/systemd/system/webex-bot@jarvis.service.d"])
    lab.machine.execute(
        ["sh", "-c", "cat > /etc/systemd/system/webex-bot@jarvis.service.d/90-broken.conf"],
        stdin=f"[Service]\nReadOnlyPaths={VM_CHECKOUT}/logs\n",
    )
    run = run_playbook(lab, extra=QUICK)
    after = processes(lab)
    assert run.rc != 0
    assert "jarvis: " in run.output
    assert "Rollback: back at release 0" in run.output
    assert {bot: after[bot] for bot in before if bot != "jarvis"} == {
        bot: before[bot] for bot in before if bot != "jarvis"
    }
    (jarvis,) = after["jarvis"]
    assert jarvis.unit == ""
    script = lab.machine.root / f"{VM_CHECKOUT}/webex_bots/jarvis.py".lstrip("/")
    assert script.read_bytes() == (CHECKOUT / "webex_bots/jarvis.py").read_bytes()
    assert lab.webex.wait_connected(("jarvis",), timeout=30)


def test_a_canary_whose_calls_fail_is_rolled_back(lab: Lab) -> None:
    """The release starts well, then the server answers jarvis with errors: the log shows it."""
    # The five do well meanwhile, so that it is nobody's fault but the release's.
    lab.network.forget_idle_after(3600)
    lab.webex.start(Pattern(burst=1, gap=2.0))

    def break_after_the_start(event: dict[str, Any]) -> bool:
        if event["event"] == "runner_on_ok" and event["event_data"]["task"].endswith(
            "Check the bot's start and confirm its release"
        ):
            lab.webex.add_fault(Fault(bot="jarvis", kind="disconnect", method="GET", path="^/v1/messages/"))
        return True

    run = run_playbook(
        lab, extra={**QUICK, "rollout_soak_min": 600, "rollout_wait": 400}, on_event=break_after_the_start
    )
    lab.webex.clear_faults()
    after = processes(lab)
    assert run.rc != 0
    assert "this release is worse than what ran before" in run.output
    assert [process.unit for bot in after for process in after[bot]] == [""] * 6
