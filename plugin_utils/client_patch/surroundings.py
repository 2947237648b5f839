"""What a program's checkout says of how it is started, and the pool module's place that follows from it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .layout import Importers, Imports, Layout, find_importers, read_imports
from .pool_place import AUTO, POOL_FILE, Placing, PoolPlace
from .source import Source
from .starts import MAIN, Command, Start, Starts, find_commands

# What the bot's own Python says of a place: why the import would not resolve in one of the starts; empty if it does.
Prove = Callable[[PoolPlace, Sequence[tuple[str, Sequence[str]]]], str]
_POOL_MARK = b"configure_webex_api_session"


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
        layout = Layout([*files, *listing])
        imports: dict[str, Imports | None] = {
            path: read_imports(raw) for path, raw in files.items() if path.endswith(".py")
        }
        commands: list[Command] = find_commands(files)
        importers: Importers = find_importers(layout, imports)
        starts = Starts(layout, imports, importers, commands, search_paths)
        taken = {
            path
            for path, raw in files.items()
            if posixpath.basename(path) == f"{POOL_FILE}.py" and _POOL_MARK not in raw
        }
        return cls(layout, starts, setting, home, known or {}, frozenset(taken), prove)

    def starts_of(self, file: str) -> list[Start]:
        """How a file comes to run."""
        return list(self.known.get(file) or self.starts.of(file))

    def package(self, file: str) -> str:
        """The package that a file runs in, against which its relative imports count; empty if it runs in none."""
        return next((start.package for start in self.starts_of(file) if start.package), "")

    def placings(self, source: Source) -> Iterator[tuple[Placing, list[Start]]]:
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
                yield Placing(source, chosen, self.layout, self.taken, self.home), left
