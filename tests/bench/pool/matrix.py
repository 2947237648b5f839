"""The pool module's suite over Pythons, SDKs, webex_bot, requests and urllib3: python -m tests.bench.pool.matrix.

Environments are made once and kept in the cache. A Python that is not on this machine is named, not passed over. What
has passed with the module and the suite as they are is not run again when the matrix was interrupted; `--again` does.
`--current` runs it with what is released today instead, and says what has moved since the pinned versions and which of
the module's assumptions a new release breaks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.unit.pool.environments import CACHE, NEWEST, OLD_REQUESTS, Environment
from tests.unit.pool.runner import MODULE, READER, SUITE, Outcome, run_suite

PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
REFERENCE = "3.11"
TEAMS_SDK = "webexteamssdk==1.7"
PASSED = CACHE / "passed.json"
# Only a suite that hangs is to be ended: on a busy machine one takes many minutes.
LIMIT = 3600  # s


def find_python(version: str) -> Path | None:
    """An interpreter of this version: on the PATH, or among pyenv's or uv's."""
    home = Path.home()
    candidates = [
        shutil.which(f"python{version}"),
        *sorted(home.glob(f".pyenv/versions/{version}.*/bin/python")),
        *sorted(home.glob(f".local/share/uv/python/cpython-{version}.*/bin/python")),
    ]
    for candidate in candidates:
        # pyenv leaves launchers on the PATH for Pythons that are not switched on; they fail.
        if candidate and _version(candidate) == version:
            return Path(candidate)
    return None


def _version(python: str | Path) -> str:
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", show], capture_output=True, text=True, check=False).stdout.strip()


def environments(version: str, python: Path) -> Iterator[Environment]:
    """What is tried with one Python: the ends for each, every step in between for the reference."""

    def libraries(requests: str, urllib3: str) -> Environment:
        pins = (TEAMS_SDK, f"requests=={requests}", f"urllib3=={urllib3}")
        return Environment(f"py{version}-requests{requests}-urllib3-{urllib3}", pins, python=python)

    def bot(webex_bot: str, *forced: str) -> Environment:
        name = f"py{version}-webex_bot{webex_bot}" + "".join(f"-{pin.replace('==', '')}" for pin in forced)
        pins = (f"webex_bot=={webex_bot}", "future==1.0.0")
        return Environment(name, pins, (TEAMS_SDK, *forced), python)

    newest = {"3.7": ("2.31.0", "2.0.7"), "3.8": ("2.32.3", "2.2.3"), "3.9": ("2.32.5", "2.6.3")}
    if version in newest:  # the last that support it; webex_bot from 0.6 on never did
        yield libraries(*newest[version])
        yield Environment(f"py{version}-oldest", ("webexteamssdk==1.3", *OLD_REQUESTS), python=python)
        if version != "3.7":
            yield bot("0.2.3", *OLD_REQUESTS)
            yield bot("0.5.2")
        return
    yield bot("1.0.8", "urllib3==1.26.20")
    yield bot("1.3.1", "urllib3==2.8.0", "requests==2.34.2")
    if version == REFERENCE:
        older, newer = (("2.25.0", "1.26.5"), ("2.28.0", "1.26.20")), (("2.32.3", "2.2.3"), ("2.33.1", "2.6.3"))
        for requests, urllib3 in (*older, ("2.31.0", "2.0.7"), *newer):
            yield libraries(requests, urllib3)
        # Not 1.3.0: nobody can construct its WebexBot, which asks for its proxies before it sets them.
        for webex_bot in ("0.6.2", "1.0.0", "1.0.4", "1.1.12", "1.1.13", "1.2.0", "1.2.8"):
            yield bot(webex_bot)


def main() -> int:
    """Run the matrix, or today's releases; 1 if anything failed or was missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pool.matrix", description=__doc__.split("\n")[0])
    parser.add_argument("--current", action="store_true", help="with today's releases instead")
    parser.add_argument("--again", action="store_true", help="run what has passed before as well")
    parser.add_argument("beginnings", nargs="*", help="of the names of the environments to run; all if none is given")
    arguments = parser.parse_args()
    if arguments.again:
        PASSED.unlink(missing_ok=True)
    return run_current() if arguments.current else run_matrix(tuple(arguments.beginnings))


def run_current() -> int:
    """The suite with today's releases: what has moved, and each test that no longer passes."""
    names = [pin.partition("==")[0] for pin in (*NEWEST.pins, *NEWEST.forced)]
    forced = [pin.partition("==")[0] for pin in NEWEST.forced]
    for old in CACHE.glob("current-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    pins = tuple(name for name in names if name not in forced)
    environment = Environment(f"current-{time.strftime('%Y-%m-%d')}", pins, tuple(forced))
    argv = [environment.interpreter(), "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    told = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    installed = {_canonical(each["name"]): each["version"] for each in told}
    for pin in (*NEWEST.pins, *NEWEST.forced):
        name, _, version = pin.partition("==")
        now = installed[_canonical(name)]
        print(f"{name:<20}{version:>10}{'' if now == version else f' -> {now}'}")
    outcome = _try(environment)
    for line in outcome.text.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"BROKEN by a new release: {line}")
    print(f"{'ok    ' if outcome.code == 0 else 'FAILED'} {environment.name} {json.dumps(outcome.counts)}")
    return outcome.code


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def run_matrix(beginnings: tuple[str, ...] = ()) -> int:
    """Run everything, three environments at a time; a table, and 1 if anything failed or was missing."""
    found = {version: find_python(version) for version in PYTHONS}
    every = [each for version, python in found.items() if python for each in environments(version, python)]
    chosen = [each for each in every if not beginnings or each.name.startswith(beginnings)]
    bad = [version for version, python in found.items() if python is None]
    for version in bad:
        print(f"Python {version}: not on this machine")
    start = time.monotonic()
    passed = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    left = [each for each in chosen if _fingerprint(each) not in passed]
    for each in chosen:
        if each not in left:
            print(f"before {each.name:<60}{json.dumps(passed[_fingerprint(each)])}", flush=True)
    with ThreadPoolExecutor(3) as threads:
        for environment, outcome in zip(left, threads.map(_try, left), strict=True):
            print(
                f"{'ok    ' if outcome.code == 0 else 'FAILED'} {environment.name:<60}{json.dumps(outcome.counts)}",
                flush=True,
            )
            if outcome.code:
                bad.append(environment.name)
                print(outcome.text[-3000:])
            else:
                passed[_fingerprint(environment)] = outcome.counts
                PASSED.write_text(json.dumps(passed), encoding="utf-8")
    print(f"{len(left)} of {len(chosen)} environments in {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


def _fingerprint(environment: Environment) -> str:
    """Stands for an environment with the module and the suite as they are."""
    digest = hashlib.sha256(repr((environment, _version(environment.python or sys.executable))).encode())
    for path in (MODULE, READER, *sorted(SUITE.rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _try(environment: Environment) -> Outcome:
    try:
        return run_suite(environment, limit=LIMIT)
    except (RuntimeError, subprocess.TimeoutExpired) as failure:  # it cannot be installed, or the machine is too slow
        return Outcome(2, str(failure))


if __name__ == "__main__":
    sys.exit(main())
