"""Foreign text is shown by a terminal, never obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.webex_rollout import webex_shown
from plugin_utils.words import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jarvis: promote", "jarvis: promote"),
        ("Größe 3 µs, 東京", "Größe 3 µs, 東京"),
        ("two\nlines", "two\nlines"),
        ("\x1b[2J\x1b]0;title\x07all well", r"\x1b[2J\x1b]0;title\x07all well"),
        ("over\rwritten\tand\x08\x7f", r"over\rwritten\tand\x08\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("odd \udc80 byte", r"odd \udc80 byte"),
    ],
)
def test_only_graphic_characters_come_through(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_is_left_to_obey(text: str) -> None:
    assert all(character == "\n" or character.isprintable() for character in printable(text))
    assert printable(printable(text)) == printable(text)


def test_a_list_is_shown_line_by_line() -> None:
    assert webex_shown(["a\x1b", 1, ("b",)]) == ["a\\x1b", "1", ["b"]]
