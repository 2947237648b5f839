"""From calls to figures: the table's rows, the ratios of the steady calls, and the promises."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One client under one fault, all repetitions together. Seconds."""

    case: str
    title: str
    client: str
    calls: int
    failed: int
    p50: float
    p99: float
    maximum: float
    connections: int
    posted_twice: int
    sent_per_call: float
    waits_told: int
    calls_per_busy_second: float
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Promise:
    """What the module must show, and whether it did."""

    text: str
    kept: bool


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def row(case: str, title: str, client: str, results: list[dict[str, Any]]) -> Row:
    """The figures of one client under one fault."""
    calls = [call for result in results for call in result["calls"]]
    seconds = [call[0] for call in calls]
    errors = Counter(call[1] for call in calls if call[1])

    def total(name: str) -> int:
        return sum(result["tally"][name] for result in results)

    return Row(
        case=case,
        title=title,
        client=client,
        calls=len(calls),
        failed=sum(errors.values()),
        p50=percentile(seconds, 0.5),
        p99=percentile(seconds, 0.99),
        maximum=max(seconds),
        connections=total("connections"),
        posted_twice=total("posted_twice"),
        sent_per_call=total("requests") / len(calls),
        waits_told=total("waits_told"),
        calls_per_busy_second=len(calls) / sum(result["busy"] for result in results),
        errors=dict(errors),
    )


def steady_ratios(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The other clients against the default one, with 95 % intervals (bootstrap over rounds).

    Throughput and p99 by the clock; and the processor time that a client adds to a call, as a share of the time the
    call takes, which the machine's other work touches less. The report's fix, which adds next to nothing to a call,
    shows how far the figures can be trusted. `channel` is this module with its channel, against this module without.
    """

    def throughput(chosen: list[dict[str, Any]], client: str, other: str) -> float:
        # The median round: one in which the machine was taken away says nothing about either client.
        return statistics.median(sum(each[other]["wall"]) / sum(each[client]["wall"]) for each in chosen)

    def p99(chosen: list[dict[str, Any]], client: str, other: str) -> float:
        ours, theirs = ([second for each in chosen for second in each[name]["wall"]] for name in (client, other))
        return percentile(ours, 0.99) / percentile(theirs, 0.99)

    def overhead(chosen: list[dict[str, Any]], client: str, other: str) -> float:
        added = statistics.median(each[client]["processor"] - each[other]["processor"] for each in chosen)
        return added / statistics.median(sum(each[other]["wall"]) for each in chosen)

    ratios: dict[str, Any] = {"calls_per_client": sum(len(each["module"]["wall"]) for each in rounds)}
    for client, other in (("module", "default"), ("report", "default"), ("channel", "module")):
        for measure in (throughput, p99, overhead):
            generator = random.Random(1)
            samples = sorted(measure(generator.choices(rounds, k=len(rounds)), client, other) for _ in range(500))
            ratio = {"ratio": measure(rounds, client, other), "low": samples[12], "high": samples[487]}
            ratios.setdefault(client, {})[measure.__name__] = ratio
    return ratios


def paired_p99(results: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, float]:
    """The median, lowest and highest ratio of the p99 of runs to that of the runs that were made beside them."""
    ratios = sorted(
        percentile([call[0] for call in result["calls"]], 0.99) / percentile([call[0] for call in other["calls"]], 0.99)
        for result, other in zip(results, others, strict=True)
    )
    return {"ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}


def _interval(ratio: dict[str, float]) -> str:
    return f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def promises(rows: list[Row], steady: dict[str, Any]) -> list[Promise]:
    """The module's promises, judged by these figures."""
    of = {(each.case, each.client): each for each in rows}
    a, b, c, d, e, f, g = (of[case, "module"] for case in "abcdefg")
    default_f, ours, report = of["f", "default"], steady["module"], steady["report"]
    return [
        Promise(
            f"(a) steady calls: throughput {_interval(ours['throughput'])} of the default client's, wanted 0.98 within "
            f"the interval (the report's fix {_interval(report['throughput'])})",
            ours["throughput"]["high"] >= 0.98,
        ),
        Promise(
            f"(a) steady calls: p99 {_interval(ours['p99'])} of the default client's, wanted 1.02 within the interval "
            f"(the report's fix {_interval(report['p99'])})",
            ours["p99"]["low"] <= 1.02,
        ),
        Promise(
            f"(a) steady calls: processor time added {_interval(ours['overhead'])} of a call, wanted below 0.02 "
            f"(the report's fix {_interval(report['overhead'])})",
            ours["overhead"]["ratio"] < 0.02,
        ),
        Promise(
            f"(a) steady calls: processor time that the channel adds {_interval(steady['channel']['overhead'])} of a "
            "call without it, wanted below 0.01",
            steady["channel"]["overhead"]["ratio"] < 0.01,
        ),
        Promise(
            f"(a) bursts: {a.calls_per_busy_second:.0f} calls/s, the default client "
            f"{of['a', 'default'].calls_per_busy_second:.0f}; p99 {a.p99:.3f} s, {of['a', 'default'].p99:.3f} s",
            a.calls_per_busy_second >= 0.98 * of["a", "default"].calls_per_busy_second,
        ),
        Promise(f"(b) {b.failed} failed, wanted 0", b.failed == 0),
        Promise(
            f"(b) p99 {_interval(steady['forgetful'])} times that of (a) in the run beside it, wanted 1.2",
            steady["forgetful"]["ratio"] <= 1.2,
        ),
        Promise(f"(c) {c.failed} failed, wanted 0", c.failed == 0),
        Promise(
            f"(d) {d.failed} failed, wanted 0; the slowest call took {d.maximum:.2f} s, the report's fix "
            f"{of['d', 'report'].maximum:.2f} s, wanted a quarter",
            not d.failed and d.maximum <= of["d", "report"].maximum / 4,
        ),
        Promise(
            f"(e) {e.sent_per_call * e.calls - e.calls:.0f} requests beyond one per call for {e.waits_told} waits; "
            f"{e.failed} failed, {e.errors.get('RetryError', 0)} RetryError",
            e.sent_per_call * e.calls - e.calls <= e.waits_told and not e.failed,
        ),
        Promise(f"(f) {f.posted_twice} messages posted twice, wanted 0", f.posted_twice == 0),
        Promise(
            f"(f) {f.failed} unknown outcomes raised, the default client {default_f.failed}",
            f.failed == default_f.failed and f.errors == default_f.errors,
        ),
        Promise(
            f"(g) {g.failed} failed, wanted 0; {g.sent_per_call * g.calls - g.calls:.0f} cut off and sent again, "
            "wanted 0",
            not g.failed and round(g.sent_per_call * g.calls) == g.calls,
        ),
    ]


def table(rows: list[Row]) -> str:
    """The rows in fixed columns, one fault after the other."""
    names = {"default": "default client", "report": "the report's fix", "module": "this module"}
    lines = [
        f"{'':<18}{'failed':>10}{'p50 s':>8}{'p99 s':>8}{'max s':>8}{'connections':>13}{'twice':>7}{'sent/call':>11}"
    ]
    title = None
    for each in rows:
        if each.title != title:
            title = each.title
            lines.append(f"({each.case}) {title}")
        lines.append(
            f"  {names[each.client]:<16}{f'{each.failed} of {each.calls}':>10}{each.p50:>8.3f}{each.p99:>8.3f}"
            f"{each.maximum:>8.3f}{each.connections:>13}{each.posted_twice:>7}{each.sent_per_call:>11.2f}"
        )
    return "\n".join(lines)
