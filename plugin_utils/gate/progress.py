"""How a soak is going, for people."""

from __future__ import annotations

from collections.abc import Sequence

from module_utils.webex_rollout.evidence import Evidence
from module_utils.webex_rollout.soak import Soak
from module_utils.webex_rollout.verdict import Verdict
from module_utils.webex_rollout.words import duration


def progress(evidence: Evidence, verdict: Verdict, earliest: float | None) -> str:
    """One line on how a soak is going.

    :param earliest: seconds of soak after which a promotion is possible; None if time alone will not do.
    """
    settings, figures = evidence.settings, verdict.figures
    line = (
        f"{evidence.bot}: {verdict.verdict} after {duration(evidence.elapsed)} of {duration(settings.soak_min)}; "
        f"{evidence.incidents} incident{'' if evidence.incidents == 1 else 's'} in {evidence.requests} requests"
    )
    if figures.due is not None:
        line += f" ({figures.due:.1f} due)"
    if verdict.missing:
        line += f"; missing: {', '.join(verdict.missing)}"
    if earliest is not None and earliest > evidence.elapsed:
        line += f"; promote in {duration(earliest - evidence.elapsed)} at the earliest"
    return line


def worth_showing(shown: Sequence[float], elapsed: float, terminal: bool, changed: bool) -> bool:
    """Whether to show progress now, given when it was shown: at every look in a terminal, elsewhere when something has
    changed or twice the time has passed, so that a quiet day leaves some ten lines in a log."""
    if terminal or changed or not shown:
        return True
    return elapsed - shown[-1] >= max(60.0, shown[-1] - shown[0])


def notes(soak: Soak) -> list[str]:
    """What else should be known about a soak, a sentence each."""
    found, boots = [], soak.boots
    if soak.clock_set:
        found.append(f"The VM's clock was set by {soak.clock_set:+.0f} s; the soak is timed by its time since boot")
    if boots:
        found.append(f"The VM was restarted {boots} time{'s' if boots > 1 else ''}; only the time it was up counts")
    return found + [
        f"{bot} is left out of the comparison: {watch.problem}" for bot, watch in soak.controls.items() if watch.problem
    ]
