"""What things took, and what is said of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reading:
    """One doing of a thing: seconds by the clock and of processors, calls over ssh by kind, bytes on the wire."""

    wall: float
    controller: float
    vms: float
    modules: int
    questions: int
    others: int
    sent: int


@dataclass
class Took:
    """What a thing took, each time that it was done."""

    what: str
    held: float = 0.0
    """Seconds of it that were waited for on purpose."""
    readings: list[Reading] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Seconds by the clock, the median, without what was waited for on purpose."""
        return self._median("wall") - self.held

    def line(self) -> str:
        """The medians, as one line of a table."""
        walls = [reading.wall for reading in self.readings]
        span = f"{self._median('wall'):6.1f} s ({min(walls):.1f} to {max(walls):.1f})"
        less = f"{self.wall:6.1f} s" if self.held else ""
        used = f"{self._median('controller'):6.1f} s {self._median('vms'):7.1f} s"
        calls = f"{self._median('modules'):5.0f} {self._median('questions'):9.0f} {self._median('others'):6.0f}"
        return f"{self.what:34} {span:>26} {less:>9} {used} {calls} {self._median('sent') / 1024:8.0f} KiB"

    def _median(self, name: str) -> float:
        return statistics.median(getattr(reading, name) for reading in self.readings)


HEADING = (
    f"{'':34} {'clock: median (range)':>26} {'no holds':>9} {'control.':>8} {'VMs':>9} "
    f"{'runs':>5} {'questions':>9} {'others':>6} {'sent':>12}"
)
LEGEND = (
    "Clock, and processor time of controller (without its ssh connections) and VMs (with their bots); module runs, "
    "questions to the VM's program and other commands over ssh; bytes to and from the VMs' sshd, headers included."
)


@dataclass(frozen=True)
class Must:
    """What is wanted: `this` within `most` times `that`."""

    text: str
    this: float
    that: float
    most: float

    @property
    def holds(self) -> bool:
        """Whether it is so."""
        return self.this <= self.most * self.that

    def line(self) -> str:
        """The finding, as a sentence."""
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return f"must: {self.text} at most {self.most:g} times: {self.this / self.that:.2f}, {verdict}"


def show(title: str, took: Sequence[Took], musts: Sequence[Must]) -> bool:
    """Print a part's table and findings; whether all of them hold."""
    print(f"\n{title}\n{HEADING}", *(each.line() for each in took), LEGEND, *(must.line() for must in musts), sep="\n")
    return all(must.holds for must in musts)
