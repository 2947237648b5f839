"""Diffs: as Ansible's modules give them, shortened, never of an environment."""

from __future__ import annotations

from plugin_utils.report.diff import MAX_COMPARED, MAX_LINES, make_diff


def test_text() -> None:
    diff = make_diff("a.py", {"before": "one\ntwo\n", "after": "one\nthree\nfour\n"})
    assert diff.text == "@@ -1,2 +1,3 @@\n one\n-two\n+three\n+four"
    assert (diff.added, diff.removed, diff.note) == (2, 1, "")


def test_lines_that_begin_like_a_header_count() -> None:
    assert make_diff("x", {"before": "", "after": "++x\n"}).added == 1
    assert make_diff("x", {"before": "-- x\n", "after": ""}).text.endswith("--- x")


def test_attributes() -> None:
    diff = make_diff("x", {"before": {"mode": "0644"}, "after": {"mode": "0600"}})
    assert '-  "mode": "0644"' in diff.text.splitlines()


def test_prepared() -> None:
    diff = make_diff("x", {"prepared": "--- before\n+++ after\n-a\n+b\n"})
    assert (diff.added, diff.removed) == (1, 1)


def test_nothing_changed() -> None:
    assert make_diff("x", {"before": "same", "after": "same"}).text == ""
    assert make_diff("x", {}).text == ""


def test_a_long_diff_is_cut_and_says_so() -> None:
    diff = make_diff("x", {"before": "", "after": "line\n" * (MAX_LINES + 10)})
    assert len(diff.text.splitlines()) == MAX_LINES
    assert diff.added == MAX_LINES + 10
    assert diff.note == "11 more lines are not shown"


def test_a_huge_file_is_not_compared() -> None:
    diff = make_diff("x", {"before": "a\n" * MAX_COMPARED, "after": "b\n"})
    assert (diff.text, diff.note) == ("", f"{MAX_COMPARED} lines before, 1 after; too many to compare here")


def test_what_ansible_leaves_out() -> None:
    assert make_diff("x", {"src_binary": 1, "before": "", "after": ""}).note == "binary"
    assert "104448 bytes" in make_diff("x", {"dst_larger": 104448}).note


def test_a_changed_secret_shows_no_difference() -> None:
    before, after = 'password = "one"\nx = 1\n', 'password = "two"\nx = 2\n'
    assert make_diff("x", {"before": before, "after": after}).added == 1
