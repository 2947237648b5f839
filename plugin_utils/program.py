"""Builds the VM's program: the package `module_utils/webex_rollout` as one zip application, the same bytes every time.

Stored, not deflated, since zlib's output differs between its versions; sorted names and a fixed date, since zipapp
would keep the times of a checkout. The first line, which names the Python to run it, is put before it on the VM.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "module_utils" / "webex_rollout"
MAIN = "import sys\n\nfrom webex_rollout.cli import main\n\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can hold


def build(package: Path = PACKAGE) -> bytes:
    """The zip application without its first line; it begins where `zipapp` would put the interpreter's."""
    sources = {"__main__.py": MAIN.encode()}
    for path in package.rglob("*.py"):
        sources[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as on Unix, wherever it was built
            archive.writestr(entry, source)
    return buffer.getvalue()
