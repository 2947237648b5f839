"""The unit's confinement: how exposed systemd finds it, what it keeps from a bot, and that the bots work in full."""

from __future__ import annotations

import base64
import json
import re

import pytest

from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_USER
from tests.lab.playbooks import run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

STRICT_AT_MOST = 3.0
HOME = f"/home/{VM_USER}"
UNITS = "/etc/systemd/system"

# Runs in a unit that is jarvis's in all but what it starts.
PROBE = f"""
import json, os, socket, subprocess

def runs(*argv):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

def writes(path):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "a").close()
        return True
    except OSError:
        return False

def lists(path):
    try:
        os.listdir(path)
        return True
    except OSError:
        return False

def connects(path):
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(path)
        return True
    except OSError:
        return False

print("INSIDE", json.dumps({{
    "sudo": runs("sudo", "-n", "id", "-u"),
    "service manager of the user": connects(f"/run/user/{{os.getuid()}}/bus") or lists("/run/user"),
    "service manager of the system": runs("systemctl", "show", "--property=Version"),
    "ssh keys": lists("{HOME}/.ssh"),
    "shell profile": writes("{HOME}/.bashrc"),
    "new shell profile": writes("{HOME}/.bash_profile_of_the_probe"),
    "user unit": writes("{HOME}/.config/systemd/user/probe.service"),
    "elsewhere at home": writes("{HOME}/elsewhere/x"),
    "its source": writes("{VM_CHECKOUT}/webex_bots/jarvis.py"),
    "new source": writes("{VM_CHECKOUT}/src/probe.py"),
    "its logs": writes("{VM_CHECKOUT}/logs/probe.log"),
    "tmp": writes("/tmp/of-the-probe"),
}}), flush=True)
"""
EVERYTHING = {
    "sudo", "service manager of the user", "service manager of the system", "ssh keys", "shell profile",
    "new shell profile", "user unit", "elsewhere at home", "its source", "new source", "its logs", "tmp",
}  # fmt: skip
REACHED = {
    "off": EVERYTHING,
    "standard": {"service manager of the system", "its source", "new source", "its logs", "tmp"},
    "strict": {"its logs", "tmp"},
}
"""What a bot can do under each profile. That of the system answers questions to anybody; it obeys root alone."""

pytestmark = pytest.mark.slow


def exposure(lab: Lab) -> float:
    """`systemd-analyze security`'s figure for jarvis's unit: 0 is best, 10 worst."""
    said = lab.machine.execute(["systemd-analyze", "security", "--no-pager", "webex-bot@jarvis.service"], check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found, said.stdout[-500:] + said.stderr
    return float(found[1])


def reached_from_inside(lab: Lab) -> set[str]:
    """What a process can do that is confined as jarvis is."""
    encoded = base64.b64encode(PROBE.encode()).decode()
    script = f"""
set -e
systemctl start user@$(id -u {VM_USER}).service || true
rm -rf {UNITS}/webex-bot@inside.service.d
cp -r {UNITS}/webex-bot@jarvis.service.d {UNITS}/webex-bot@inside.service.d
cat > {UNITS}/webex-bot@inside.service.d/20-inside.conf <<'X'
[Service]
Type=oneshot
Restart=no
StandardOutput=journal
ExecStart=
ExecStart=/usr/bin/python3 -c "import base64; exec(base64.b64decode('{encoded}'))"
X
systemctl daemon-reload
since=$(date +%s)
systemctl start webex-bot@inside.service || true
journalctl --sync
journalctl --no-pager -o cat -u webex-bot@inside.service --since "@$since"
rm -rf {UNITS}/webex-bot@inside.service.d {HOME}/.bash_profile_of_the_probe {HOME}/.config/systemd {HOME}/elsewhere
rm -f {VM_CHECKOUT}/src/probe.py {VM_CHECKOUT}/logs/probe.log
systemctl daemon-reload
"""
    said = lab.machine.execute(["sh", "-s"], stdin=script).stdout
    found = re.search(r"^INSIDE (\{.*\})$", said, re.MULTILINE)
    assert found, said
    return {name for name, could in json.loads(found[1]).items() if could}


def assert_all_bots_work(lab: Lab) -> None:
    """Each bot answers each of its commands, once."""
    lab.webex.wait_settled(timeout=60, lost_after=20)
    lab.webex.reset()
    lab.webex.start(Pattern(burst=5, gap=4.0, bursts=3))
    wait_for(lambda: not lab.webex.books().driving, "the end of the bursts", timeout=60, pause=0.5)
    lab.webex.wait_settled(timeout=90, lost_after=40)
    books = lab.webex.books(lost_after=40).bots
    assert {bot: (page.total.answered, page.total.answered_twice) for bot, page in books.items()} == dict.fromkeys(
        BOTS, (15, 0)
    )


@pytest.mark.parametrize("profile", ["off", "standard", "strict"])
def test_all_six_bots_work_and_reach_what_the_profile_leaves_them(lab: Lab, profile: str) -> None:
    lab.network.forget_idle_after(3600)
    lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(lab, extra={**QUICK, "bot_hardening": profile})
    assert run.rc == 0, run.output
    assert (f"bot_hardening: {profile} takes from jarvis" in " ".join(run.output.split())) == (profile != "off")
    figure = exposure(lab)
    print(f"{profile}: exposure {figure}")
    assert profile != "strict" or figure <= STRICT_AT_MOST
    assert reached_from_inside(lab) == REACHED[profile]
    lab.webex.stop()
    assert_all_bots_work(lab)
