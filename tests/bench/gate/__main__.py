"""Operating characteristics of the verdict: python -m tests.bench.gate [--trials N].

For each cell N soaks are drawn at random and judged at 152 looks over 48 h. Nothing here is timed, so the machine's
load changes no figure; the same N gives the same table. Ends with 1 if a line under "must" does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from scipy.stats import binom

from module_utils.webex_rollout.evidence import EXTEND, HOLD, PROMOTE, ROLL_BACK, GateSettings
from tests.bench.gate.simulate import LOOKS, OTHERS, REQUESTS_PER_HOUR, Case, Ending, trial

BASES = (0.0, 0.1, 0.5, 1.0, 2.0, 6.0, 20.0)
EFFECTS = (0.1, 1 / 3, 1.0, 3.0, 10.0)
SETTINGS = GateSettings()


def soaks(case: Case, trials: int) -> list[Ending]:
    """That many soaks of one case."""
    return [trial(case, SETTINGS, f"{case} {number}") for number in range(trials)]


def share(endings: Sequence[Ending], wanted: str) -> float:
    return sum(ending.verdict == wanted for ending in endings) / len(endings)


def median_hours(endings: Sequence[Ending]) -> str:
    decided = [ending.hours for ending in endings if ending.verdict in (PROMOTE, ROLL_BACK)]
    return f"{statistics.median(decided):.1f} h" if decided else "-"


def row(name: str, case: Case, endings: Sequence[Ending]) -> str:
    """One line of the table. A promotion is wrong at ten times the failures, a roll-back at no more than before."""
    promoted, rolled_back = share(endings, PROMOTE), share(endings, ROLL_BACK)
    wrong_promote = f"{promoted:8.2%}" if case.risen else "       -"
    wrong_back = f"{rolled_back:8.2%}" if case.harmless else "       -"
    held = share(endings, HOLD) + share(endings, EXTEND)
    shares = f"{promoted:8.1%} {rolled_back:8.1%} {held:7.1%} {wrong_promote} {wrong_back}"
    return f"{name:<30} {shares} {median_hours(endings):>8}"


def too_often(count: int, trials: int, accepted: float) -> bool:
    """Whether the accepted probability would hardly ever (one in a thousand) give such a count."""
    return bool(binom.sf(count - 1, trials, accepted) < 0.001)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate", description=__doc__)
    parser.add_argument("--trials", type=int, default=400, help="soaks a cell")
    trials = parser.parse_args().trials
    grid = [Case(base, effect, bursty) for bursty, base, effect in itertools.product((False, True), BASES, EFFECTS)]
    special = {
        "outage of all bots, x20": Case(1.0, 1.0, False, outage=20.0),
        "outage of all bots, x20, bursty": Case(1.0, 1.0, True, outage=20.0),
        "outage of all, every call fails": Case(1.0, 1.0, False, outage=60.0),
        "outage of all, seen by the VM": Case(1.0, 1.0, False, outage=60.0, seen=True),
        "outage, seen, worse release": Case(1.0, 10.0, False, outage=60.0, seen=True),
        "every call fails": Case(1.0, 60.0, False),
        "no request is made": Case(0.0, 1.0, False, silent=True),
        "no request, failing before": Case(6.0, 0.1, False, silent=True),
        "not heard": Case(6.0, 0.1, False, unheard=True),
        "not heard, and worse": Case(1.0, 3.0, False, unheard=True),
        "dead, hung, edited after 2 h": Case(6.0, 0.1, False, ends=2.0),
        "dead, hung, edited after 23 h": Case(6.0, 0.1, False, ends=23.0),
        "idle after 2 h": Case(6.0, 0.1, False, idles=2.0),
        "idle after 22 h": Case(6.0, 0.1, False, idles=22.0),
        "nights without a message": Case(6.0, 0.1, False, nights=True),
        "nights, as before": Case(1.0, 1.0, False, nights=True),
        "nights, as before, bursty": Case(2.0, 1.0, True, nights=True),
        "nights, x10": Case(1.0, 10.0, False, nights=True),
        "nights, x10, bursty": Case(1.0, 10.0, True, nights=True),
        "TypeError on each message": Case(1.0, 0.1, False, raised=20.0),
        "the same, errors all the time": Case(1.0, 0.1, True, raised=60.0, errors=6.0),
        "the same, nights": Case(1.0, 0.1, False, raised=20.0, nights=True),
        "errors x10": Case(1.0, 0.1, False, errors=1.0, error_effect=10.0),
        "errors x10, bursty": Case(1.0, 0.1, True, errors=1.0, error_effect=10.0),
        "errors x10, nights": Case(1.0, 0.1, False, errors=1.0, error_effect=10.0, nights=True),
        "full of errors, as before": Case(1.0, 0.1, False, errors=40.0),
        "full of errors, bursty": Case(1.0, 0.1, True, errors=40.0),
        "full of errors, nights": Case(1.0, 0.1, True, errors=6.0, nights=True),
        "no error before": Case(1.0, 0.1, False, errors=0.01),
        "errors of all bots, x20": Case(1.0, 0.1, False, errors=2.0, errors_of_all=20.0),
        "errors of all bots, x20, bursty": Case(1.0, 0.1, True, errors=2.0, errors_of_all=20.0),
        "errors that people write": Case(1.0, 0.1, False, forged=100.0),
        "502 for each call": Case(1.0, 0.1, False, refused=1.0),
        "502 for each call of all bots": Case(1.0, 0.1, False, refused=1.0, refused_all=True),
        "502 for a tenth of the calls": Case(1.0, 0.1, False, refused=0.1),
    }
    names = [f"{case.base:g}/h x{case.effect:.2g} {'bursty' if case.bursty else 'Poisson'}" for case in grid] + list(
        special
    )
    cases = [*grid, *special.values()]
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(partial(soaks, trials=trials), cases))
    print("                                 promote roll back    hold    wrong    wrong   median")
    print("bot's rate before, release                                  promote  r. back  decided")
    for name, case, endings in zip(names, cases, results, strict=True):
        print(row(name, case, endings))
    others = ", ".join(f"{bot} {rate:g}" for bot, rate in OTHERS.items())
    print(
        f"\nConditions: {trials} soaks a cell, {len(LOOKS)} looks over 48 h each; 116 h of history; "
        f"{REQUESTS_PER_HOUR} requests an hour; five bots without it, failing relative to the canary: {others}. "
        f"Settings: soak at least 24 h, {SETTINGS.min_requests} requests, budget {SETTINGS.timeouts_per_hour:g}/h, "
        f"alpha {SETTINGS.alpha:g}, beta {SETTINGS.beta:g}. Bursty: clusters of three on average. "
        f"Where nothing else is said, {Case.errors:g} errors of other kinds an hour, before and after. "
        "Undecided after 48 h counts as hold."
    )
    return judge_table(cases, results, trials)


def judge_table(cases: Sequence[Case], results: Sequence[Sequence[Ending]], trials: int) -> int:
    """Print what must hold and whether it does."""
    pairs = list(zip(cases, results, strict=True))
    harmless = [endings for case, endings in pairs if case.harmless]
    risen = [endings for case, endings in pairs if case.risen]
    blind = [endings for case, endings in pairs if case.unheard or case.silent or min(case.ends, case.idles) < 24]
    outages = [endings for case, endings in pairs if case.harmless and (case.outage > 1 or case.errors_of_all > 1)]
    quiet = [endings for case, endings in pairs if case.harmless and case.nights and case.effect < 1]
    noisy = [endings for case, endings in pairs if case.harmless and (case.forged or case.errors > 2)]
    broken = [endings for case, endings in pairs if case.raised or (case.refused >= 0.5 and not case.refused_all)]
    back = max(share(endings, ROLL_BACK) for endings in harmless)
    missed = max(share(endings, PROMOTE) for endings in risen)
    unseen = sum(ending.verdict == PROMOTE for endings in blind for ending in endings)
    taken = sum(ending.verdict == ROLL_BACK for endings in outages for ending in endings)
    kept = min(share(endings, PROMOTE) for endings in quiet)
    heeded = min(share(endings, PROMOTE) for endings in noisy)
    found = min(share(endings, ROLL_BACK) for endings in broken)
    musts = (
        (f"false roll-back at most 1 % (worst cell {back:.2%})", not too_often(round(back * trials), trials, 0.01)),
        (f"missed x10 rise at most 5 % (worst cell {missed:.2%})", not too_often(round(missed * trials), trials, 0.05)),
        (f"never promoted unheard, idle or without requests ({unseen} of {trials * len(blind)})", unseen == 0),
        (f"never rolled back in an outage of all ({taken} of {trials * len(outages)})", taken == 0),
        (f"nights without a message keep no good release from promotion ({kept:.0%})", kept >= 0.95),
        (f"errors as ever, or that people write, keep none from it either ({heeded:.0%})", heeded >= 0.95),
        (f"what fails at each message or call is rolled back ({found:.0%})", found >= 0.95),
    )
    print()
    for text, holds in musts:
        print(f"must: {text}: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if all(holds for _, holds in musts) else 1


if __name__ == "__main__":
    sys.exit(main())
