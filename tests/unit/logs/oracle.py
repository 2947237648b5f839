"""What a log holds, counted the slow and obvious way: line by line, one record after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ansible.module_utils.webex_rollout.logs.signatures import FAILURE, RECOVERED, Signature

HEAD = re.compile(rb"2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d\d\d")


@dataclass
class Expected:
    """The numbers of a `Tally` that do not depend on the pool module's lines."""

    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    by_name: dict[str, list[int]] = field(default_factory=dict)
    """Lines, failures, incidents, recovered of each signature."""


def expected(data: bytes, signatures: Sequence[Signature]) -> Expected:
    """Count `data`, a whole log with stamps in UTC and in the past thousand years."""
    seen = Expected(by_name={signature.name: [0, 0, 0, 0] for signature in signatures})
    bursts: dict[str, float] = {}
    record: tuple[float | None, set[str]] = (None, set())
    lines = data.split(b"\n")
    for line in lines:
        if HEAD.match(line):
            _settle(seen, record, bursts, signatures)
            record = (datetime.fromisoformat(line[:23].decode().replace(",", ".") + "+00:00").timestamp(), set())
        names = {signature.name for signature in signatures if signature.text.encode() in line}
        seen.lines += bool(names)
        for name in names:
            seen.by_name[name][0] += 1
        record[1].update(names)
    _settle(seen, record, bursts, signatures)
    return seen


def _settle(
    seen: Expected,
    record: tuple[float | None, set[str]],
    bursts: dict[str, float],
    signatures: Sequence[Signature],
) -> None:
    when, names = record
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
    return Expected(
        *(evidence[key] for key in keys),
        by_name={name: [each[key] for key in keys] for name, each in evidence["signatures"].items()},
    )
