"""What a controller runs a rollout by: ansible-runner's directory, the execution environment, the timer."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from plugin_utils.runner import RunnerError, main, secrets_in, write

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


def inventory(place: Path, variables: str) -> Path:
    into = place / "inventory"
    (into / "group_vars").mkdir(parents=True)
    (into / "hosts.yml").write_text("bots: {hosts: {jarvis: {}}}\n")
    (into / "group_vars/bots.yml").write_text(variables)
    return into


def test_the_directory_has_the_committed_project_the_inventory_and_nothing_of_the_place(tmp_path: Path) -> None:
    into = tmp_path / "runner"
    assert main(["--into", str(into), "--inventory", str(inventory(tmp_path, "ansible_host: vm1\n"))]) == 0
    committed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    names = {
        str(p.relative_to(into / "project")) for p in (into / "project").rglob("*") if not p.is_dir() or p.is_symlink()
    }
    assert names == set(committed.stdout.splitlines())
    assert (into / "project/playbooks/library").is_symlink()
    assert (into / "inventory/group_vars/bots.yml").read_text() == "ansible_host: vm1\n"
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    # ansible-runner switches the check of host keys off unless it is told.
    assert json.loads((into / "env/envvars").read_text())["ANSIBLE_HOST_KEY_CHECKING"] == "True"


def test_written_anew_it_keeps_the_artifacts_of_earlier_runs(tmp_path: Path) -> None:
    into, source = tmp_path / "runner", inventory(tmp_path, "")
    write(into, source)
    (into / "artifacts").mkdir()
    (into / "inventory/old.yml").touch()
    write(into, source)
    assert (into / "artifacts").is_dir()
    assert not (into / "inventory/old.yml").exists()


@pytest.mark.parametrize(
    "line",
    [
        "ansible_become_password: hunter2",
        "ansible_ssh_pass: 'hunter2'",
        "jarvis ansible_password=x",
        "webhook_token: abc",
    ],
)
def test_a_secret_in_clear_is_refused_by_place_and_name(tmp_path: Path, line: str) -> None:
    into, source = tmp_path / "runner", inventory(tmp_path, f"ansible_host: vm1\n{line}\n")
    with pytest.raises(RunnerError, match=r"bots\.yml:2: \w+ would travel in clear") as refused:
        write(into, source)
    assert "hunter2" not in str(refused.value)
    assert not into.exists()


@pytest.mark.parametrize(
    "line",
    [
        "ansible_become_password: !vault |",
        "ansible_password: \"{{ lookup('env', 'P') }}\"",
        "# password: x",
        "bot_home: /x",
    ],
)
def test_what_is_no_secret_in_clear_travels(tmp_path: Path, line: str) -> None:
    assert list(secrets_in(inventory(tmp_path, f"{line}\n"))) == []


def test_the_committed_inventories_have_no_secret() -> None:
    assert list(secrets_in(ROOT / "inventory")) == []


# -- the execution environment ----------------------------------------------------------------------------------


def test_its_build_context_is_made_and_has_what_a_controller_needs(tmp_path: Path) -> None:
    command = [BIN / "ansible-builder", "create", "-f", ROOT / "execution-environment.yml", "-c", tmp_path / "context"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    built = "".join(path.read_text() for path in (tmp_path / "context").iterdir() if path.is_file())
    assert re.search(r"ansible-core==[\d.]+", built)
    assert re.search(r"ansible-runner==[\d.]+", built)
    assert "libcst==" in (tmp_path / "context/_build/requirements.txt").read_text()
    assert "openssh-clients" in (tmp_path / "context/_build/bindep.txt").read_text()


def test_its_versions_are_the_pinned_ones() -> None:
    wanted = yaml.safe_load((ROOT / "execution-environment.yml").read_text())["dependencies"]
    asked = [wanted["ansible_core"]["package_pip"], wanted["ansible_runner"]["package_pip"], *wanted["python"]]
    pinned = {line.split()[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    assert set(asked) <= pinned
    direct = re.findall(r"^([a-z][\w-]*)", (ROOT / "requirements.in").read_text(), re.M)
    assert {each.partition("==")[0] for each in asked} == set(direct)


# -- the timer ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_service_and_timer(tmp_path: Path) -> None:
    for name in ("webex-bots-rollout.service", "webex-bots-rollout.timer"):
        text = (ROOT / "controller" / name).read_text()
        # The paths are another machine's.
        (tmp_path / name).write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.M))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "webex-bots-rollout.timer"]
    done = subprocess.run(
        [*command, tmp_path / "webex-bots-rollout.service"], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "webex-bots" in line]
    assert said == []
