"""How a run as a whole came out: its state, and one line for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plugin_utils.report.events import Run
from plugin_utils.report.model import BotReport, Conclusion, Failure, Result, State
from plugin_utils.words import named

# The first result that any bot has decides, in this order.
_LINES: tuple[tuple[Result, State, str, str], ...] = (
    ("held", "held", "is on hold: the evidence allows no verdict", "are on hold: the evidence allows no verdict"),
    ("paused", "waiting", "is paused", "are paused"),
    ("soaking", "waiting", "is soaking", "are soaking"),
    ("promoted", "succeeded", "was promoted", "were promoted"),
    ("deployed", "succeeded", "was deployed", "were deployed"),
    ("rolled back", "succeeded", "was rolled back as requested", "were rolled back as requested"),
)
_FAILED: Mapping[Result, tuple[str, str]] = {
    "rolled back": ("was rolled back", "were rolled back"),
    "failed": ("failed", "failed"),
    "unreachable": ("could not be reached", "could not be reached"),
    "held": ("is on hold", "are on hold"),
}


def conclude(run: Run, bots: Sequence[BotReport], failures: Sequence[Failure]) -> Conclusion:
    """How the run came out, or how far it has come."""
    by_result: dict[Result, list[str]] = {}
    for bot in bots:
        by_result.setdefault(bot.result, []).append(bot.name)
    if run.state != "ended":
        last = run.plays[-1].name if run.plays else run.playbook
        if run.state == "interrupted":
            return Conclusion("interrupted", f"Interrupted in the play “{last}”")
        return Conclusion("running", f"Not finished yet, in the play “{last}”")
    if failures:
        return Conclusion("failed", _failed_line(by_result))
    if run.check_mode:
        changing = named(by_result.get("would change", [])) or "no bot"
        return Conclusion("check", f"Check mode: nothing was changed; {changing} would be")
    for result, state, singular, plural in _LINES:
        if result in by_result:
            return Conclusion(state, _line(result, state, _about(by_result[result], singular, plural), by_result))
    return Conclusion("succeeded", "Nothing had to be changed")


def _line(result: Result, state: State, words: str, by_result: Mapping[Result, list[str]]) -> str:
    """What became of the bots that decide, then of the others."""
    deployed: tuple[Result, ...] = ("promoted", "deployed")
    others = [bot for other in deployed for bot in by_result.get(other, []) if other != result]
    if others:
        words += f"; {_about(others, 'was', 'were')} deployed"
    if state == "waiting" and "unchanged" in by_result:
        words += f"; {_about(by_result['unchanged'], 'is', 'are')} waiting"
    return words


def _failed_line(by_result: Mapping[Result, list[str]]) -> str:
    parts = [_about(by_result[result], *words) for result, words in _FAILED.items() if result in by_result]
    parts = parts or ["The run stopped"]
    if "unchanged" in by_result:
        parts.append(_about(by_result["unchanged"], "was not changed", "were not changed"))
    return "; ".join(parts)


def _about(bots: Sequence[str], singular: str, plural: str) -> str:
    """Bots, and what became of them."""
    return f"{named(bots)} {singular if len(bots) == 1 else plural}"
