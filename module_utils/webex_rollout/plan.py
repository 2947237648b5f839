# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what a bot's process shows against how its unit will run it.

Every difference has a fate. `changed` was asked for; `carried over` goes into the unit, the default; `noted` cannot be
had from a unit, or changes nothing; `refused` has to be decided by a human first. Secrets of a command line are never
part of it: a unit, which anybody may read, gets them as variables from the file that only root reads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .become import group_name
from .command_line import Command, absolute_words, parsed, redact_argv, secret_arguments, shown_words
from .environment import plan_environment
from .found import FoundProcess, Seen, file_of
from .paths import environment_file
from .procfs import without_mark

CHANGED, CARRIED, NOTED, REFUSED = "changed", "carried over", "noted", "refused"
UNLESS_KEPT = "only if bot_environment_keep lists them"
"""How the reason ends why a variable is left out that steers what code runs."""

POLICIES = {1: "fifo", 2: "rr", 3: "batch", 5: "idle"}
# By the words of /proc/<pid>/limits. Open files are the rollout's own.
LIMITS = {
    "cpu time": "LimitCPU",
    "file size": "LimitFSIZE",
    "data size": "LimitDATA",
    "stack size": "LimitSTACK",
    "core file size": "LimitCORE",
    "processes": "LimitNPROC",
    "locked memory": "LimitMEMLOCK",
    "address space": "LimitAS",
}
NULL, JOURNAL, GONE = "/dev/null", "the journal", "gone with its session"


@dataclass(frozen=True)
class Asked:
    """What the settings say of how a bot is run, and what the machine gives a unit by itself."""

    python: str
    script: str
    home: str
    log: str
    python_given: bool = False
    """Whether the Python is the user's own choice, and not the default."""
    command: Sequence[str] = ()
    arguments: Sequence[str] = ()
    output: str = "found"
    start: bool = True
    keep: Sequence[str] = ()
    drop: Sequence[str] = ()
    unit: str = ""
    open_files: int = 0
    limits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    oom_adjustment: int = 0
    nice: int = 0
    gid: int | None = None
    groups: Sequence[int] = ()
    """Those that the bot's user has by the machine's accounts now, and so his unit."""


@dataclass(frozen=True)
class Difference:
    """One row of the plan; what was found and what is wanted, fit for output."""

    what: str
    found: str
    wanted: str
    fate: str
    why: str = ""


@dataclass
class Plan:
    """How a bot's unit will run it, and each difference from what was found."""

    python: str
    unit: dict[str, Any]
    commands: list[list[str]] = field(default_factory=list)
    python_path: list[str] = field(default_factory=list)
    """The directories of `PYTHONPATH`, where the unit has it."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def refusals(self) -> list[str]:
        """What has to be decided first, each as one sentence with its next step."""
        return [each.why for each in self.differences if each.fate == REFUSED]

    def shown(self) -> dict[str, Any]:
        """The plan as preflight hands it on."""
        return {**asdict(self), "differences": [asdict(each) for each in self.differences]}


def make_plan(bot: str, asked: Asked, process: FoundProcess | None, seen: Seen, runs: str, pids: Sequence[int]) -> Plan:
    """Compare what was found with what is wanted.

    :param process: how the bot was run before its unit; None if that is not known.
    :param runs: what looks after it now: its own unit, another, `nohup`; empty if it does not run.
    :param pids: its independent copies.
    """
    return _Comparison(bot, asked, process, seen).plan(runs, pids)


class _Comparison:
    """One bot's comparison, aspect by aspect."""

    def __init__(self, bot: str, asked: Asked, process: FoundProcess | None, seen: Seen) -> None:
        self.bot, self.asked, self.process, self.seen = bot, asked, process, seen
        self.rows: list[Difference] = []
        self.directives: list[list[str]] = []

    def plan(self, runs: str, pids: Sequence[int]) -> Plan:
        """All aspects, in the order in which they are shown."""
        asked = self.asked
        if runs != asked.unit:
            if runs:
                self.add("runs", f"{runs}, pid {', '.join(map(str, pids))}", asked.unit, CHANGED)
            elif asked.start:
                why = "nothing that could be it runs; the rollout starts it"
                if self.process is None:
                    why += f", with no other variables than those of {environment_file(self.bot)}"
                self.add("runs", "not running", asked.unit, NOTED, why)
            else:
                why = f"patched, and {asked.unit} installed; nothing is started before bot_start is true"
                self.add("runs", "not running", "left stopped", NOTED, why)
        if len(pids) > 1:
            self.add("copies", str(len(pids)), "1", CHANGED, "they are the same command; each answers everything")
        program = self._program()
        command, words = self._words()
        directory = self._directory()
        if self.process is not None:
            self._kernel(self.process)
            self._environment(self.process)
        outputs = self._outputs()
        arguments = [program, *words]
        if any(path for path in outputs):
            # Not StandardOutput=append: that file is opened by root, and a link of the bot's user leads it anywhere.
            redirect = 'exec >>"$1" 2>>"$2"; shift 2; exec "$@"'
            arguments = ["/bin/sh", "-c", redirect, "sh", *(path or NULL for path in outputs), *arguments]
        self._writable(arguments, directory)
        unit = {"command": arguments, "directory": directory, "directives": self.directives}
        return Plan(program, unit, self._commands(command, words), self._python_path(directory), self.rows)

    def add(self, what: str, found: str, wanted: str, fate: str, why: str = "") -> None:
        """Add a row."""
        self.rows.append(Difference(what, found, wanted, fate, why))

    # -- the command --------------------------------------------------------------------------------------

    def _program(self) -> str:
        asked, seen = self.asked, self.seen
        if self.process is None or not seen.program:
            return asked.python
        same = os.path.normpath(asked.python) == seen.program
        beside = os.path.dirname(os.path.normpath(asked.python)) == os.path.dirname(seen.program)
        if same or (beside and not asked.python_given):
            return seen.program if not seen.program_problem else asked.python
        if asked.python_given:
            self.add("interpreter", seen.program, asked.python, CHANGED)
            return asked.python
        if seen.program_problem:
            why = f"{self.bot} runs with {seen.program}, which is not there any more: set bot_python to the one to use"
            self.add("interpreter", seen.program, asked.python, REFUSED, why)
            return asked.python
        self.add("interpreter", seen.program, seen.program, CARRIED)
        return seen.program

    def _words(self) -> tuple[Command | None, list[str]]:
        """What the interpreter is given: options, script or module, arguments; with variables for secrets."""
        asked = self.asked
        if self.process is None:
            return None, [*(asked.command or [asked.script]), *asked.arguments]
        secrets = secret_arguments(self.process.argv)
        plain = redact_argv(self.process.argv)
        hidden = [f"${{{secrets[i]}}}" if i in secrets else arg for i, arg in enumerate(self.process.argv)]
        found, shown, used = parsed(self.process.argv), parsed(plain), parsed(hidden)
        if asked.command:
            words = [*found.options, *asked.command, *asked.arguments]
            self._compare("command", [*shown.options, *shown.words], words, CHANGED)
            return found, words
        if not found.words:
            why = f"{self.bot} shows no command that could be run again ({' '.join(plain)[:80]}); set bot_command"
            self.add("command", " ".join(plain), "", REFUSED, why)
            return found, [asked.script]
        if found.options:
            self._compare("options", shown.options, shown.options, CARRIED)
        head = used.words[: len(used.words) - len(used.arguments)]
        if not self.seen.is_script:
            self._compare("command", head, head, CARRIED)
        if asked.arguments:
            arguments = list(asked.arguments)
            self._compare("arguments", shown.arguments, arguments, CHANGED)
        else:
            arguments = list(used.arguments)
            if arguments:
                self._compare("arguments", shown.arguments, shown.arguments, CARRIED)
        return found, [*found.options, *head, *arguments]

    def _compare(self, what: str, found: Sequence[str], wanted: Sequence[str], fate: str) -> None:
        if fate == CARRIED or list(found) != list(wanted):
            self.add(what, " ".join(found), " ".join(redact_argv(["-", *wanted])[1:]), fate)

    def _commands(self, found: Command | None, words: Sequence[str]) -> list[list[str]]:
        """The command lines that the bot is known by from now on, where its script alone does not tell it."""
        asked = self.asked
        given = bool(asked.command or asked.arguments)
        if not given and (found is None or self.seen.is_script):
            return []
        known = []
        if found is not None and self.process is not None and found.words:
            known.append(absolute_words(shown_words(self.process.argv), self.process.cwd))
        if given:
            wanted = shown_words(["python", *_without_variables(words)])
            known.append(absolute_words(wanted, self.seen.directory or asked.home))
        return [each for index, each in enumerate(known) if each and each not in known[:index]]

    def _directory(self) -> str:
        asked, seen = self.asked, self.seen
        directory = seen.directory if self.process is not None and seen.directory else os.path.normpath(asked.home)
        if self.process is None:
            return directory
        if seen.moved:
            why = "the checkout was moved, or its link leads elsewhere, since the process began"
            self.add("directory", self.process.cwd, directory, CHANGED, why)
        elif without_mark(self.process.cwd) != self.process.cwd or not directory.startswith("/"):
            why = (
                f"{self.bot} works in {self.process.cwd}, which is not there any more; start it anew from its "
                "checkout, and run again"
            )
            self.add("directory", self.process.cwd, asked.home, REFUSED, why)
            return os.path.normpath(asked.home)
        elif directory != os.path.normpath(asked.home):
            self.add("directory", self.process.cwd, directory, CARRIED)
        return directory

    # -- the process --------------------------------------------------------------------------------------

    def _kernel(self, process: FoundProcess) -> None:
        """What the kernel knows of a process, where a unit would have something else."""
        if int(process.umask or "022", 8) != 0o022:
            self._carry("umask", process.umask, "UMask", process.umask)
        self._groups(process)
        if process.nice != self.asked.nice:
            self._carry("nice", str(process.nice), "Nice", str(process.nice))
        policy = process.policy & 0xFF
        if policy in POLICIES:
            self._carry("scheduling", POLICIES[policy], "CPUSchedulingPolicy", POLICIES[policy])
            if process.priority:
                self.directives.append(["CPUSchedulingPriority", str(process.priority)])
        elif policy:
            self.add("scheduling", f"policy {policy}", "other", NOTED, "no unit can have it")
        if process.affinity:
            processors = " ".join(map(str, process.affinity))
            self._carry("processors", processors, "CPUAffinity", processors)
        if process.oom_adjustment != self.asked.oom_adjustment:
            self._carry("OOM score", str(process.oom_adjustment), "OOMScoreAdjust", str(process.oom_adjustment))
        for name, directive in LIMITS.items():
            have, default = list(process.limits.get(name, [])), list(self.asked.limits.get(name, []))
            if have and default and have != default:
                value = ":".join("infinity" if each == "unlimited" else each for each in have)
                self._carry(name, " / ".join(have), directive, value)
        soft = (process.limits.get("open files") or ["?"])[0]
        if self.asked.open_files and soft != str(self.asked.open_files):
            self.add("open files", soft, str(self.asked.open_files), CHANGED)

    def _groups(self, process: FoundProcess) -> None:
        """Its groups, which a login may have left behind: root gives no unit one that its user is not in."""
        asked = self.asked
        if asked.gid is None:
            return
        if process.gid != asked.gid and process.gid in asked.groups:
            self._carry("group", group_name(process.gid), "Group", group_name(process.gid))
        has, gets = {process.gid, *process.groups}, {asked.gid, *asked.groups}
        if has != gets:
            lost, new = (", ".join(map(group_name, sorted(each))) for each in (has - gets, gets - has))
            why = [f"{self.bot} has {lost}, which its user is not in any more, and its unit has not"] if lost else []
            why += [f"its user is in {new} since it was started, and so is its unit"] if new else []
            names = [" ".join(map(group_name, sorted(each))) for each in (has, gets)]
            self.add("groups", names[0], names[1], NOTED, "; ".join(why))

    def _carry(self, what: str, found: str, directive: str, value: str) -> None:
        self.add(what, found, found, CARRIED)
        self.directives.append([directive, value])

    def _environment(self, process: FoundProcess) -> None:
        names = plan_environment(process.environment, self.asked.keep, self.asked.drop).names()
        if names["carried"]:
            self.add("environment", f"{len(names['carried'])} variables", "the same", CARRIED)
        if names["steering"]:
            said = ", ".join(names["steering"])
            self.add("environment", said, "without", NOTED, f"{said}: {UNLESS_KEPT}")
        if names["refused"]:
            said = ", ".join(names["refused"])
            self.add("environment", said, "without", NOTED, f"systemd cannot hand on {said}")

    def _python_path(self, directory: str) -> list[str]:
        if self.process is None:
            return []
        carried = plan_environment(self.process.environment, self.asked.keep, self.asked.drop).carried
        paths = carried.get("PYTHONPATH", "")
        return [os.path.normpath(os.path.join(directory, path)) for path in paths.split(":")] if paths else []

    # -- its streams --------------------------------------------------------------------------------------

    def _outputs(self) -> list[str]:
        """The files that its output goes to, as two paths, empty where it goes to none."""
        if self.process is None or not self.process.streams or self.asked.output == "journal":
            if self.process is not None and self.process.streams:
                self.add("output", self._stream(1), JOURNAL, CHANGED)
            return []
        entry = self.process.streams[0]
        if entry not in ("", NULL) and not entry.startswith(("/dev/", "pipe:", "socket:")):
            self.add("input", entry, NULL, NOTED, "a unit's bot reads nothing")
        files, kinds = ["", ""], [self._stream(1), self._stream(2)]
        together = kinds[0] == kinds[1]
        for index, kind in enumerate(kinds):
            name = ("output" if not together else "outputs", "errors")[index]
            files[index] = self._output(name, self.process.streams[index + 1], kind, quiet=together and index == 1)
            if kind in (NULL, GONE):
                self.directives.append([("StandardOutput", "StandardError")[index], "null"])
        if any(files):
            files = [path or NULL for path in files]
            # What the shell that opens them has to say is for the journal.
            self.directives = [each for each in self.directives if not each[0].startswith("Standard")]
        return files

    def _output(self, name: str, target: str, kind: str, quiet: bool) -> str:
        """The file that one stream goes to; empty if to none. Quiet, it is the other one's, which has a row."""
        rows = len(self.rows)
        if kind == NULL:
            self.add(name, NULL, NULL, CARRIED)
        elif kind == GONE:
            self.add(name, f"{target or 'closed'}, {GONE}", NULL, NOTED, "bot_output: journal would show it")
        elif kind.startswith("/"):
            self.add(name, target, kind, CARRIED)
            if target in self.seen.unwritable:
                why = f"{self.bot} writes its {name} to {kind}, which its user could not open again; correct its mode"
                self.add(name, kind, kind, REFUSED, why)
        elif kind != JOURNAL:
            why = (
                f"the {name} of {self.bot} is a pipe that {kind} reads, and a unit has none: write to a file instead "
                "(`>> file 2>&1`), or set bot_output to journal"
            )
            self.add(name, kind, JOURNAL, REFUSED, why)
        if quiet:
            del self.rows[rows:]
        return kind if kind.startswith("/") and kind != NULL else ""

    def _stream(self, number: int) -> str:
        """Where a stream leads: a file's path, NULL, JOURNAL, GONE, or who reads it."""
        assert self.process is not None
        target = self.process.streams[number]
        if target == NULL:
            return NULL
        if target.startswith("/dev/"):
            return GONE
        if target.startswith("/"):
            rotated = re.fullmatch(re.escape(self.asked.log) + r"\.\d+", target)
            return self.asked.log if rotated else file_of(target) or GONE
        if target.startswith("pipe:"):
            return self.seen.readers.get(target, GONE)
        in_service = any(e.startswith("JOURNAL_STREAM=") for e in self.process.environment)
        return JOURNAL if target.startswith("socket:") and in_service else GONE

    def _writable(self, command: Sequence[str], directory: str) -> None:
        """Refuse what no unit file can hold."""
        for what, text in [("directory", directory), *(("command", each) for each in command)]:
            odd = [c for c in text if ord(c) < 0x20 or ord(c) == 0x7F or 0xD800 <= ord(c) < 0xE000]
            if odd or (what == "directory" and (text != text.strip() or text.endswith("\\"))):
                why = (
                    f"the {what} of {self.bot} holds {odd[0] if odd else text[-1]!r}, which no unit file can hold: put "
                    "it into a script of its own, and set bot_command"
                )
                self.add(what, repr(text)[:80], "", REFUSED, why)
        if set(command[0]) & set("\"'\\"):
            why = f"{command[0]} holds a quote or a backslash, and systemd starts no such program; set bot_python"
            self.add("interpreter", command[0], "", REFUSED, why)


def _without_variables(words: Sequence[str]) -> list[str]:
    return ["***" if re.fullmatch(r"\$\{WEBEX_BOT_ARGUMENT_\d+\}", word) else word for word in words]
