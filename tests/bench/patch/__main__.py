"""The patch engine at length: python -m tests.bench.patch [programs|checkouts|library|packages|speed] [--shard 1/4].

Ten thousand generated programs with all their properties; as many generated checkouts, laid out and started in all
ways, each started before and after its patch; every Python file of this machine's standard library and
site-packages (and of other Pythons, if given), with CPython's symbol table as the judge of each name; and the time a
long bot takes. Exits with 1 if a promise is broken. With `--shard` each of several runs, one after the other or on
several machines, does its share: other programs, checkouts and files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import sysconfig
import tempfile
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import libcst as cst
from hypothesis import HealthCheck, given, seed, settings
from libcst.metadata import MetadataWrapper, QualifiedNameProvider

from plugin_utils.client_patch import NoClientError, PatchError, patch
from plugin_utils.client_patch.names import PACKAGES
from tests.unit.patch.case_files import SETTINGS
from tests.unit.patch.checkouts import check, install
from tests.unit.patch.oracle import compare
from tests.unit.patch.programs import Program, any_program
from tests.unit.patch.properties import check_program

PROJECT = Path(__file__).resolve().parents[3]
BOT = PROJECT / "tests" / "lab" / "checkout" / "webex_bots" / "jarvis.py"
SDKS = tuple(name.encode() for name in PACKAGES)
PARTS = ("speed", "library", "packages", "checkouts", "programs")
LONG_BOT = 2500  # lines
LONG_BOT_LIMIT = 1.5  # s


# -- generated programs


def check_programs(number: int, examples: int) -> Counter[str]:
    """One worker's share: what came up in the programs. A broken property raises, with the smallest such program."""
    seen: Counter[str] = Counter()

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(any_program())
    def check(program: Program) -> None:
        result = check_program(program)
        seen["programs"] += 1
        seen["lines"] += program.text.count("\n")
        seen.update(item.action for item in result.constructions)
        seen.update(f"finding: {item.kind}" for item in result.findings)

    warnings.simplefilter("ignore", SyntaxWarning)
    check()
    return seen


# -- generated checkouts


def check_checkouts(first: int, count: int) -> tuple[Counter[str], list[str]]:
    """One worker's share: what became of them, and those whose patched program does not start as before."""
    seen: Counter[str] = Counter()
    broken = []
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        installed = install(Path(directory) / "installed")
        for number in range(first, first + count):
            try:
                seen[check(number, Path(directory) / str(number), installed)] += 1
            except AssertionError as error:
                broken.append(f"checkout {number}: {str(error)[:300]}")
    return seen, broken


# -- real files


@dataclass
class Files:
    """What the engine made of a set of files."""

    files: int = 0
    lines: int = 0
    seconds: float = 0
    refused: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    # Names looked up by the scope analysis and by CPython, and where they differ.
    names: int = 0
    unpaired: int = 0
    disagreements: list[str] = field(default_factory=list)

    def add(self, other: Files) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def check_files(paths: list[Path]) -> Files:
    """Patches files on paper."""
    result = Files()
    warnings.simplefilter("ignore")
    for path in paths:
        raw = path.read_bytes()
        result.files += 1
        result.lines += raw.count(b"\n")
        start = time.process_time()
        try:
            if patch(raw, SETTINGS, str(path)).changed:
                result.changed.append(f"{path}{'' if any(sdk in raw for sdk in SDKS) else ' (constructs no client)'}")
        except NoClientError:
            pass
        except PatchError as error:
            result.refused.append(f"{path}:{error.line}:{error.column}: {error.message}")
        except BaseException as error:
            result.crashed.append(f"{path}: {type(error).__name__}: {error}")
        result.seconds += time.process_time() - start
        _judge_names(path, result)
    return result


def _judge_names(path: Path, result: Files) -> None:
    try:
        with tokenize.open(path) as stream:
            compared = compare(stream.read())
    except (SyntaxError, ValueError, cst.ParserSyntaxError, RecursionError):
        return
    result.names += compared.uses
    result.unpaired += compared.unpaired
    result.disagreements += [f"{path}: {item}" for item in compared.disagreements]


def _chunks(paths: list[Path], size: int = 50) -> Iterator[list[Path]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


# -- a long bot


@dataclass
class Speed:
    lines: int
    parsing: float
    qualified_names: float
    patching: float
    patching_again: float


def long_bot() -> bytes:
    """The lab's jarvis with more commands than anybody could want."""
    text = BOT.read_text(encoding="utf-8")
    command = text[text.index("class Case(Command):") : text.index("class Hunt(Command):")]
    parts = [text]
    number = 0
    while "".join(parts).count("\n") < LONG_BOT:
        number += 1
        parts.append(command.replace("class Case(", f"class Case{number}("))
    return "".join(parts).encode()


def _median(action: object, repetitions: int = 5) -> float:
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        action()  # type: ignore[operator]
        times.append(time.process_time() - start)
    return statistics.median(times)


def measure_speed() -> Speed:
    """Processor seconds, medians of five."""
    source = long_bot()
    patched = patch(source, SETTINGS).source
    tree = cst.parse_module(source)
    return Speed(
        lines=source.count(b"\n"),
        parsing=_median(lambda: cst.parse_module(source)),
        qualified_names=_median(lambda: MetadataWrapper(tree, unsafe_skip_copy=True).resolve(QualifiedNameProvider)),
        patching=_median(lambda: patch(source, SETTINGS)),
        patching_again=_median(lambda: patch(patched, SETTINGS)),
    )


# -- all of it


def _print_programs(examples: int, workers: int, shard: slice) -> dict[str, object]:
    share = 250
    numbers = range(-(-examples // share))[shard]
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(check_programs, numbers, [share] * len(numbers)):
            seen += part
            print(f"  {seen['programs']:,} programs so far", file=sys.stderr, flush=True)
    print(f"generated programs: all properties hold of {seen['programs']:,} programs ({seen['lines']:,} lines)")
    for name, count in sorted(seen.items()):
        print(f"  {name:<20} {count:>9,}")
    return dict(seen)


def _print_checkouts(examples: int, workers: int, shard: slice) -> tuple[Counter[str], list[str]]:
    share = 100
    starts = range(0, examples, share)[shard]
    seen: Counter[str] = Counter()
    broken: list[str] = []
    with ProcessPoolExecutor(workers) as pool:
        for part, failed in pool.map(check_checkouts, starts, [share] * len(starts)):
            seen += part
            broken += failed
            print(f"  {sum(seen.values()):,} checkouts so far", file=sys.stderr, flush=True)
    print(f"generated checkouts, started before and after their patch: {sum(seen.values()) + len(broken):,}")
    for name, count in seen.most_common():
        print(f"  {name:<48} {count:>7,}")
    print(f"  {'written, and does not start as before':<48} {len(broken):>7,}")
    return seen, broken


def _print_files(roots: Iterable[Path], workers: int, shard: slice) -> Files:
    paths = sorted({path for root in roots for path in root.rglob("*.py") if path.is_file()})[shard]
    total = Files()
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(check_files, _chunks(paths)):
            total.add(part)
            print(f"  {total.files:,} of {len(paths):,} files so far", file=sys.stderr, flush=True)
    print(
        f"files: {total.files:,} with {total.lines:,} lines, {1e6 * total.seconds / total.lines:.0f} ms for 1,000 lines"
    )
    print(f"  crashed {len(total.crashed)}, changed {len(total.changed)}, not parsable {len(total.refused)}")
    print(f"  names looked up as CPython does: {total.names - len(total.disagreements):,} of {total.names:,}", end="")
    print(f" ({total.unpaired:,} of them not compared)" if total.unpaired else "")
    for line in [*total.crashed, *total.changed, *total.refused, *total.disagreements]:
        print(f"  {line[:200]}")
    return total


def _print_speed() -> Speed:
    speed = measure_speed()
    print(f"a bot of {speed.lines:,} lines, processor seconds (median of 5), the last two with parsing:")
    for name in ("parsing", "qualified_names", "patching", "patching_again"):
        print(f"  {name.replace('_', ' '):<20} {getattr(speed, name):.2f}")
    return speed


def _shard(text: str) -> slice:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text} is no share, as in 1/4")
    return slice(int(number) - 1, None, int(of))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.patch", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument("--examples", type=int, default=10_000, help="generated programs, and as many checkouts")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another Python's library, for files")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shard", type=_shard, default=slice(None), help="K/N: the Kth of N shares of each part")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = arguments.parts or PARTS
    figures: dict[str, object] = {"python": platform.python_version(), "cores": os.cpu_count()}
    print(f"Python {figures['python']}, {figures['cores']} cores, LibCST {cst.LIBCST_VERSION}")
    broken = []
    if "speed" in parts:
        speed = _print_speed()
        figures["speed"] = asdict(speed)
        if speed.patching > LONG_BOT_LIMIT:
            broken.append(f"a long bot takes more than {LONG_BOT_LIMIT} s")
    names = sysconfig.get_paths()
    roots = [Path(names[name]) for part, name in (("library", "stdlib"), ("packages", "purelib")) if part in parts]
    if roots or arguments.also:
        files = _print_files([*roots, *arguments.also], arguments.workers, arguments.shard)
        figures["files"] = asdict(files)
        broken += [f"crashed: {item}" for item in files.crashed]
        broken += [f"changed: {item}" for item in files.changed if item.endswith("(constructs no client)")]
        broken += [f"name: {item}" for item in files.disagreements]
    if "checkouts" in parts:
        became, failed = _print_checkouts(arguments.examples, arguments.workers, arguments.shard)
        figures["checkouts"] = dict(became)
        broken += failed
    if "programs" in parts:
        figures["programs"] = _print_programs(arguments.examples, arguments.workers, arguments.shard)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for item in broken:
        print(f"BROKEN: {item}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
