"""What would start a bot's script a second time, and what only mentions it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.processes import Bot
from ansible.module_utils.webex_rollout.starters import find_starters, search_for, starts_bot

if TYPE_CHECKING:
    from pathlib import Path

HOME = "/home/vinay/pub/IR"
BOT = Bot("jarvis", HOME, "webex_bots/jarvis.py", f"{HOME}/.venv/bin/python", "root")


@pytest.mark.parametrize(
    "line",
    [
        f"cd {HOME} && nohup .venv/bin/python webex_bots/jarvis.py > /dev/null 2>&1 &",
        f"cd {HOME}; PYTHONPATH=. .venv/bin/python -u webex_bots/jarvis.py",
        f"{HOME}/.venv/bin/python {HOME}/webex_bots/jarvis.py --debug",
        f"/usr/bin/env -i python3.11 {HOME}/webex_bots/jarvis.py",
        f"/bin/bash -lc 'cd {HOME} && .venv/bin/python webex_bots/jarvis.py'",
        f'tmux new-session -d "cd {HOME} && .venv/bin/python webex_bots/jarvis.py"',
        f"screen -dmS jarvis bash -c 'cd {HOME}; python webex_bots/jarvis.py'",
        f"flock -n /tmp/x {HOME}/.venv/bin/python {HOME}/webex_bots/jarvis.py",
        f"pgrep -f jarvis.py || (cd {HOME}; python webex_bots/jarvis.py)",
        f"cd {HOME}; python -m webex_bots.jarvis",
        f"{HOME}/webex_bots/jarvis.py",
    ],
)
def test_a_start_is_seen(line: str) -> None:
    assert starts_bot(line, "/", search_for(BOT)) is True


@pytest.mark.parametrize(
    "line",
    [
        f"tail -f {HOME}/logs/jarvis.log",
        f"cp {HOME}/webex_bots/jarvis.py /tmp",
        "pkill -f jarvis.py",
        f"cd {HOME}; git add webex_bots/jarvis.py",
        f"cd {HOME}; .venv/bin/python -m py_compile webex_bots/jarvis.py",
        f"cd {HOME}; .venv/bin/python webex_bots/tars.py webex_bots/jarvis.py",
        "cd /home/vinay/pub/OTHER; python webex_bots/jarvis.py",
        f"cd {HOME}; python -c 'print(1)' webex_bots/jarvis.py",
        "# python webex_bots/jarvis.py",
        "",
        "echo 'it''s",
        "python3 $1",
    ],
)
def test_a_mention_is_no_start(line: str) -> None:
    assert starts_bot(line, HOME if line.startswith("#") else "/", search_for(BOT)) is False


@pytest.mark.parametrize(
    "line",
    [
        f"for bot in jarvis tars; do {HOME}/.venv/bin/python {HOME}/webex_bots/$bot.py & done",
        f"cd {HOME}; for bot in *; do python webex_bots/${{bot}}.py; done",
        "cd $IR_HOME && python webex_bots/jarvis.py",
    ],
)
def test_what_only_a_shell_could_tell_is_a_doubt(line: str) -> None:
    assert starts_bot(line, "/", search_for(BOT)) is None


def write(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def found(root: Path) -> list[tuple[str, str, int, str]]:
    return [(s.kind, s.file.replace(str(root), ""), s.line, s.what) for s in find_starters(BOT, str(root))]


def test_units_are_found_with_their_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/systemd/system/old.service",
        f"[Unit]\nDescription=x\n[Service]\nWorkingDirectory={HOME}\n"
        f"ExecStart={HOME}/.venv/bin/python \\\n  webex_bots/jarvis.py\n",
    )
    write(
        tmp_path, "etc/systemd/system/webex-bot@.service", f"[Service]\nExecStart=python {HOME}/webex_bots/jarvis.py\n"
    )
    write(tmp_path, "etc/systemd/system/other.service", f"[Service]\nExecStart=python {HOME}/webex_bots/tars.py\n")
    assert found(tmp_path) == [("unit", "/etc/systemd/system/old.service", 5, "old.service")]


def test_template_of_another_name_counts_for_the_bot(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/systemd/system/bot@.service",
        f"[Service]\nWorkingDirectory={HOME}\nExecStart=/usr/bin/python3 webex_bots/%i.py\n",
    )
    assert [entry[3] for entry in found(tmp_path)] == ["bot@.service"]


def test_directory_of_the_unit_counts_for_its_drop_in(tmp_path: Path) -> None:
    write(tmp_path, "usr/lib/systemd/system/x.service", f"[Service]\nWorkingDirectory={HOME}\nExecStart=/bin/true\n")
    write(
        tmp_path,
        "etc/systemd/system/x.service.d/a.conf",
        "[Service]\nExecStart=\nExecStart=python webex_bots/jarvis.py\n",
    )
    assert found(tmp_path) == [("unit", "/etc/systemd/system/x.service.d/a.conf", 3, "x.service")]


def test_unit_of_the_user_is_found(tmp_path: Path) -> None:
    write(tmp_path, "root/.config/systemd/user/j.service", f"[Service]\nExecStart=python {HOME}/webex_bots/jarvis.py\n")
    assert found(tmp_path) == [("user unit", "/root/.config/systemd/user/j.service", 2, "j.service")]


def test_cron_lines_are_found_in_every_place(tmp_path: Path) -> None:
    start = f"cd {HOME} && .venv/bin/python webex_bots/jarvis.py"
    write(
        tmp_path, "var/spool/cron/crontabs/vinay", f"# {start}\nMAILTO=x\n@reboot {start}\n*/5 * * * * pgrep jarvis\n"
    )
    write(tmp_path, "etc/crontab", f"0 3 * * * root {start} % input\n")
    write(tmp_path, "etc/cron.d/bots", f"@daily vinay {start}\n0 3 * * * root {start}\n")
    assert found(tmp_path) == [
        ("cron", "/etc/crontab", 1, "0"),
        ("cron", "/etc/cron.d/bots", 1, "@daily"),
        ("cron", "/etc/cron.d/bots", 2, "0"),
        ("cron", "/var/spool/cron/crontabs/vinay", 3, "@reboot"),
    ]


def test_script_that_cron_calls_is_looked_into(tmp_path: Path) -> None:
    loop = "for b in jarvis tars; do\n  .venv/bin/python webex_bots/$b.py &\ndone\n"
    script = write(tmp_path, "start_all.sh", f"#!/bin/bash\ncd {HOME}\n{loop}")
    script.chmod(0o755)
    write(tmp_path, "var/spool/cron/crontabs/root", f"@reboot {script}\n@reboot sh {script}\n@reboot cat {script}\n")
    entries = find_starters(BOT, str(tmp_path))
    assert [(entry.line, entry.certain) for entry in entries] == [(1, False), (2, False)]


def test_start_up_scripts_and_supervisord_are_found(tmp_path: Path) -> None:
    write(tmp_path, "etc/rc.local", f"#!/bin/sh\ncd {HOME}\nnohup .venv/bin/python webex_bots/jarvis.py &\n")
    write(
        tmp_path,
        "etc/supervisor/conf.d/b.conf",
        f"[program:j]\ndirectory={HOME}\ncommand=python webex_bots/jarvis.py\n",
    )
    assert found(tmp_path) == [
        ("script", "/etc/rc.local", 3, "rc.local"),
        ("supervisor", "/etc/supervisor/conf.d/b.conf", 3, "b.conf"),
    ]


def test_bare_machine_has_no_starters(tmp_path: Path) -> None:
    assert found(tmp_path) == []
