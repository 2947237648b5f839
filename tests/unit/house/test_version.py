"""One version: of the VM's program, of the pool module and of the changelog's newest entry."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def version_of(path: Path) -> object:
    """The literal assigned to `__version__` at the top of a source; nothing is imported for it."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [
            "__version__"
        ]:
            return ast.literal_eval(statement.value)
    raise AssertionError(f"{path} has no __version__")


def test_program_pool_module_and_changelog_have_one_version() -> None:
    released = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version_of(ROOT / "module_utils/webex_rollout/__init__.py") == released[0]
    assert version_of(ROOT / "files/webex_pool_config.py") == released[0]
    newest_first = sorted(released, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
    assert released == newest_first
