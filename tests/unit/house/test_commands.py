"""Every command that README and docs show exists, and is run by a test or named here as one that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from module_utils.webex_rollout.cli import _parser
from plugin_utils.settings import known_settings

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = (
    *("ansible-playbook", "ansible-runner", "ansible-builder", "ansible-doc", "ansible-vault", "make", "pytest"),
    *("webex-rollout", "python -m", "systemctl", "journalctl", "pre-commit", "useradd"),
)
SHOWN = re.compile(r"^```[^\n]*\n(.*?)^```|`([^`\n]+)`|^ {4}(\S[^\n]*)$", re.M | re.S)
COMMAND = re.compile(rf"(?:^|[|&$(] ?|\bsudo )({'|'.join(map(re.escape, PROGRAMS))}) +([\w./:=-]+)")

EVERYDAY, ROLLOUT = "tests/integration/test_everyday.py", "tests/integration/test_rollout.py"
WORKERS, CONTROLLER = "tests/integration/workers.py", "tests/unit/controller/test_controller.py"
JOURNAL, BY_ITSELF = "tests/unit/tell/test_journal.py", ".ci/run"
NOT_RUN = {
    "ansible-builder build": "no container engine runs where this is tested",
    "ansible-doc -t": "prints documentation; ansible-lint reads the same",
    "make alerts": "by hand: installs Prometheus",
    "make awx": "its program is run against a stand-in, never against an AWX",
    "make bench": "by hand: hours",
    "make bench-gate": "by hand: hours",
    **dict.fromkeys(("make bench-patch", "make bench-pool", "make bench-sdks"), "by hand: hours"),
    "make chaos": "by hand: hours",
    "make demo": "by hand, from a fresh clone",
    "make docs": "by hand: installs mkdocs; the links are checked by test_links.py",
    "make lab-down": "by hand; the tests take their labs down by the same function",
    "make lab-ssh": "by hand",
    "make lab-up": "by hand; the tests start their labs by the same function",
    "make matrix": "by hand: an hour",
    "make outages": "by hand: forty minutes",
    "make report-browser": "by hand: installs Chromium",
    "make requirements": "by hand: moves the pins",
    "make samples": "by hand: what it writes is in the README",
    "make settings": "its function is run, and what it writes compared",
    "make test-all": "by hand: an hour",
    "pre-commit install": "by hand: changes the clone",
    "python -m tests.bench.pool.mutants": "by hand: hours",
    "systemctl cat": "shows what systemd has; for people",
    "systemctl daemon-reload": "of a controller; the units are checked by systemd-analyze",
    "systemctl edit": "opens an editor",
    "systemctl enable": "of a controller; the units are checked by systemd-analyze",
    "systemctl restart": "shown as what people's scripts have",
    "useradd --create-home": "the lab makes its accounts by the same program, in its image",
    "useradd --system": "of a controller",
    "webex-rollout revert": "an alias of rollback",
}
"""What no test runs, and why."""
RUN_BY = {
    "ansible-playbook playbooks/patch.yml": "tests/unit/patch/test_action.py",
    "ansible-playbook playbooks/preflight.yml": "tests/integration/test_layouts.py",
    "ansible-playbook playbooks/restart.yml": EVERYDAY,
    "ansible-playbook playbooks/rollback.yml": ROLLOUT,
    "ansible-playbook playbooks/status.yml": EVERYDAY,
    "ansible-playbook playbooks/uninstall.yml": EVERYDAY,
    "ansible-playbook rollout.yml": "tests/lab/playbooks.py",
    "ansible-runner process": WORKERS,
    "ansible-runner run": "tests/lab/playbooks.py",
    "ansible-runner transmit": WORKERS,
    "journalctl -t": "tests/chaos/rows.py",
    "journalctl -u": "tests/integration/test_hardening.py",
    "make -C": BY_ITSELF,
    "make context": CONTROLLER,
    "make labs": BY_ITSELF,
    "make lint": BY_ITSELF,
    "make replay": "tests/unit/verdict/test_replay.py",
    "make runner": CONTROLLER,
    "make setup": BY_ITSELF,
    "make test": BY_ITSELF,
    "make unit": BY_ITSELF,
    "make verify": ROLLOUT,
    "pytest tests/integration/": BY_ITSELF,
    "pytest tests/unit/": BY_ITSELF,
    "pytest tests/unit/security": BY_ITSELF,
    "python -m plugin_utils.report": "tests/unit/report/test_main.py",
    "python -m plugin_utils.report.schema": "tests/unit/report/test_schema.py",
    "webex-rollout --version": "tests/unit/rollout/test_asked.py",
    "webex-rollout answer": "tests/unit/rollout/test_asked.py",
    "webex-rollout guard": "tests/unit/rollout/test_guard.py",
    "webex-rollout rollback": "tests/unit/rollout/test_modules.py",
    "webex-rollout status": "tests/unit/rollout/test_modules.py",
    "webex-rollout unlock": "tests/integration/test_two_workers.py",
    "webex-rollout watch": "tests/unit/watch/test_watch.py",
    **dict.fromkeys(("journalctl MESSAGE_ID=", "journalctl WEBEX_BOT=", "journalctl WEBEX_EVENT="), JOURNAL),
}
"""Which file runs it, or the function behind it."""


def shown(page: Path) -> set[str]:
    """The commands of a page, each as its program and first word."""
    lines = [line for parts in SHOWN.findall(page.read_text(encoding="utf-8")) for line in "".join(parts).splitlines()]
    found = {f"{program} {word}" for line in lines for program, word in COMMAND.findall(line.strip())}
    return {re.sub(r"(journalctl \w+=).*", r"\1", command) for command in found}


COMMANDS = sorted({command for page in PAGES for command in shown(page)})


def test_each_is_run_by_a_test_or_listed_as_not_run() -> None:
    assert set(COMMANDS) == {*RUN_BY, *NOT_RUN}


@pytest.mark.parametrize("command", RUN_BY)
def test_what_is_said_to_run_it_is_there_and_knows_it(command: str) -> None:
    file = ROOT / RUN_BY[command]
    word = re.split(r"[ /]", command.rstrip("=/"))[-1].removesuffix(".yml")
    if RUN_BY[command] == BY_ITSELF:
        assert "make test" in file.read_text()
    else:
        assert word in file.read_text(), f"{RUN_BY[command]} has no '{word}'"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_a_target_of_make_is_there(command: str) -> None:
    target = command.split()[1]
    assert target == "-C" or re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("ansible-playbook ")])
def test_a_playbook_is_there(command: str) -> None:
    assert (ROOT / command.split()[1]).is_file()


# A question is taken before the command line is: tests/unit/rollout/test_asked.py.
@pytest.mark.parametrize("command", [each for each in COMMANDS if re.match("webex-rollout (?!answer)[a-z]", each)])
def test_the_program_has_the_command(command: str) -> None:
    verb = command.split()[1]
    assert _parser().parse_args([verb, *(["jarvis"] if verb in ("rollback", "revert") else [])]).command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_variable_of_a_command_is_a_setting(page: Path) -> None:
    given = re.findall(r"-e '?((?:bot|rollout|webex)_\w+)=", page.read_text(encoding="utf-8"))
    assert set(given) <= set(known_settings())
