"""With a recorder in the kernel: nothing with root's effective uid touches anything below the home of the bots' user.

The same runs show that everything works with a separate deploy account, no sudo for the bots' user, and a home that
nobody else may enter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.chaos.scenario import failure
from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import PROJECT, VM_HOME, VM_UID
from tests.lab.playbooks import Run, run_playbook
from tests.lab.recorder import Recording, Touch, recorded
from tests.lab.webex.driver import Pattern
from tests.security.lab.conftest import abandon, copies, wait_for_the_guard

STEPS = ("preflight", "check", "rollout", "watch", "verify", "rollback", "guard")


def recorder(lab: Lab) -> Recording:
    """Context: record what anybody but vinay does below his home."""
    return recorded(lab.machine.root / VM_HOME.lstrip("/"), but=VM_UID)  # type: ignore[return-value]


@dataclass(frozen=True)
class Step:
    """One step of the story: what was touched, and its run where it is one."""

    touches: list[Touch]
    run: Run | None = None


@pytest.fixture(scope="module")
def story(shared_lab: Lab) -> dict[str, Step]:
    """Jarvis is looked at, rolled out, verified, rolled back, rolled out and abandoned; everything recorded."""
    lab, steps = shared_lab, {}
    lab.webex.start(Pattern(burst=2, gap=3.0))

    def play(name: str, playbook: str = "rollout.yml", **more: object) -> None:
        with recorder(lab) as recording:
            run = run_playbook(lab, playbook, limit="jarvis", **more)  # type: ignore[arg-type]
        steps[name] = Step(recording.touches, run)

    play("preflight", "playbooks/preflight.yml")
    play("check", check=True, extra=QUICK)
    play("rollout", extra={**QUICK, "rollout_wait": 60})
    with recorder(lab) as recording:
        lab.machine.execute(["systemctl", "start", "webex-rollout-watch.service"])
        lab.machine.execute(["/usr/local/sbin/webex-rollout", "status"], check=False)
    steps["watch"] = Step(recording.touches)
    play("verify", "playbooks/verify.yml", extra=QUICK)
    play("rollback", "playbooks/rollback.yml", extra={"rollout_to": "0"})
    with recorder(lab) as recording:
        deadline = abandon(lab)
        assert [copy.in_its_unit for copy in copies(lab, "vinay")] == [True]
        wait_for_the_guard(lab, deadline)
    steps["guard"] = Step(recording.touches)
    lab.webex.stop()
    return steps


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("guard", "watch")])
def test_everything_works_with_a_deploy_account(story: dict[str, Step], step: str) -> None:
    run = story[step].run
    assert run is not None
    assert (run.rc, run.count("failures")) == (0, 0), failure(run)


@pytest.mark.parametrize("step", STEPS)
def test_root_touches_nothing_there(story: dict[str, Step], step: str) -> None:
    """Links that are read count, too: root takes no path from a place where the user lays them."""
    assert [str(touch) for touch in story[step].touches if touch.euid == 0] == []


@pytest.mark.parametrize("step", STEPS)
def test_nor_does_the_deploy_account(story: dict[str, Step], step: str) -> None:
    assert [str(touch) for touch in story[step].touches if touch.euid != 0] == []


COMMANDS = {
    "open": ("cat pub/IR/ruff.toml", "pub/IR/ruff.toml"),
    "a directory is opened": ("ls pub", "pub"),
    "create": ("touch x", "x"),
    "make directory": ("mkdir d", "d"),
    "rename": ("mv x y", "y"),
    "link": ("ln -s q z", "z"),
    "read link": ("readlink z", "z"),
    "change mode": ("chmod 700 d", "d"),
    "change owner": ("chown vinay d", "d"),
    "run": ("cp /bin/true pub/x && pub/x", "pub/x"),
    "remove": ("rm y z", "y"),
    "remove a directory": ("rmdir d", "d"),
}


def test_the_recorder_notices_root(shared_lab: Lab) -> None:
    """One command for each kind of touch, through sudo as the product comes in; relative, as after a chdir."""
    seen = {}
    for kind, (command, _) in COMMANDS.items():
        with recorder(shared_lab) as recording:
            shared_lab.shell("deploy", f"sudo sh -c 'cd {VM_HOME} && {command}'")
        seen[kind] = recording.touches
    unseen = [
        kind
        for kind, (_, path) in COMMANDS.items()
        if not any(touch.euid == 0 and any(name.endswith(path) for name in touch.paths) for touch in seen[kind])
    ]
    assert unseen == []
    assert [
        kind for kind in ("open", "rename", "remove", "read link", "run") if not any(t.call == kind for t in seen[kind])
    ] == []


def test_the_recorder_goes_by_the_effective_uid_of_the_moment(shared_lab: Lab) -> None:
    """A child that has become the user is not root, whatever it was before, and root again is."""
    text = f"""
import os
os.seteuid({VM_UID})
open("{VM_HOME}/as-vinay", "w").close()
os.seteuid(0)
os.unlink("{VM_HOME}/as-vinay")
os._exit(0)
"""
    with recorder(shared_lab) as recording:
        shared_lab.machine.execute(["python3", "-c", text])
    assert [(touch.euid, touch.call) for touch in recording.touches] == [(0, "remove")]


def test_logins_and_bots_are_no_touch(shared_lab: Lab) -> None:
    """Neither sshd nor systemd has to be left out: both have become the user before they look at his files."""
    with recorder(shared_lab) as recording:
        shared_lab.shell("vinay", "cat ~/.ssh/authorized_keys >/dev/null")
        shared_lab.start_bots(("tars",))
    assert [str(touch) for touch in recording.touches] == []


SUDOERS = re.compile(r"^    ((?:Cmnd_Alias WEBEX_|%webex-operators).*)$", re.M)


def test_the_sudoers_lines_of_the_page_are_enough_and_no_more(story: dict[str, Step], shared_lab: Lab) -> None:
    """docs/security.md, for people who may look and roll back: here the user without rights."""
    lines = SUDOERS.findall((PROJECT / "docs/security.md").read_text())
    assert len(lines) == 3
    shared_lab.machine.execute(["groupadd", "webex-operators"])
    shared_lab.machine.execute(["usermod", "-aG", "webex-operators", "otheruser"])
    sudoers = "/etc/sudoers.d/webex-rollout"
    shared_lab.machine.execute(["install", "-m", "440", "/dev/stdin", sudoers], stdin="\n".join(lines) + "\n")

    def may(command: str) -> bool:
        done = shared_lab.shell("otheruser", f"sudo -n webex-rollout {command}", check=False)
        return "password is required" not in done.stderr

    refused = ("unlock", "guard", "rollback msoar", "rollback jarvis --force", "--state /tmp status", "status --json")
    assert [command for command in ("status", "rollback jarvis") if not may(command)] == []
    assert [command for command in refused if may(command)] == []
