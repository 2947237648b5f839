"""Six bots that people start in six ways: the plan shows how, their units run them so, and a rollback is exact.

The tests go on where the one before stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_rollout import QUICK
from tests.lab.lab import Lab, temporary
from tests.lab.paths import BOTS, VM_CHECKOUT, VM_HOME, VM_USER
from tests.lab.playbooks import Run, run_playbook
from tests.lab.run import wait_for
from tests.lab.webex.driver import Pattern

pytestmark = pytest.mark.slow

# Each is started out of the directory, in a shell that has the bots' variables.
STARTS = {
    # One flat directory, in which everything lies.
    "jarvis": (f"{VM_HOME}/flat", "nohup .venv/bin/python -u bot.py > /dev/null 2>&1 &"),
    # A package.
    "tars": (VM_CHECKOUT, "nohup .venv/bin/python -m webex_bots.tars > /dev/null 2>&1 &"),
    # A release directory behind a link.
    "toodles": (
        f"{VM_HOME}/current",
        "umask 007; nohup nice -n 5 .venv/bin/python webex_bots/toodles.py > /dev/null 2>&1 &",
    ),
    # A launcher that is told which bot.
    "barnacles": (VM_CHECKOUT, "nohup .venv/bin/python run.py barnacles > /dev/null 2>&1 &"),
    # A log that is a redirection.
    "money_ball": (VM_CHECKOUT, "nohup .venv/bin/python webex_bots/money_ball.py >> logs/money_ball.log 2>&1 &"),
    # A terminal that nobody looks at.
    "msoar": (VM_CHECKOUT, "tmux new-session -d -s msoar .venv/bin/python webex_bots/msoar.py"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "jarvis": {"bot_home": "~/flat/", "bot_script": "bot.py", "bot_log": f"{VM_HOME}/flat/logs/jarvis.log"},
    "toodles": {"bot_home": "~/current"},
}
LAYOUTS = f"""
set -e
cd {VM_HOME}
mkdir -p flat/logs releases
for file in pub/IR/my_config.py pub/IR/src/components/*.py pub/IR/src/utils/*.py; do cp "$file" flat/; done
cp -a pub/IR/data flat/
cp pub/IR/webex_bots/jarvis.py flat/bot.py
sed -E -i 's/([.]parent)+/.parent/; s/^from src[.][a-z]*[.]/from /' flat/*.py
rm -f flat/__init__.py
ln -s {VM_CHECKOUT}/.venv flat/.venv
cp -a pub/IR releases/2026-11-01
ln -s releases/2026-11-01 current
cat > pub/IR/run.py <<'EOF'
import runpy
import sys
from pathlib import Path

runpy.run_path(str(Path(__file__).parent / "webex_bots" / (sys.argv[1] + ".py")), run_name="__main__")
EOF
python3 - <<'EOF'
import re
path = "pub/IR/webex_bots/money_ball.py"
text = open(path).read()
text = re.sub(r",\\s*handlers=\\[RotatingFileHandler\\(.*?\\)\\]\\)", ")", text, flags=re.S)
assert "handlers=[" not in text
open(path, "w").write(text)
EOF
"""
SHOWN = r"""
import json, os, sys
def read(path):
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")
def stream(pid, fd):
    try:
        target = os.readlink("/proc/%s/fd/%d" % (pid, fd))
    except OSError:
        return "/dev/null"
    return target if target.startswith("/") and not target.startswith("/dev/") else "/dev/null"
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = read("/proc/%s/cmdline" % pid).split("\0")[:-1]
        python = bool(words) and os.path.basename(words[0]).startswith("python")
        status = dict(line.split(":\t", 1) for line in read("/proc/%s/status" % pid).splitlines() if ":\t" in line)
        if not python or status["Uid"].split()[1] != "1000":
            continue
        found.append({
            "command": words, "directory": os.readlink("/proc/%s/cwd" % pid), "umask": status["Umask"],
            "nice": os.getpriority(os.PRIO_PROCESS, int(pid)), "output": stream(pid, 1), "errors": stream(pid, 2),
            "unit": read("/proc/%s/cgroup" % pid).strip().rsplit("/", 1)[-1],
        })
    except OSError:
        pass
print(json.dumps(found))
"""


def shown(lab: Lab) -> dict[str, dict[str, Any]]:
    """What runs, by bot, with all that a rollout has to leave as it is."""
    answer = json.loads(lab.machine.execute(["python3", "-"], stdin=SHOWN).stdout)
    names = {name: (words if name != "jarvis" else "bot.py") for name, words in zip(BOTS, BOTS, strict=True)}
    found: dict[str, dict[str, Any]] = {}
    for process in answer:
        line = " ".join(process["command"])
        for name, word in names.items():
            if word in line:
                assert name not in found, (name, answer)
                found[name] = process
    return found


def kept(processes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {key: process[key] for key in process if key != "unit"} for name, process in processes.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with temporary("layouts") as fresh:
        fresh.shell(VM_USER, LAYOUTS)
        lines = [*fresh.bot_environment(), f"export PYTHONPATH={VM_CHECKOUT}/shared_libs"]
        lines += [f"(cd {directory}; {command})" for directory, command in STARTS.values()]
        fresh.shell(VM_USER, "\n".join(lines) + "\n")
        assert fresh.webex.wait_connected(BOTS, timeout=90), shown(fresh)
        place = Path(fresh.inventory) / "host_vars"
        place.mkdir()
        for bot, settings in SETTINGS.items():
            (place / f"{bot}.yml").write_text(json.dumps(settings))
        fresh.webex.start(Pattern(burst=2, gap=4.0))
        yield fresh


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, dict[str, Any]]:
    found = shown(lab)
    assert set(found) == set(BOTS)
    return found


def rows(run: Run) -> dict[str, dict[str, tuple[str, str, str]]]:
    """Preflight's plan by bot and aspect."""
    plans = {name: bot["facts"]["plan"] for name, bot in run.results("Look at the VM's bots")["jarvis"]["bots"].items()}
    return {
        name: {row["what"]: (row["found"], row["wanted"], row["fate"]) for row in plan["differences"]}
        for name, plan in plans.items()
    }


def twice(lab: Lab) -> list[tuple[str, str]]:
    return [(m.bot, m.text) for m in lab.webex.books(messages=True, lost_after=40).messages if len(m.answers) > 1]


def test_preflight_shows_how_each_is_run(lab: Lab, before: dict[str, dict[str, Any]]) -> None:
    run = run_playbook(lab, "playbooks/preflight.yml")
    assert run.rc == 0, run.output
    plan = rows(run)
    assert plan["jarvis"]["options"] == ("-u", "-u", "carried over")
    assert plan["tars"]["command"] == ("-m webex_bots.tars", "-m webex_bots.tars", "carried over")
    assert plan["toodles"]["umask"] == ("0007", "0007", "carried over")
    assert plan["toodles"]["nice"] == ("5", "5", "carried over")
    assert plan["barnacles"]["command"][0].startswith("run.py")
    assert plan["money_ball"]["outputs"] == (
        f"{VM_CHECKOUT}/logs/money_ball.log",
        f"{VM_CHECKOUT}/logs/money_ball.log",
        "carried over",
    )
    assert plan["msoar"]["runs"][0].startswith("tmux")
    assert all(each["runs"][2] == "changed" for each in plan.values())
    assert shown(lab) == before


def test_rollout_leaves_everything_else_as_it_was(lab: Lab, before: dict[str, dict[str, Any]]) -> None:
    run = run_playbook(lab, extra={**QUICK, "rollout_wait": 180})
    assert run.rc == 0, run.output
    now = shown(lab)
    assert {name: process["unit"] for name, process in now.items()} == {bot: f"webex-bot@{bot}.service" for bot in BOTS}
    # A unit calls its program by its whole path.
    wanted, have = ({n: {**each, "command": each["command"][1:]} for n, each in kept(x).items()} for x in (before, now))
    assert have == wanted
    assert twice(lab) == []


def test_verify_passes(lab: Lab) -> None:
    run = run_playbook(lab, "playbooks/verify.yml")
    assert run.rc == 0, run.output


def test_every_message_is_answered_once_then(lab: Lab) -> None:
    lab.webex.stop()
    lab.webex.wait_settled(timeout=60, lost_after=20)
    assert twice(lab) == []
    lab.webex.reset()
    lab.webex.start(Pattern(burst=6, gap=8.0, bursts=2))
    wait_for(lambda: not lab.webex.books().driving, "the end of the bursts", timeout=60, pause=0.5)
    lab.webex.wait_settled(timeout=90, lost_after=40)
    books = lab.webex.books(messages=True, lost_after=40)
    assert [(m.bot, m.text, m.answers) for m in books.messages if len(m.answers) != 1] == []
    assert {bot: page.total.sent for bot, page in books.bots.items()} == dict.fromkeys(BOTS, 12)


def test_rollback_starts_each_as_it_was_found(lab: Lab, before: dict[str, dict[str, Any]]) -> None:
    lab.webex.start(Pattern(burst=2, gap=4.0))
    run = run_playbook(lab, "playbooks/rollback.yml", extra={"rollout_to": "0"})
    assert run.rc == 0, run.output
    assert lab.webex.wait_connected(BOTS, timeout=60)
    now = shown(lab)
    assert kept(now) == kept(before)
    assert [name for name, process in now.items() if process["unit"].startswith("webex-bot@")] == []
    assert twice(lab) == []
    assert not (lab.machine.root / "etc/systemd/system/webex-bot@.service").exists()
