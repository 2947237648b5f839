"""What a program's checkout says of how it is started, and the pool module's place that follows from it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from module_utils.webex_rollout.ahead import AROUND, below
from module_utils.webex_rollout.command_line import is_python as is_interpreter
from module_utils.webex_rollout.command_line import parsed

from .barring import Barring
from .layout import Importers, Imports, Layout, find_importers, is_python, read_imports
from .package_path import package_paths
from .pool_place import AUTO, POOL_FILE, Placing, PoolPlace
from .source import Source
from .starts import MAIN, Command, Start, Starts, find_commands

# What the bot's own Python says of a place: why the import would not resolve in one of the starts; empty if it does.
Prove = Callable[[PoolPlace, Sequence[tuple[str, Sequence[str]]]], str]
_SAFE = re.compile(r"-[A-Za-z]*[PI]")
_POOL_MARK = b"configure_webex_api_session"


@dataclass(frozen=True)
class Started:
    """How a bot on a VM is started, and what is to be done with that."""

    # `webex_pool_module`.
    setting: str = AUTO
    home: str = ""
    # The name that is given to -m; without it the bot is started by its script's path.
    module: str = ""
    # Where it is started, relative to the checkout; None for elsewhere.
    directory: str | None = ""
    # Whether Python is told to leave the script's own directory, and the one it is started in, off the path (-P, -I).
    is_safe: bool = False
    # Directories of the checkout that are on the path besides, such as those of PYTHONPATH.
    path: tuple[str, ...] = ()
    prove: Prove | None = None

    def start(self, script: str) -> Start:
        """The one way in which the script is started."""
        own = self.directory if self.module else posixpath.dirname(script)
        path = (*([] if own is None or self.is_safe else [own]), *self.path)
        if not self.module:
            return Start(MAIN, path, "", "its unit")
        package = script.endswith("/__main__.py") and not self.module.endswith(".__main__")
        name = f"{self.module}.__main__" if package else self.module
        return Start(name, path, name.rpartition(".")[0], f"started as -m {self.module}")

    @classmethod
    def by(cls, command: Sequence[str], directory: str, home: str, **more: Any) -> Started:
        """How a command that runs in a directory starts a bot of a checkout; all of it as on the bot's machine."""
        first = next((number for number, word in enumerate(command) if is_interpreter(word)), len(command))
        found = parsed(command[first:])
        module = found.words[1] if found.kind == "module" else ""
        is_safe = any(_SAFE.match(option) for option in found.options)
        return cls(module=module, directory=below(directory or home, home), is_safe=is_safe, home=home, **more)


@dataclass
class Surroundings:
    """A checkout around its programs.

    :param setting: `webex_pool_module`. :param home: where the checkout is, if that is known. :param known: starts that
        were seen, by file; they count instead of what the checkout says.
    """

    layout: Layout
    starts: Starts
    setting: str = AUTO
    home: str = ""
    known: Mapping[str, Sequence[Start]] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    prove: Prove | None = None

    @classmethod
    def of_files(
        cls,
        files: Mapping[str, bytes],
        listing: Iterable[str] = (),
        setting: str = AUTO,
        home: str = "",
        search_paths: Sequence[str] = (),
        known: Mapping[str, Sequence[Start]] | None = None,
        prove: Prove | None = None,
    ) -> Surroundings:
        """From the contents of a checkout's files; `listing` names those whose contents are not at hand."""
        layout = Layout([*files, *listing], package_paths(files, home))
        imports: dict[str, Imports | None] = {
            path: read_imports(raw) for path, raw in files.items() if is_python(path, raw)
        }
        commands: list[Command] = find_commands(files)
        importers: Importers = find_importers(layout, imports)
        starts = Starts(layout, imports, importers, commands, search_paths)
        taken = {
            path
            for path, raw in files.items()
            if posixpath.basename(path) == f"{POOL_FILE}.py" and _POOL_MARK not in raw
        }
        active = frozenset(path for path, item in imports.items() if item is None or not item.is_quiet)
        return cls(layout, starts, setting, home, known or {}, frozenset(taken), active, prove)

    @classmethod
    def of_script(
        cls,
        read: Callable[[Sequence[str]], Mapping[str, bytes]],
        script: str,
        modules: Mapping[str, bytes],
        started: Started,
    ) -> Surroundings:
        """From one script, the modules that it imports, and those files around it that matter; one reading more."""
        directories = ["", *started.path]
        for path in (script, *modules):
            parts = posixpath.dirname(path).split("/")
            directories += ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        wanted = [posixpath.join(item, name) for item in dict.fromkeys(directories) for name in AROUND]
        files = {**modules, **read(sorted({path for path in wanted if path not in modules}))}
        known = {script: [started.start(script)]}
        return cls.of_files(files, (), started.setting, started.home, started.path, known, started.prove)

    def starts_of(self, file: str) -> list[Start]:
        """How a file comes to run."""
        if file not in self.known:
            return self.starts.of(file)
        needed = tuple(self.starts.importers.roots.get(file, ()))
        return [replace(start, needed=needed) for start in self.known[file]]

    def package(self, file: str) -> str:
        """The package that a file runs in, against which its relative imports count; empty if it runs in none."""
        return next((start.package for start in self.starts_of(file) if start.package), "")

    def placings(self, source: Source, barring: Barring) -> Iterator[tuple[Placing, list[Start]]]:
        """The placing for all starts of a program; then, where those do not agree, for the better known ones.

        Each comes with the starts that it leaves out.
        """
        starts = self.starts_of(source.path)
        ranked = [
            starts,
            [start for start in starts if start.why],
            [start for start in starts if start.name != MAIN],
            [start for start in starts if start.name == MAIN],
        ]
        done: list[list[Start]] = []
        for chosen in ranked:
            if chosen and chosen not in done:
                done.append(chosen)
                left = [start for start in starts if start not in chosen]
                yield Placing(source, chosen, self.layout, self.taken, self.home, self.active, barring), left
