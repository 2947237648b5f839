"""Checkouts made at random: nothing outside of one changes, nothing hangs, and every error is a sentence."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.webex_rollout.entries import Entry
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.files import Files
from ansible.module_utils.webex_rollout.logs.reader import LogReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.unit.people import People

# What a directory or file on the way to a managed path may be made of; {out} is a directory that is not the checkout.
SHAPES = ("as it is", "link out", "link up", "link to itself", "fifo", "sparse", "file", "directory", "gone", "locked")
PARTS = ("webex_bots", "webex_bots/jarvis.py", "src", "src/utils", "src/utils/webex_pool_config.py", "logs/jarvis.log")
PATHS = ("webex_bots/jarvis.py", "src/utils/webex_pool_config.py", "logs/jarvis.log", "webex_bots/od\nd \udcff'\".py")
SWAPPER = """
import os, sys
top, out = sys.argv[1:]
while True:  # the directory is the checkout's, and then it is not
    for place in ("webex_bots", "src/utils"):
        path = os.path.join(top, place)
        try:
            os.rename(path, path + ".kept")
            os.symlink(out, path)
            os.unlink(path)
            os.rename(path + ".kept", path)
        except OSError:
            pass
"""


def plain_tree(top: Path) -> None:
    for path in ("webex_bots", "src/utils", "logs"):
        (top / path).mkdir(parents=True)
    for path in PATHS:
        Path(os.fsencode(top / path).decode("utf-8", "surrogateescape")).write_text("his own\n")


def shape(path: Path, kind: str, out: Path) -> None:
    """Put something else in a path's place; where the way to it is gone already, nothing."""
    if kind == "as it is":
        return
    with contextlib.suppress(OSError):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        if kind == "link out":
            path.symlink_to(out)
        elif kind == "link up":
            path.symlink_to("../../..")
        elif kind == "link to itself":
            path.symlink_to(path.name)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "sparse":
            with path.open("w") as file:
                file.truncate(1 << 40)
        elif kind == "file":
            path.write_text("something else\n")
        elif kind in ("directory", "locked"):
            path.mkdir(mode=0o700 if kind == "directory" else 0)


def seen(top: Path) -> list[tuple[str, int, int, int, float, bytes]]:
    """All that is below a directory, with everything a change of it would show."""
    found = []
    for where, directories, files in os.walk(top):
        for name in [".", *directories, *files]:
            path = Path(where, name)
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found.append((str(path), status.st_mode, status.st_uid, status.st_gid, status.st_ctime_ns, data))
    return sorted(found)


def act_everywhere(files: Files, top: Path) -> None:
    """Everything that is ever done with a path of a checkout; each either works or says in a sentence why not."""
    for name in PATHS:
        path = f"{top}/{name}"
        for entry, data in (
            (Entry("file", "", 0o644, 4242, 4242, 0), b"written"),
            (Entry("link", target="jarvis.py"), b""),
            (Entry("absent", missing_parents=(str(Path(path).parent),)), b""),
        ):
            for call in (
                lambda: files.look_at(path),  # noqa: B023
                lambda: files.put_back(path, entry, data),  # noqa: B023
                lambda: files.clear_away(path, entry),  # noqa: B023
                lambda: files.must_be_restorable(path, entry),  # noqa: B023
                lambda: files.touched([path]),  # noqa: B023
                lambda: files.room([path]),  # noqa: B023
            ):
                with contextlib.suppress(RolloutError):
                    call()
    with contextlib.suppress(RolloutError):
        LogReader("botuser").take(f"{top}/logs/jarvis.log")


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(SHAPES)), min_size=1, max_size=4))
def test_nothing_outside_the_checkout_changes(people: People, shapes: list[tuple[str, str]]) -> None:
    top, out = people.home / "IR", people.base / "out"
    for path in (top, out):
        shutil.rmtree(path, ignore_errors=True)
    (out / "utils/__pycache__").mkdir(parents=True)
    for name in ("jarvis.py", "webex_pool_config.py", "utils/__pycache__/webex_pool_config.cpython-311.pyc"):
        (out / name).write_text("root's own\n")
    people.give(out)  # his own, even: what is not the checkout is not touched through it
    plain_tree(top)
    for part, kind in shapes:
        shape(top / part, kind, out)
    people.give(people.home)
    before = seen(out)
    begun = time.monotonic()
    act_everywhere(Files("botuser", str(top)), top)
    assert seen(out) == before
    assert time.monotonic() - begun < 60, "something waited for a FIFO, or read a file of a terabyte"


def test_directories_that_are_swapped_meanwhile_lead_nowhere(people: People) -> None:
    top, out = people.home / "IR", people.base / "out"
    out.mkdir()
    (out / "jarvis.py").write_text("root's own\n")
    people.give(out)
    plain_tree(top)
    people.give(people.home)
    before = seen(out)
    swapper = people.start("botuser", ["/usr/bin/python3", "-c", SWAPPER, str(top), str(out)])
    try:
        for _ in range(6):
            act_everywhere(Files("botuser", str(top)), top)
    finally:
        swapper.kill()
        swapper.wait()
    assert swapper.returncode == -signal.SIGKILL, "it swapped until the end"
    assert seen(out) == before
