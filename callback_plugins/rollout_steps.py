# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: what a run prints, one line a bot and step."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_steps
type: stdout
short_description: One line a bot and step, and one a bot at the end
description:
  - Prints what was changed on which bot and how long it took, what failed with the message made for people, messages,
    warnings, and with C(--diff) the differences. What changed nothing is counted, not listed. The run ends with
    Ansible's own recap and a table with one line for each bot to which something happened.
  - In a terminal, a line at the bottom says what is going on.
  - With C(-v) it prints what C(default) prints, for C(ansible) without a playbook what C(minimal) prints.
  - C(ANSIBLE_STDOUT_CALLBACK=default) turns it off.
extends_documentation_fragment: [default_callback, result_format_callback]
requirements: [set as stdout_callback in the configuration]
author: [The webex-bot-rollout authors]
"""

import functools
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.plugins.callback.minimal import CallbackModule as Minimal
from ansible.utils.color import stringc

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from plugin_utils.live import Live, can_be_shown
from plugin_utils.steps import FEW, MARGIN, SLOW, Ending, Tally, lines, many, shorten, step, step_name, table, unchanged
from plugin_utils.words import measured, printable

COLORS = {
    "unreachable": C.COLOR_UNREACHABLE,
    "failed": C.COLOR_ERROR,
    "rescued": C.COLOR_WARN,
    "ignored": C.COLOR_WARN,
    "changed": C.COLOR_CHANGED,
}
DIFF_COLORS = {"+": C.COLOR_DIFF_ADD, "-": C.COLOR_DIFF_REMOVE, "@": C.COLOR_DIFF_LINES}


def _by_lines(handler: Callable[..., None]) -> Callable[..., None]:
    """Print an event by its line, or as another callback does: always where that is wanted, and an event that this one
    cannot print, since what Ansible has to say must not get lost for a fault in here."""
    name = handler.__name__

    @functools.wraps(handler)
    def chosen(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        if self.instead is None:
            try:
                handler(self, *args, **kwargs)
                return
            except Exception as error:
                self._display.warning(f"rollout_steps: {type(error).__name__} in {name}: {error}")
        getattr(self.instead or Default, name)(self, *args, **kwargs)

    return chosen


class CallbackModule(Default):
    """Prints a run's events as they come; what asks nothing of anybody when its task ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "rollout_steps"

    # Called with this object by Minimal's handlers.
    _command_generic_msg = Minimal._command_generic_msg

    def __init__(self) -> None:
        super().__init__()
        self.instead: type | None = Default if self._display.verbosity else None
        self._live: Live | None = None
        self._heading = self._step = ""
        self._play_began = time.monotonic()
        self._width = 0
        self._starts: dict[tuple[str, str], float] = {}
        self._tallies: dict[str, Tally] = {}
        self._changed: set[str] = set()
        # Of the present play: its bots, in their order, and those of whom there was more to say than "nothing changed".
        self._bots: dict[str, None] = {}
        self._told: set[str] = set()
        self._over = False
        # Of the present task: messages shown, seconds and messages of those that have nothing changed, differences,
        # failed rounds of loops.
        self._messages: set[str] = set()
        self._quiet: dict[str, tuple[float, str]] = {}
        self._diffs: dict[tuple[str, str], list[str]] = {}
        self._rounds: dict[tuple[str, str], list[str]] = {}

    # --- the run, its plays and tasks --------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Choose what prints: there is no step in what `ansible` alone does."""
        if playbook._file_name == "__adhoc_playbook__":
            self.instead = Minimal
        if self.instead:
            self.instead.v2_playbook_on_start(self, playbook)  # type: ignore[attr-defined]
            return
        if can_be_shown() and not context.CLIARGS.get("step"):  # its question would be written over
            self._live = Live(self._display)
        if context.CLIARGS.get("check"):
            self._display.display("Check mode: nothing is changed")

    @_by_lines
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._end_play()
        self._play = play
        self._heading = printable(play.get_name().strip())
        self._play_began = time.monotonic()
        self._display.display(f"\n{self._heading}", color=C.COLOR_HIGHLIGHT)

    @_by_lines
    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say("no bot takes part", C.COLOR_SKIP)

    @_by_lines
    def v2_playbook_on_no_hosts_remaining(self) -> None:
        self._end_task()
        if not self._over:  # Ansible says it more than once
            self._say("this play ends here", C.COLOR_ERROR)
        self._over = True

    @_by_lines
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._begin_task(task)

    @_by_lines
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._begin_task(task)

    @_by_lines
    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Its tasks are what counts."""

    @_by_lines
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        bot = host.get_name()
        self._bots[bot] = None
        self._width = max(self._width, len(bot))
        self._starts[bot, task._uuid] = time.monotonic()
        if self._live:
            self._live.works(bot)

    # --- results -----------------------------------------------------------------------------------------------------

    @_by_lines
    def v2_runner_on_ok(self, result: Any) -> None:
        bot, seconds = self._done(result)
        self._handle_warnings(result._result)
        state = _change(result)
        if state:
            self._changed.add(bot)
            self._tell(bot, state, seconds, _name(result), C.COLOR_CHANGED)
            for line in self._diffs.pop(_key(result), []):
                self._display.display(line)
        said = self._said(result)
        if state or result._task.action.rpartition(".")[2] == "debug":
            self._message(said)
        elif said or seconds >= SLOW:
            self._quiet[bot] = seconds, said

    @_by_lines
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._trouble(result, "failed", bool(ignore_errors))

    @_by_lines
    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._trouble(result, "unreachable", bool(result._task.ignore_unreachable))

    @_by_lines
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._done(result, skipped=True)
        self._handle_warnings(result._result)

    @_by_lines
    def v2_runner_retry(self, result: Any) -> None:
        tries = result._result
        text = f"{_name(result)}: failed, {tries['retries'] - tries['attempts']} more tries"
        self._say(f"{result._host.get_name()}: {text}", C.COLOR_WARN)

    @_by_lines
    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._handle_warnings(result._result)
        self._message(self._said(result))

    @_by_lines
    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._handle_warnings(result._result)
        self._rounds.setdefault(_key(result), []).append(_reason(result))

    @_by_lines
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._handle_warnings(result._result)

    @_by_lines
    def v2_on_file_diff(self, result: Any) -> None:
        """Kept until the line that it belongs to."""
        rounds = result._result.get("results", []) if result._task.loop else [result._result]
        texts = [self._get_diff(each["diff"]) for each in rounds if each.get("diff") and each.get("changed", False)]
        self._diffs[_key(result)] = [line for text in texts for line in _diff(text)]

    # --- the end -----------------------------------------------------------------------------------------------------

    @_by_lines
    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._end_play()
        if self._live:
            self._live.end()
        super().v2_playbook_on_stats(stats)
        endings = {
            bot: Ending(stats.summarize(bot), self._tallies.get(bot, Tally())) for bot in sorted(stats.processed)
        }
        for text, result in table(endings, bool(context.CLIARGS.get("check"))):
            # In full it is above.
            shown = shorten(text, get_terminal_size().columns - 1) if self._live else text
            self._display.display(shown, color=COLORS.get(result))
        if any(ending.result in ("failed", "unreachable") for ending in endings.values()):
            self._display.display("With -v the same command shows every step in full.")

    # --- how ---------------------------------------------------------------------------------------------------------

    def _begin_task(self, task: Any) -> None:
        self._end_task()
        self._step = step_name(task.get_name())
        if self._live and task.action.rpartition(".")[2] != "pause":  # it asks
            self._live.begin(self._heading, self._step)

    def _end_task(self) -> None:
        """Say what was kept back of the task: a few bots each by its line, more of them by one."""
        if self._live:
            self._live.end()
        quiet, self._quiet, self._messages = self._quiet, {}, set()
        folded = [bot for bot in quiet if bot not in self._changed]
        if len(folded) > FEW:
            self._say_raw(many(folded, "ok", [quiet[bot][0] for bot in folded], self._step), C.COLOR_OK)
        for bot, (seconds, said) in quiet.items():
            if len(folded) <= FEW or bot in self._changed:
                self._tell(bot, "ok", seconds, f"{self._step}{': ' if said else ''}{said}", C.COLOR_OK, settled=True)

    def _end_play(self) -> None:
        self._end_task()
        quiet = [bot for bot in self._bots if bot not in self._told]
        if quiet:
            took = measured(time.monotonic() - self._play_began)
            self._say(f"{unchanged(quiet, bool(context.CLIARGS.get('check')))} ({took})", C.COLOR_OK)
        self._bots, self._told, self._over = {}, set(), False

    def _done(self, result: Any, skipped: bool = False) -> tuple[str, float]:
        """Note that a bot is through with a task; the bot, and its seconds."""
        bot, now = result._host.get_name(), time.monotonic()
        seconds = now - self._starts.pop(_key(result), now)
        self._tallies.setdefault(bot, Tally()).seconds += seconds
        self._bots.setdefault(bot)
        if self._live and not skipped:
            self._live.answered(bot)
        elif self._live:
            self._live.skipped(bot)
        return bot, seconds

    def _trouble(self, result: Any, state: str, ignored: bool) -> None:
        bot, seconds = self._done(result)
        self._handle_warnings(result._result)
        reasons = self._rounds.pop(_key(result), None) or [_reason(result)]
        # A message for people names the bot, and so does the line.
        text = f"{_name(result)}: " + "\n".join(reason.removeprefix(f"{bot}: ") for reason in reasons)
        self._tallies[bot].trouble = text
        color = C.COLOR_WARN if ignored else COLORS[state]
        self._tell(bot, "ignored" if ignored else state, seconds, text, color)

    def _said(self, result: Any) -> str:
        """The message that a module made for people, which it marks as to be shown always."""
        if not self._run_is_verbose(result):
            return ""
        shown = result._result
        if "msg" in shown:
            return _text(shown["msg"])
        # What `debug: var=` shows is named.
        own = {name: value for name, value in shown.items() if name not in ("changed", "failed") and name[0] != "_"}
        return "\n".join(f"{name}: {value}" for name, value in own.items())

    def _message(self, text: str) -> None:
        """A message, once however many bots of a task have the same."""
        if text and text not in self._messages:
            self._messages.add(text)
            for line in lines(text):
                self._say(line)

    def _tell(self, bot: str, state: str, seconds: float, text: str, color: str, settled: bool = False) -> None:
        if not settled:
            self._told.add(bot)
        to_stderr = state in ("failed", "unreachable") and self.get_option("display_failed_stderr")
        for line in step(bot, self._width, state, seconds, text):
            self._display.display(line, color=color, stderr=to_stderr)

    def _say(self, text: str, color: str | None = None) -> None:
        self._say_raw(f"{MARGIN}{text}", color)

    def _say_raw(self, text: str, color: str | None) -> None:
        self._display.display(text, color=color)


def _key(result: Any) -> tuple[str, str]:
    return result._host.get_name(), result._task._uuid


def _change(result: Any) -> str:
    """What became of a result's bot, if it was changed."""
    if not result._result.get("changed", False):
        return ""
    return "would change" if result._task.check_mode else "changed"


def _name(result: Any) -> str:
    return step_name(str(result.task_name or result._task))


def _reason(result: Any) -> str:
    """Why something failed: its message; of a result that is hidden, that it is."""
    reason = result._result
    said = reason.get("msg") or reason.get("censored") or reason.get("reason")
    if said:
        return _text(said)
    return f"it ended with {reason['rc']}" if "rc" in reason else "it gave no reason"


def _text(message: Any) -> str:
    return "\n".join(map(str, message)) if isinstance(message, list) else str(message)


def _diff(text: str) -> list[str]:
    """A difference's lines, with Ansible's colours and with no other control character than those."""
    plain = [printable(line) for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    return [MARGIN * 2 + (stringc(line, DIFF_COLORS[line[0]]) if line[:1] in DIFF_COLORS else line) for line in plain]
