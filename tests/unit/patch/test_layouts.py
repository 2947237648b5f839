"""Each layout's program starts after the patch as it did before, and configures every client once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from .checkouts import check, patched
from .layouts import INSTALLED, LAYOUTS, POOL, Checkout, start, write


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("installed"), INSTALLED)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_patched_program_starts(layout: Checkout, tmp_path: Path, installed: Path) -> None:
    home = write(tmp_path / "checkout", layout.files)
    before = start(home, layout, installed)
    assert before.code == 0, before.output
    assert before.configured and not any(before.configured)
    result = patched(dict(layout.files))
    assert result.refused == {}
    for path, module in layout.expected.items():
        assert f"from {module} import configure_" in result.files[path].source.decode()
    write(home, {path: item.source for path, item in result.files.items()})
    write(home, dict.fromkeys(result.modules, POOL))
    after = start(home, layout, installed)
    assert (after.code, after.output) == (0, before.output)
    assert after.configured == [1] * len(before.configured)
    told = "\n".join(f"{item.path}:{item.line}: {item.message}" for item in result.findings)
    for part in layout.findings:
        assert part in told
    if not layout.findings:
        assert "ships" not in told


def test_generated_checkouts_start_after_the_patch(tmp_path: Path, installed: Path) -> None:
    """`make bench-patch` checks ten thousand of them."""
    seen = Counter(check(number, tmp_path / str(number), installed) for number in range(40))
    assert seen["patched"] > 30, seen
