"""What would start a bot's script a second time, and what only mentions it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import starters
from ansible.module_utils.webex_rollout.processes import Bot
from ansible.module_utils.webex_rollout.starter_places import find_starters, search_for
from ansible.module_utils.webex_rollout.starters import starts_bot

if TYPE_CHECKING:
    from pathlib import Path

HOME = "/home/vinay/pub/IR"
BOT = Bot("jarvis", HOME, "webex_bots/jarvis.py", f"{HOME}/.venv/bin/python", "root")


STARTS = (
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
    f"for bot in jarvis tars; do {HOME}/.venv/bin/python {HOME}/webex_bots/$bot.py & done",
    f"cd {HOME}; for b in webex_bots/*.py; do nohup .venv/bin/python $b & done",
    f"while true; do cd {HOME} && .venv/bin/python webex_bots/jarvis.py; sleep 5; done",
    f"cd {HOME} && uv run webex_bots/jarvis.py",
    f"cd {HOME} && poetry run python webex_bots/jarvis.py",
    f"conda run -n bots --cwd {HOME} python webex_bots/jarvis.py",
    f"pushd {HOME}; python3 webex_bots/jarvis.py; popd",
    "runuser -l root -c 'cd /home/vinay/pub/IR && python3 webex_bots/jarvis.py'",
    f"start-stop-daemon --start --chdir {HOME} --exec {HOME}/.venv/bin/python -- webex_bots/jarvis.py",
    f"pm2 start {HOME}/webex_bots/jarvis.py --interpreter {HOME}/.venv/bin/python",
    f"BOTDIR={HOME}; cd $BOTDIR && python webex_bots/jarvis.py",
    f"BOT=jarvis; {HOME}/.venv/bin/python {HOME}/webex_bots/$BOT.py",
    f"cd {HOME} || exit 1\nPY=.venv/bin/python\n$PY webex_bots/jarvis.py &",
    f"env $(cat {HOME}/.env | xargs) python3 {HOME}/webex_bots/jarvis.py",
    f"systemd-run --unit=jarvis --working-directory={HOME} .venv/bin/python webex_bots/jarvis.py",
)


@pytest.mark.parametrize("line", STARTS)
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
        f"cd {HOME}; python webex_bots/tars.py --like jarvis",
        f"cd {HOME}; for b in tars toodles; do python webex_bots/$b.py; done",
        f"cd {HOME} && .venv/bin/pip install -r requirements.txt",
        f"sudo chown jarvis {HOME}/logs",
        "for f in *.log; do gzip $f; done",
        "python3 $1",
    ],
)
def test_a_mention_is_no_start(line: str) -> None:
    assert starts_bot(line, HOME if line.startswith("#") else "/", search_for(BOT)) is False


DOUBTS = (
    f"cd {HOME}; for bot in *; do python webex_bots/${{bot}}.py; done",
    "cd $IR_HOME && python webex_bots/jarvis.py",
    f"cd {HOME} && make run-jarvis",
    f"{HOME}/bots.sh start jarvis",
    f"cd {HOME} && python run.py jarvis",
    f"cd {HOME} && python -m webex_bots jarvis",
    f"{HOME}/.venv/bin/jarvis-bot",
    f"docker run -v {HOME}:/app -w /app python:3.11 python webex_bots/jarvis.py",
)


@pytest.mark.parametrize("line", DOUBTS)
def test_what_only_a_shell_could_tell_is_a_doubt(line: str) -> None:
    assert starts_bot(line, "/", search_for(BOT)) is None


QUOTED = (
    f"cd {HOME}; .venv/bin/pyth'o'n webex_bots/jar\"vis.py\"",
    f"{HOME}/webex_bots/jar\\\nvis.py",
    f"B=jar; {HOME}/webex_bots/${{B}}vis.py",
    f"cd {HOME}/webex_bots; for each in ./*; do $each & done",
    "for each in /home/vinay/pub/*/web*/*; do $each & done",
)


@pytest.mark.parametrize("line", [*STARTS, *QUOTED, *DOUBTS])
def test_what_does_not_start_one_bot_may_start_the_next(line: str) -> None:
    other = Bot("barnacles", f"{HOME}2", "bots/barnacles.py", f"{HOME}2/.venv/bin/python", "root")
    first, second = search_for(other), search_for(BOT)
    second.kept = first.kept
    assert starts_bot(line, "/", first) is not True
    assert starts_bot(line, "/", second) is (None if line in DOUBTS else True)


def test_what_is_of_no_bot_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gone_through = []
    split = starters.commands_of
    monkeypatch.setattr(starters, "commands_of", lambda text: gone_through.append(text) or split(text))
    searches = [search_for(replace(BOT, name=name, script=f"webex_bots/{name}.py")) for name in ("jarvis", "tars")]
    searches[1].kept = searches[0].kept
    assert [starts_bot("/usr/sbin/sshd -D $SSHD_OPTS", "/", search) for search in searches] == [False, False]
    assert len(gone_through) == 1


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
    assert [(entry.line, entry.certain) for entry in entries] == [(1, True), (2, True)]


def test_start_up_scripts_and_supervisord_are_found(tmp_path: Path) -> None:
    write(tmp_path, "etc/rc.local", f"#!/bin/sh\ncd {HOME}\nnohup .venv/bin/python webex_bots/jarvis.py &\n")
    write(
        tmp_path,
        "etc/supervisor/conf.d/b.conf",
        PROGRAM,
    )
    assert found(tmp_path) == [
        ("script", "/etc/rc.local", 3, "rc.local"),
        ("supervisor", "/etc/supervisor/conf.d/b.conf", 3, "b.conf"),
    ]


def test_bare_machine_has_no_starters(tmp_path: Path) -> None:
    assert found(tmp_path) == []


START = f"cd {HOME} && nohup .venv/bin/python webex_bots/jarvis.py &\n"
PROGRAM = f"[program:j]\ndirectory={HOME}\ncommand=python webex_bots/jarvis.py\n"
PLACES = {
    "rc.local": {"etc/rc.local": START},
    "init.d": {"etc/init.d/webex-bots": "#!/bin/sh\n" + START},
    "init.d with su": {
        "etc/init.d/bots": '#!/bin/sh\ncase "$1" in\n'
        f"start) su root -c 'cd {HOME} && nohup .venv/bin/python webex_bots/jarvis.py > /dev/null 2>&1 &' ;;\nesac\n"
    },
    "bashrc": {"root/.bashrc": START},
    "profile": {"root/.profile": START},
    "profile.d": {"etc/profile.d/bots.sh": START},
    "NetworkManager": {"etc/NetworkManager/dispatcher.d/90-bots": "#!/bin/sh\n" + START},
    "if-up.d": {"etc/network/if-up.d/bots": "#!/bin/sh\n" + START},
    "cron.d": {"etc/cron.d/bots": f"@reboot root {START}"},
    "crontab": {"var/spool/cron/crontabs/root": f"@reboot {START}"},
    "crontab that looks first": {
        "var/spool/cron/crontabs/root": f"SHELL=/bin/bash\n*/5 * * * * pgrep -f jarvis.py > /dev/null || {START}"
    },
    "crontab with a variable": {"var/spool/cron/crontabs/root": f"IR={HOME}\n*/5 * * * * cd $IR && ./keepalive.sh\n"},
    "monit": {
        "etc/monit/conf.d/jarvis": "check process jarvis with pidfile /run/jarvis.pid\n"
        f" start program = \"/bin/bash -c '{START.strip()}'\"\n"
    },
    "supervisor": {"etc/supervisor/conf.d/j.conf": PROGRAM},
    "supervisor with a name": {"etc/supervisor/conf.d/b.conf": PROGRAM.replace("jarvis", "%(process_name)s")},
    "supervisord.conf": {"etc/supervisor/supervisord.conf": PROGRAM},
    "supervisord.d": {"etc/supervisord.d/j.ini": PROGRAM},
    "unit of a timer": {
        "etc/systemd/system/watch.service": "[Service]\nType=oneshot\n"
        f"ExecStart=/bin/bash -c 'pgrep -f jarvis.py || (cd {HOME}; .venv/bin/python webex_bots/jarvis.py &)'\n"
    },
    "unit of a shell script": {
        "etc/systemd/system/bots.service": f"[Service]\nWorkingDirectory={HOME}\nExecStart=/bin/bash start_all.sh\n"
    },
    "unit with a variable": {
        "etc/systemd/system/bot@.service": f"[Service]\nWorkingDirectory={HOME}\nEnvironment=BOT=%i\n"
        f"ExecStart={HOME}/.venv/bin/python webex_bots/${{BOT}}.py\n"
    },
    "pm2": {"root/.pm2/dump.pm2": f'[{{"name":"jarvis","pm_exec_path":"{HOME}/webex_bots/jarvis.py"}}]'},
    "at": {"var/spool/cron/atjobs/a00001": "#!/bin/sh\n" + START},
    "compose": {"root/docker-compose.yml": "services:\n  jarvis:\n    command: python webex_bots/jarvis.py\n"},
    "autostart": {"root/.config/autostart/j.desktop": f'[Desktop Entry]\nExec=bash -c "{START.strip()}"\n'},
    "local.d": {"etc/local.d/bots.start": START},
    "runit": {"etc/sv/jarvis/run": f"#!/bin/sh\ncd {HOME}\nexec chpst -u x .venv/bin/python webex_bots/jarvis.py\n"},
}


@pytest.mark.parametrize("files", PLACES.values(), ids=PLACES)
def test_every_place_that_starts_it_is_seen(tmp_path: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        write(tmp_path, path, text)
    assert {path for _, path, _, _ in found(tmp_path)} == {"/" + path for path in files}


@pytest.mark.parametrize("files", PLACES.values(), ids=PLACES)
def test_none_is_seen_where_another_bot_is_started(tmp_path: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        other = text.replace("jarvis", "tars").replace("keepalive.sh", "/bin/true").replace("start_all.sh", "/etc/x.sh")
        write(tmp_path, path.replace("jarvis", "tars"), other)
    seen = find_starters(BOT, str(tmp_path))
    # What stands for every bot may be this one's, too.
    assert [one for one in seen if one.certain and "@" not in one.what] == []


def test_the_system_that_the_tests_run_on_starts_no_bot() -> None:
    assert find_starters(BOT) == []


def test_start_scripts_are_named_with_what_they_do(tmp_path: Path) -> None:
    text = f"#!/bin/bash\ncd {HOME}\ngit restore .\npkill -f webex_bots/\n{START}"
    write(tmp_path, "root/restart_all.sh", text)
    write(tmp_path, f"{HOME[1:]}/scripts/backup.sh", "#!/bin/sh\ntar czf x logs\n")
    (starter,) = find_starters(BOT, str(tmp_path))
    assert (starter.kind, starter.file) == ("start script", str(tmp_path / "root/restart_all.sh"))
    assert starter.what == (
        "takes the patch away (git or rsync), ends the unit's process, which systemd starts again, starts a second copy"
    )
