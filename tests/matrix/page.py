"""The matrix as a page: docs/matrix.md is written by it and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from tests.matrix.cells import STEPS, Cell

DEBIAN = {"bookworm": "Debian 12", "trixie": "Debian 13"}
HEAD = """\
# Matrix

What was tried in full, each line in a replica VM of its own with a canary and two more bots: a first rollout, a second
run, which has to change nothing, the [verify suite](verify.md), and a rollback to what was found. `make matrix` runs it
and writes this page.

"""
FOOT = """
The figures are seconds, with a soak of ten of them instead of a day, on a machine of two cores that did other work
meanwhile: they show that a step passed, not how fast it is. Controller and VM share the machine. Other combinations
were not tried.
"""


def table(cells: Sequence[Cell]) -> str:
    """The cells as a table of Markdown, in their order."""
    lines = [
        "| VM | ansible-core | controller's Python | " + " | ".join(STEPS) + " |",
        "|---|---|---|" + "---|" * len(STEPS),
    ]
    for cell in cells:
        vm = DEBIAN[cell.suite] + (f" ({cell.vm})" if cell.vm else "")
        shown = [f"{cell.seconds[step]:.0f} s" if step in cell.seconds else "" for step in STEPS]
        if not cell.passed:
            step = next((at for at, text in enumerate(shown) if not text), len(STEPS) - 1)
            shown[step] = f"**{cell.problem}**"
        lines.append(f"| {vm} | {cell.ansible or cell.core} | {cell.python} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def page(cells: Sequence[Cell]) -> str:
    """The whole page."""
    return HEAD + table(cells) + FOOT
