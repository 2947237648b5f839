"""What preflight says of accounts and confinement."""

from __future__ import annotations

from dataclasses import replace

from plugin_utils.preflight_notes import About, notes

ABOUT = About("jarvis", "vm1", "deploy", "vinay", True, lambda: True, "off", ["/home/vinay/pub/IR"])


def test_separate_accounts_and_no_confinement_are_not_worth_a_word() -> None:
    assert notes(ABOUT) == []
    assert notes(replace(ABOUT, pipelining=lambda: False)) == []


def test_one_account_for_both_is_said_once_a_vm() -> None:
    one = replace(ABOUT, ansible_user="vinay")
    (said,) = notes(one)
    assert said.startswith("vinay is both ansible_user and bot_user on vm1: whoever takes over a bot")
    assert "is root there" in said
    assert notes(replace(one, leader=False)) == []
    assert notes(replace(one, ansible_user="root", bot_user="root")) == []


def test_pipelining_that_is_off_is_said_where_it_matters() -> None:
    said = notes(replace(ABOUT, ansible_user="vinay", pipelining=lambda: False))
    assert len(said) == 2 and "pipelining is switched off" in said[1] and "ANSIBLE_PIPELINING=true" in said[1]


def test_confinement_says_what_it_takes_from_this_bot() -> None:
    (standard,) = notes(replace(ABOUT, hardening="standard"))
    assert standard.startswith("bot_hardening: standard takes from jarvis: programs with more rights than vinay's own")
    assert "writing anything of ~vinay but /home/vinay/pub/IR;" in standard
    assert "D-Bus" not in standard and "Its source names" not in standard
    programs = [{"path": "webex_bots/jarvis.py", "line": 41, "name": "sudo"}]
    (strict,) = notes(replace(ABOUT, hardening="strict", writable=["/h/logs", "/h/data"], programs=programs))
    assert "but /h/logs and /h/data;" in strict and "D-Bus" in strict
    assert strict.endswith("Its source names sudo (webex_bots/jarvis.py:41)")
