"""What a run over a checkout did, in lines for a person, and as the message of a commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .project import ProjectResult

_DONE = ("wrapped", "updated", "unwrapped", "restored")


def summary(result: ProjectResult, check: bool, proof: str) -> list[str]:
    """One line a file, then what is left to do.

    :param check: nothing was written. :param proof: how the imports were proven.
    """
    lines = []
    would = "would be " if check else ""
    for path, item in sorted(result.files.items()):
        counts = Counter(construction.action for construction in item.constructions)
        done = ", ".join(f"{counts[action]} {action}" for action in _DONE if counts[action])
        lines.append(
            f"{path}: {would}changed ({done or 'its import'})" if item.changed else f"{path}: is as it should be"
        )
    lines += [f"{path}: NOT patched: {reason}" for path, reason in sorted(result.refused.items())]
    lines += [f"{path}: skipped, {reason}" for path, reason in sorted(result.skipped.items())]
    lines += [f"{path}: the pool module, imported as {name}" for path, name in sorted(result.modules.items())]
    lines += [f"{item.path}:{item.line}: {item.message}" for item in result.findings]
    if result.modules:
        lines.append(f"Each import was checked by {proof}.")
    return lines


def commit_message(result: ProjectResult, state: str) -> str:
    """A commit's worth of words, for a pull request to the bot's own repository; empty if nothing changed."""
    changed = {path: item for path, item in sorted(result.files.items()) if item.changed}
    if not changed:
        return ""
    lines = [
        "Route the Webex clients through a connection pool"
        if state == "present"
        else "Take the Webex clients out of the pool",
        "",
    ]
    if state == "present":
        lines += [
            "A NAT, firewall or proxy forgets a silent connection without telling either end. The SDKs keep such a",
            "connection and use it again; the call then waits for its whole read time-out. The pool keeps connections",
            "alive, drops those that were idle for too long, and repeats what can be repeated.",
            "",
            "Nothing outside of these calls is changed:",
        ]
    for path, item in changed.items():
        names: Sequence[str] = [
            f"{construction.name.rpartition('.')[2]} in line {construction.line}"
            for construction in item.constructions
            if construction.action in _DONE
        ]
        lines.append(f"- {path}: {', '.join(names) or 'the import'}")
    lines += [f"- {path}: the pool module" for path in sorted(result.modules)] if state == "present" else []
    if result.findings:
        lines += ["", "Left as it is:"]
        lines += [f"- {item.path}:{item.line}: {item.message}" for item in result.findings]
    return "\n".join(lines) + "\n"
