"""One program patched so that the import of the pool module resolves as the program is started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .model import START, Finding, NoClientError, PatchError, Result, Settings
from .patching import Patcher
from .pool_place import AUTO, POOL_FILE, Placing, PoolPlace
from .source import Source
from .starts import Start
from .surroundings import Surroundings
from .survey import Known
from .templates import MODULE, Wrappers
from .tree import dotted
from .unpatching import Unpatcher


class SourceError(Exception):
    """A file of the checkout cannot be patched: which, where, why and what to do. Nothing was changed.

    What was seen in it all the same is in `findings`.
    """

    def __init__(self, message: str, findings: Iterable[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = list(findings)


def place(
    source: Source, settings: Settings, around: Surroundings, known: Known
) -> tuple[Result, PoolPlace | None, list[Finding]]:
    """The program patched, the pool module's place, and the starts in which that would not do.

    The place is None where the program is pooled already by a module that cannot be told.

    :raises NoClientError: if it constructs no client. :raises SourceError: if no import would resolve.
    """
    module = Wrappers.from_settings(settings).pool_module
    setting = around.setting if module == MODULE else module
    problems: list[str] = []
    for placing, left in around.placings(source, known.barring):
        for found in placing.places(setting):
            patched = run(source.path, Patcher(source, settings_at(settings, found, source), known))
            after = Source(patched.source, source.path, source.package) if patched.changed else source
            problem = _problem(placing, after, found, around if patched.changed else None)
            if not problem:
                return patched, found, _not_served(placing, found, left)
            problems.append(problem)
        where = placing.started(placing.starts[0])
        taken = f" ({placing.met} is something else)" if placing.met else ""
        problems = problems or [f"no directory that Python searches has a place for it{taken} {where}"]
    patched = run(source.path, Patcher(source, settings_at(settings, None, source), known))
    first = patched.constructions[0]
    if all(item.action in ("unchanged", "updated") for item in patched.constructions):
        message = f"pooled already, but {problems[0]}"
        imported = imported_pool(source)
        there = replace(imported, file=placing.file_of(imported.module)) if imported is not None else None
        return patched, there, [Finding(source.path, first.line, first.column, START, message)]
    raise SourceError(
        f"{source.path}:{first.line}: the import of {'the pool module' if setting == AUTO else setting} would not "
        f"resolve: {problems[0]}; {_advice(setting)}",
        patched.findings,
    )


def _problem(placing: Placing, patched: Source, found: PoolPlace, around: Surroundings | None) -> str:
    """Why an import would not resolve; of one that is to be written the bot's Python is asked as well."""
    problem = placing.problem(patched, found)
    if not problem and around is not None and around.prove is not None:
        problem = around.prove(found, placing.questions(patched, found))
    return problem


def _not_served(placing: Placing, found: PoolPlace, left: Iterable[Start]) -> list[Finding]:
    """The starts, thought to be less likely, in which the import would not resolve."""
    return [
        Finding(placing.file, 1, 1, START, f"`from {found.written} import …` does not resolve {placing.started(start)}")
        for start in left
        if not placing.resolves(found.written, found.file, start, placing.changes)
    ]


def _advice(setting: str) -> str:
    if setting == AUTO:
        return "name a directory that is on its path in webex_patch_search_paths, or the module in webex_pool_module"
    return "set webex_pool_module: auto, or a module that Python finds as the bot is started"


def settings_at(settings: Settings, place: PoolPlace | None, source: Source) -> Settings:
    """The settings with the pool module's name filled in."""
    if place is None:
        # A program that is pooled already, or is refused in the end; it is looked at all the same.
        place = imported_pool(source) or PoolPlace(POOL_FILE, POOL_FILE, f"{POOL_FILE}.py")
    return replace(settings, written=place.written, module=place.module, needs_path=place.needs_path)


def imported_pool(source: Source) -> PoolPlace | None:
    """The pool module that a program imports already."""
    for node, module, _ in source.program.from_imports:
        if module.rpartition(".")[2] == POOL_FILE:
            written = "." * len(node.relative) + dotted(node.module) if node.relative else module
            return PoolPlace(module, written, "", True)
    return None


def run(path: str, worker: Patcher | Unpatcher) -> Result:
    """The worker's result.

    :raises NoClientError: if the file constructs no client. :raises SourceError: if it cannot be patched.
    """
    try:
        return worker.run()
    except NoClientError:
        raise
    except PatchError as error:
        raise SourceError(f"{shown_place(path, error)}: {error.message}") from error


def shown_place(path: str, error: PatchError) -> str:
    return f"{path}:{error.line}:{error.column}" if error.line else path
