"""What a log holds, counted the slow and obvious way: line by line, one record after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ansible.module_utils.webex_rollout.logs.dialect import Dialect, Layout
from ansible.module_utils.webex_rollout.logs.signatures import FAILURE, RECOVERED, Signature

HEAD = re.compile(rb"2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d\d\d(?: - \S+:\d+ - ([A-Z]+))?")
# A last line that is still being written may end within its level.
SHORT = {"warn": "warning", "err": "error", "crit": "critical"}
# What `expected` reads, as the reader would learn it from a log of any length.
DIALECT = Dialect((Layout("iso", "", place=4, style="upper"),), lines=1000)


@dataclass
class Expected:
    """The numbers of a `Tally` that do not depend on the pool module's lines."""

    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    errors: int = 0
    tracebacks: int = 0
    loose_tracebacks: int = 0
    levels: dict[str, int] = field(default_factory=lambda: {"warning": 0, "error": 0, "critical": 0})
    by_name: dict[str, list[int]] = field(default_factory=dict)
    """Lines, failures, incidents, recovered of each signature."""


@dataclass
class Record:
    """A record while it is read."""

    when: float | None = None
    level: str = ""
    names: set[str] = field(default_factory=set)
    trace: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is one at WARNING or above."""
        return self.level in ("warning", "error", "critical")


def expected(data: bytes, signatures: Sequence[Signature]) -> Expected:
    """Count `data`, a whole log with stamps in UTC and in the past thousand years."""
    seen = Expected(by_name={signature.name: [0, 0, 0, 0] for signature in signatures})
    bursts: dict[str, float] = {}
    record = Record()
    lines = data.split(b"\n")
    for line in lines:
        head = HEAD.match(line)
        if head:
            _settle(seen, record, bursts, signatures)
            when = datetime.fromisoformat(line[:23].decode().replace(",", ".") + "+00:00").timestamp()
            level = (head[1] or b"").decode().lower()
            record = Record(when, SHORT.get(level, level))
            if record.counts:
                seen.levels[record.level] += 1
        trace = line.lstrip(b" ").startswith(b"Traceback (most recent call last)")
        seen.loose_tracebacks += trace and not record.counts and not record.trace
        record.trace |= trace
        if not record.counts:
            continue
        names = {signature.name for signature in signatures if signature.text.encode() in line}
        seen.lines += bool(names)
        for name in names:
            seen.by_name[name][0] += 1
        record.names.update(names)
    _settle(seen, record, bursts, signatures)
    return seen


def _settle(seen: Expected, record: Record, bursts: dict[str, float], signatures: Sequence[Signature]) -> None:
    when, names = record.when, record.names
    seen.tracebacks += record.trace and record.counts
    seen.errors += (record.trace and record.counts) or record.level in ("error", "critical")
    kinds = {signature.kind for signature in signatures if signature.name in names}
    if RECOVERED in kinds:
        seen.recovered += 1
        for name in names:
            seen.by_name[name][3] += 1
        return
    failed = [signature.name for signature in signatures if signature.kind == FAILURE and signature.name in names]
    if not failed:
        return
    seen.failures += 1
    fresh = [name for name in failed if when is None or name not in bursts or abs(when - bursts[name]) > 5]
    seen.incidents += len(fresh) == len(failed)
    for name in failed:
        seen.by_name[name][1] += 1
    for name in fresh:
        seen.by_name[name][2] += 1
        if when is not None:
            bursts[name] = when
        else:
            bursts.pop(name, None)


def counted(evidence: dict) -> Expected:
    """The same numbers out of `evidence`."""
    keys = ("lines", "failures", "incidents", "recovered")
    more = ("errors", "tracebacks", "loose_tracebacks", "levels")
    return Expected(
        *(evidence[key] for key in (*keys, *more)),
        by_name={name: [each[key] for key in keys] for name, each in evidence["signatures"].items()},
    )
