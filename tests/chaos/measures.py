"""Down time of a switch against the report's manual procedure; a rehearsal of forward, back and forward."""

from __future__ import annotations

import time
from pathlib import Path

from tests.chaos.scenario import TRAFFIC, Conditions, failure, pristine
from tests.integration.conftest import digest, processes
from tests.integration.test_hardening import STRICT_AT_MOST, exposure
from tests.lab.lab import Lab
from tests.lab.paths import VM_CHECKOUT
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for

BOT = "jarvis"
SETTINGS = Conditions().settings
RELEASE = (
    f"{VM_CHECKOUT}/webex_bots/{BOT}.py",
    f"{VM_CHECKOUT}/src/utils/webex_pool_config.py",
    "/etc/systemd/system/webex-bot@.service",
    f"/etc/systemd/system/webex-bot@{BOT}.service.d/10-bot.conf",
    "/etc/systemd/system/webex-bots.target",
    "/etc/security/limits.d/60-webex-bots.conf",
)
"""What a release of the bot consists of."""


def _gap(lab: Lab, since: float) -> tuple[float, float]:
    """Seconds the bot had no websocket since then, and how many its present process took to its websocket."""
    lab.webex.wait_connected((BOT,), timeout=60)
    wait_for(lambda: len(processes(lab)[BOT]) == 1, "one process", timeout=30)
    (process,) = processes(lab)[BOT]
    page = lab.webex.books()
    opened = max(session.opened_at for session in page.bots[BOT].sessions if session.open)
    booted = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    started = booted + process.start / 100
    return page.bots[BOT].down_time(since, page.now), opened - started


def switch_against_manual() -> bool:
    """Print both; whether the switch takes at most the bot's own start and a second."""
    with pristine("down time") as lab:
        since = lab.webex.books().now
        lab.machine.execute(["pkill", "-f", f"python.*{BOT}.py"])
        time.sleep(2)  # the report's procedure, which does not look whether the old process is gone
        lab.start_bots((BOT,))
        manual, _ = _gap(lab, since)
        since = lab.webex.books().now
        run = run_playbook(lab, limit=BOT, extra=SETTINGS)
        ours, start = _gap(lab, since)
    kept = run.rc == 0 and ours <= start + 1
    print(
        f"\nDown time of {BOT} in an undisturbed switch: {ours:.2f} s, of which its own start takes {start:.2f} s; by "
        f"pkill, sleep 2, nohup in the same run {manual:.2f} s: ratio {ours / manual:.2f}. "
        f"At most its own start + 1 s: {'holds' if kept else 'DOES NOT HOLD'}"
    )
    return kept


def exposures() -> bool:
    """Print systemd's own figure for each profile; whether `strict` is as good as promised."""
    found = {}
    with pristine("exposures", (BOT,)) as lab:
        for profile in ("off", "standard", "strict"):
            run = run_playbook(lab, limit=BOT, extra={**SETTINGS, "bot_hardening": profile})
            if run.rc != 0:
                print(f"Confinement: the rollout with `{profile}` ended with {run.rc}: {failure(run)}")
                return False
            found[profile] = exposure(lab)
    kept = found["strict"] <= STRICT_AT_MOST and found["strict"] < found["standard"] < found["off"]
    shown = ", ".join(f"{profile} {figure}" for profile, figure in found.items())
    print(
        f"Confinement, `systemd-analyze security` (0 best, 10 worst): {shown}. strict at most {STRICT_AT_MOST}: "
        f"{'holds' if kept else 'DOES NOT HOLD'}"
    )
    return kept


def _release(lab: Lab) -> dict[str, str]:
    root = lab.machine.root
    found = {path: root / path.lstrip("/") for path in RELEASE}
    return {path: digest(file) if file.exists() else "absent" for path, file in found.items()}


def rehearsal() -> bool:
    """Forward, back, forward on the canary; whether each state comes back byte for byte."""
    steps = (("forward", "rollout.yml"), ("back", "playbooks/rollback.yml"), ("forward again", "rollout.yml"))
    with pristine("rehearsal") as lab:
        states, seconds, good = [_release(lab)], [], True
        for _, playbook in steps:
            begun = time.monotonic()
            run = run_playbook(lab, playbook, limit=BOT, extra={**SETTINGS, "rollout_to": "0"})
            seconds.append(time.monotonic() - begun)
            good &= run.rc == 0
            states.append(_release(lab))
    good &= states[0] == states[2] and states[1] == states[3] and states[0] != states[1]
    shown = ", ".join(f"{name} {took:.0f} s" for (name, _), took in zip(steps, seconds, strict=True))
    print(
        f"Rehearsal on {BOT}: {shown} (soak of {SETTINGS['rollout_soak_min']} s included); {len(RELEASE)} files byte "
        f"for byte with owner and mode, message every {TRAFFIC.gap:.0f} s: {'holds' if good else 'DOES NOT HOLD'}"
    )
    return good
