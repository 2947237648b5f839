"""What of a run's output the README shows: some of its lines in their order, once each, wrapped at a width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH = 118
STEPS = (
    *("Look at the VM's bots", "Acquire the VM's lock", "Record the bot and arm the guard"),
    *(
        "Copy the pool module into the checkout",
        "Route the bot's clients through the pool",
        "Install the bot's drop-in",
    ),
    *("Switch the bot to its unit", "Check the bot's start and confirm its release"),
)
"""The tasks that a rollout is made of; the others are between them."""


@dataclass(frozen=True)
class Sample:
    """A command of the README and which of its lines are shown."""

    name: str
    command: str
    wanted: Sequence[str]
    """Regular expressions for lines, as `text_of` has them."""


SAMPLES = (
    Sample(
        "preflight",
        "ansible-playbook playbooks/preflight.yml",
        (r" +bot +what +found", r" +jarvis +clients", r" +(runs|open files|environment|outputs) (?!.*@(?!jarvis))"),
    ),
    Sample(
        "canary",
        "ansible-playbook rollout.yml --limit jarvis",
        (
            *(rf" +jarvis +(changed|ok) .* s  {re.escape(step)}$" for step in STEPS),
            *(
                r"(Preflight|Stage \w+|Look again|Verify)$",
                r" +jarvis: promote \(reason",
                r" +jarvis +ok .* failed calls?, ",
            ),
            *(r"jarvis: nothing|jarvis +changed ", r"Report: "),
        ),
    ),
    Sample(
        "status",
        "ansible-playbook playbooks/status.yml",
        (r" +bot +vm +phase", r" +(jarvis|tars) +\d", r" +\S+: lock "),
    ),
)


def text_of(output: str) -> list[str]:
    """The lines of a run without colours."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()]


def excerpt(sample: Sample, output: str) -> str:
    """The sample as the README shows it."""
    shown = [f"$ {sample.command}"]
    for line in text_of(output):
        if line not in shown and any(re.match(wanted, line) for wanted in sample.wanted):
            shown.append(line)
    wrapped = [textwrap.wrap(line, WIDTH, subsequent_indent="    ") if len(line) > WIDTH else [line] for line in shown]
    return "\n".join(part for parts in wrapped for part in parts) + "\n"


def replace(page: Path, name: str, text: str) -> None:
    """Put a sample between its marks in a page.

    :raises ValueError: when the page has no such marks.
    """
    before = page.read_text(encoding="utf-8")
    begin = f"<!-- sample {name}: written by `make samples` -->\n"
    head, found, rest = before.partition(begin)
    tail = rest.partition("<!-- /sample -->")[2]
    if not found or not tail:
        raise ValueError(f"{page} has no place for the sample '{name}'")
    page.write_text(f"{head}{begin}```\n{text}```\n<!-- /sample -->{tail}", encoding="utf-8")
