# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: write what a run did, decided and proved as report.json and a page, also when the run fails."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_report
type: notification
short_description: Write a report of a rollout
description:
  - Writes C(report.json) and C(index.html) into a directory of its own for each run that did something on a bot, and
    prints where. See C(docs/report.md).
  - The report is rewritten while the run continues, so that a run that is killed leaves a report that shows it.
  - It never affects the run. If it cannot be written, there is one warning.
requirements: [enabled in callbacks_enabled]
options:
  directory:
    description:
      - Where the reports are written; a relative path is relative to the project. If empty, C(reports) there, or among
        the artifacts of the run where ansible-runner or a scheduler on top of it runs this, so that they come home.
    type: str
    default: ""
    env: [{name: ROLLOUT_REPORT_DIRECTORY}]
    ini: [{section: callback_rollout_report, key: directory}]
  group:
    description: The inventory group of the bots. A run without any of them leaves no report.
    type: str
    default: bots
    env: [{name: ROLLOUT_REPORT_GROUP}]
    ini: [{section: callback_rollout_report, key: group}]
  without:
    description: Playbooks that change nothing, and leave no report.
    type: list
    elements: str
    default: [status.yml]
    env: [{name: ROLLOUT_REPORT_WITHOUT}]
    ini: [{section: callback_rollout_report, key: without}]
author: [The webex-bot-rollout authors]
"""

import atexit
import functools
import getpass
import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils.report.build import as_json, build
from plugin_utils.report.events import Event, Kind, Place, Run, kept
from plugin_utils.report.model import Project, Stage
from plugin_utils.report.page import render
from plugin_utils.settings import known_settings

REWRITE_SECONDS = 10
"""Least time between two writes while the run continues."""

GIT_SECONDS = 5
"""A git that hangs (a dead network disk) must not delay the rollout."""


def _guarded(handler: Callable[..., None]) -> Callable[..., None]:
    """The first exception in any handler becomes a warning and ends the report, not the run."""

    @functools.wraps(handler)
    def guarded(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        if self.broken:
            return
        try:
            handler(self, *args, **kwargs)
        except Exception as error:
            self.broken = True
            self._display.warning(
                f"No report of this run ({type(error).__name__}: {error}). The run itself is not affected. "
                "Run again with -vvv to see where it came from."
            )
            self._display.vvv("".join(traceback.format_exception(error)))

    return guarded


class CallbackModule(CallbackBase):
    """Collects what happens and writes it to the report."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "rollout_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.broken = False
        self.run: Run | None = None
        self._play: Any = None
        self._starts: dict[tuple[str, str], float] = {}
        # Results of a loop's rounds until its task ends: only they come with their own arguments.
        self._rounds: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._directory: Path | None = None
        self._written = 0.0
        self._process = os.getpid()
        # Ctrl-C and errors of Ansible's own end a run without v2_playbook_on_stats.
        atexit.register(self._at_exit)

    # --- what happens ------------------------------------------------------------------------------------------------

    @_guarded
    def v2_playbook_on_start(self, playbook: Any) -> None:
        name = os.path.relpath(playbook._file_name, PROJECT)
        self._directory = None
        self.run = None if Path(name).name in self.get_option("without") else _begin(name)

    @_guarded
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        if self.run:
            _note_variables(self.run, play.get_variable_manager().extra_vars)
            self.run.begin_play(str(play.get_name()).strip(), time.time())
            self._write_if_due()

    @_guarded
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._starts[host.get_name(), task._uuid] = time.time()

    @_guarded
    def v2_runner_on_ok(self, result: Any) -> None:
        self._add("ok", result)

    @_guarded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._add("failed", result, bool(ignore_errors))

    @_guarded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._add("unreachable", result, bool(result._task.ignore_unreachable))

    @_guarded
    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._add_round(result, failed=False)

    @_guarded
    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._add_round(result, failed=True)

    @_guarded
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._starts.pop(_key(result), None)
        self._rounds.pop(_key(result), None)

    @_guarded
    def v2_runner_retry(self, result: Any) -> None:
        self._write_if_due()

    @_guarded
    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self.run or not self.run.places:
            return
        self.run.recap = {bot: dict(stats.summarize(bot)) for bot in sorted(stats.processed) if bot in self.run.places}
        self._end(self.run, "ended")

    @_guarded
    def _at_exit(self) -> None:
        if self.run and self.run.places and self.run.state == "running" and os.getpid() == self._process:
            self._end(self.run, "interrupted")

    # --- writing -----------------------------------------------------------------------------------------------------

    def _add_round(self, result: Any, failed: bool) -> None:
        if self.run and self._is_bot(self.run, result._host):
            self._rounds.setdefault(_key(result), []).append(_kept(result, failed) | {"failed": failed})

    def _add(self, kind: Kind, result: Any, ignored: bool = False) -> None:
        host, task, now = result._host, result._task, time.time()
        began = self._starts.pop(_key(result), now)
        rounds = self._rounds.pop(_key(result), None)
        run = self.run
        if not run or not self._is_bot(run, host):
            return
        event = Event(
            kind=kind,
            bot=host.get_name(),
            action=_action(task),
            task=str(result.task_name).strip(),
            play=run.plays[-1].name if run.plays else "",
            began=began,
            ended=now,
            changed=bool(result._result.get("changed")),
            ignored=ignored,
            run_once=bool(task.run_once),
            result=_kept(result, failed=kind != "ok") | ({"results": rounds} if rounds else {}),
        )
        run.add(event)
        self._write_if_due()

    def _is_bot(self, run: Run, host: Any) -> bool:
        """Whether a host is a bot; the first time, its place is noted too."""
        name = host.get_name()
        if name in run.places:
            return True
        groups = {group.get_name() for group in host.get_groups()}
        if self.get_option("group") not in groups:
            return False
        variables = self._play.get_variable_manager().get_vars(play=self._play, host=host, include_hostvars=False)
        run.order = run.order or list(variables["groups"][self.get_option("group")])
        stage: Stage = "canary" if "canary" in groups else "fleet" if "fleet" in groups else ""
        run.places[name] = Place(str(variables.get("ansible_host") or name), stage)
        return True

    def _write_if_due(self) -> None:
        if self.run and self.run.places and time.time() - self._written >= REWRITE_SECONDS:
            self._write(self.run)

    def _end(self, run: Run, state: Literal["ended", "interrupted"]) -> None:
        run.state, run.ended = state, time.time()
        self._display.display(f"Report: {_shortest(self._write(run) / 'index.html')}")

    def _write(self, run: Run) -> Path:
        """Write the report as it is by now; its directory."""
        if self._directory is None:
            self._directory = _new_directory(_reports(self.get_option("directory")), run.began)
        content = as_json(build(run, time.time()))
        _replace(self._directory / "report.json", json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")
        _replace(self._directory / "index.html", render(content))
        self._written = time.time()
        return self._directory


def _key(result: Any) -> tuple[str, str]:
    return result._host.get_name(), result._task._uuid


def _action(task: Any) -> str:
    return str(task.action).rpartition(".")[2]


def _kept(result: Any, failed: bool) -> dict[str, Any]:
    arguments = (result._task_fields or {}).get("args")
    return kept(_action(result._task), result._result, arguments if isinstance(arguments, Mapping) else {}, failed)


def _begin(playbook: str) -> Run:
    """What is known of a run before anything has happened."""
    options = context.CLIARGS
    return Run(
        playbook=playbook,
        began=time.time(),
        who=os.environ.get("SUDO_USER") or getpass.getuser(),
        host=socket.gethostname(),
        ansible=ansible_version,
        project=_project(),
        check_mode=bool(options.get("check")),
        limit=options.get("subset") or None,
        # Ansible makes sets of them.
        tags=sorted(tag for tag in options.get("tags") or () if tag != "all"),
        skip_tags=sorted(options.get("skip_tags") or ()),
        inventory=[_shortest(Path(source)) for source in options.get("inventory") or ()],
    )


def _note_variables(run: Run, given: Mapping[str, Any]) -> None:
    """Variables given with -e: the project's with their values, of others, which may hold anything, the names."""
    if not given or run.settings or run.other_variables:
        return
    known = known_settings(PROJECT / "roles")
    run.settings = {name: value for name, value in given.items() if name in known}
    run.other_variables = sorted(name for name in given if name not in known)


def _project() -> Project:
    """The project's commit, and whether files differ from it; nothing where it is no git checkout."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        return Project(commit, bool(_git("status", "--porcelain", "--untracked-files=no").strip()))
    except (OSError, subprocess.SubprocessError):
        return Project()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
    )
    return done.stdout


def _reports(chosen: str) -> Path:
    """The directory for all runs' reports. ansible-runner names the one whose content it sends to who has asked."""
    artifacts = os.environ.get("AWX_ISOLATED_DATA_DIR")
    if chosen or not artifacts:
        return PROJECT / Path(chosen or "reports").expanduser()
    return Path(artifacts) / "reports"


def _new_directory(reports: Path, began: float) -> Path:
    """A directory of the present user's alone, named by the time in UTC, so that names sort; a second run in the same
    second gets a number."""
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(began))
    reports.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reports == PROJECT / "reports":
        reports.chmod(0o700)  # made by version 0.1.0 for all to look into; another place is somebody else's to guard
    for number in range(1, 100):
        directory = reports / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory
    raise FileExistsError(f"{reports}/{name} and 98 more like it exist")


def _replace(path: Path, text: str) -> None:
    """Write a file, the present user's alone, so that a reader sees the old one or the new one whole."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(temporary, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    temporary.replace(path)


def _shortest(path: Path) -> str:
    """A path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
