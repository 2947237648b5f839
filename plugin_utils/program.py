"""Builds the VM's program: the package `module_utils/webex_rollout` as one zip application, the same bytes every time.

Stored, not deflated, since zlib's output differs between its versions; sorted names and a fixed date, since zipapp
would keep the times of a checkout. The first line, which names the Python to run it, is put before it on the VM.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from module_utils.webex_rollout.paths import CACHE_DIR

PACKAGE = Path(__file__).resolve().parents[1] / "module_utils" / "webex_rollout"
MAIN = """import hashlib
import os
import sys


def is_roots(path):
    status = os.lstat(path)
    return status.st_uid == 0 and not status.st_mode & 0o022


with open(__loader__.archive, "rb") as program:
    program.readline()
    digest = hashlib.sha256(program.read()).hexdigest()
compiled = "{cache}/" + digest + "." + sys.implementation.cache_tag + ".zip"
try:
    if is_roots("{cache}") and is_roots(compiled):
        sys.path.insert(0, compiled)
except OSError:
    pass

# A module's question; not for people.
request = sys.stdin.buffer.read() if sys.argv[1:] == ["answer"] else None


def prepared():
    if request is not None:
        from webex_rollout.asked import answering

        return answering(request)
    from webex_rollout.cli import main

    return main


try:
    main = prepared()
except Exception:  # what was compiled is damaged
    if compiled not in sys.path:
        raise
    sys.path.remove(compiled)
    for name in [name for name in sys.modules if name.partition(".")[0] == "webex_rollout"]:
        del sys.modules[name]
    main = prepared()

sys.exit(main())
"""
"""Runs what `webex_program` has compiled of this very program: compiling takes longer than most commands do."""
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can hold


def build(package: Path = PACKAGE, cache: str = CACHE_DIR) -> bytes:
    """The zip application without its first line; it begins where `zipapp` would put the interpreter's.

    :param cache: where the program looks for what `webex_program` has compiled of it.
    """
    sources = {"__main__.py": MAIN.replace("{cache}", cache).encode()}
    for path in package.rglob("*.py"):
        sources[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as on Unix, wherever it was built
            archive.writestr(entry, source)
    return buffer.getvalue()


@cache
def digest() -> str:
    """The SHA-256 of the program, by which a VM's own is known."""
    return hashlib.sha256(build()).hexdigest()
