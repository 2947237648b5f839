"""Retired words (docs/words.md) are found wherever they come back: in code, settings, messages and pages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Each retired stem with its word. A stem is also found inside a name (`_blessed`, `take_back`), never inside a word.
RETIRED = {
    r"bless(ed|es|ing)?": "confirm",
    r"revert(s|ed|ing)?": "roll back",
    r"(take|takes|taken|taking|took)[ _]back": "roll back",
    # As `put_back` it is what is done with one file.
    r"(puts?|putting) back": "roll back (a bot), restore (a file)",
    r"ways?[ _]back": "rollback",
    r"rollout_hold": "rollout_settle",
    r"recipes?": "settings_hash",
    r"deaf": "no_ready_line",
    r"hears": "log_level",
    r"fallen": "failed_on_probation",
    r"unsteady": "unstable",
    r"displac(e|es|ed|ing)": "back up, backup",
    r"keepers?": "restarting_parent",
    r"ballast": "reserve",
    r"standing": "gate_state",
    r"let(s|ting)?[ _]go[ _]of": "release (a lock)",
    r"bot_(soak|sources|process_info)": "webex_soak, client_patch, bot_info",
}
PATTERN = re.compile("|".join(rf"(?<![A-Za-z])(?P<r{n}>{stem})(?![A-Za-z])" for n, stem in enumerate(RETIRED)), re.I)
WORDS = list(RETIRED.values())

# Where a retired word is right: (file, stem or * for all, reason).
ALLOWED = (
    ("docs/words.md", "*", "lists them"),
    ("CHANGELOG.md", "*", "names what was renamed, for upgraders"),
    ("tests/unit/house/test_words.py", "*", "lists them"),
    ("module_utils/webex_rollout/migration.py", "*", "reads what older programs wrote"),
    ("module_utils/webex_rollout/store.py", "ballast", "removes the reserve of an older program"),
    ("module_utils/webex_rollout/cli.py", "revert", "the alias"),
    ("tests/unit/rollout/test_modules.py", "revert", "test of the alias"),
    ("docs/on-the-vm.md", "revert", "the alias"),
    ("tests/unit/house/test_commands.py", "revert", "the alias"),
    ("module_utils/webex_rollout/logs/pool_lines.py", "hears", "the field in the pool module's lines"),
    ("module_utils/webex_rollout/logs/cursor.py", "hears", "reads what older programs wrote"),
    ("tests/unit/logs/cursor_v1.json", "hears", "as an older program wrote it"),
    ("tests/unit/logs/test_cursor.py", "hears", "reads that"),
    ("tests/unit/logs/test_pool_lines.py", "hears", "the field in the pool module's lines"),
    ("tests/unit/watch/test_watch.py", "hears", "forged lines of the pool module"),
    ("tests/unit/soak/test_soak.py", "hears", "the field in the pool module's lines"),
    ("plugin_utils/settings.py", "rollout_hold", "refuses the old name with the new one"),
    ("tests/unit/preflight/test_settings.py", "rollout_hold", "test of that refusal"),
    ("tests/unit/gate/test_filters.py", "rollout_hold", "test of that refusal"),
    ("tests/unit/rollout/format1/*", "*", "as an older program wrote them"),
    ("tests/unit/rollout/test_migration.py", "*", "reads those"),
    ("tests/unit/soak/format1.json", "*", "as an older program wrote it"),
)


def tracked() -> list[str]:
    """Every file of the repository, also one that is not committed yet."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def text_of(name: str) -> str:
    """The file's text; empty for one that is not text."""
    try:
        return (ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def retired_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word as it stands there, and the word to use."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATTERN.finditer(line):
            yield number, match[0], WORDS[int(str(match.lastgroup)[1:])]


def is_allowed(name: str, word: str) -> bool:
    """Whether `word` may stand in the file `name`."""
    return any(fnmatch(name, where) and what in ("*", word.lower()) for where, what, _reason in ALLOWED)


def test_no_retired_word_is_used() -> None:
    found = [
        f"{name}:{line}: {word!r}: {instead}"
        for name in tracked()
        for line, word, instead in retired_words(text_of(name))
        if not is_allowed(name, word)
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_file_is_named_by_a_retired_word() -> None:
    assert not [name for name in tracked() for _ in retired_words(name)]


@pytest.mark.parametrize("where", sorted({where for where, *_ in ALLOWED}))
def test_every_exception_is_still_needed(where: str) -> None:
    names = [name for name in tracked() if fnmatch(name, where)]
    stems = {what for place, what, _reason in ALLOWED if place == where}
    words = {word.lower() for name in names for _line, word, _instead in retired_words(text_of(name))}
    assert words, f"{where} has no retired word any more"
    assert stems == {"*"} or stems <= words


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("phase: blessed", "blessed"),
        ("def _take_back(bot):", "take_back"),
        ("The VM reverts alone", "reverts"),
        ("__release_recipe: 1", "recipe"),
        ("Way back", "Way back"),
    ],
)
def test_retired_word_is_found(text: str, word: str) -> None:
    assert [found for _line, found, _instead in retired_words(text)] == [word]


@pytest.mark.parametrize("text", ["outstanding", "goalkeeper", "irreversible", "understanding", "rollback"])
def test_other_words_are_not(text: str) -> None:
    assert not list(retired_words(text))


def test_page_lists_every_retired_word() -> None:
    page = text_of("docs/words.md").partition("## Retired")[2]
    on_page = {instead for _line, _word, instead in retired_words(page)}
    assert on_page == set(WORDS)
