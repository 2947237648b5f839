"""The bots that a bot is compared with: on its VM, without the release, with their own log."""

from __future__ import annotations

from typing import Any

import pytest

from plugin_utils.gate.controls import bots_of_vm, controls, leader, same_way, vm_has, vm_settings

BOTS = ["jarvis", "tars", "toodles", "barnacles", "far"]


def inventory(**of_one: dict[str, Any]) -> dict[str, dict[str, Any]]:
    groups = {"bots": BOTS, "canary": ["jarvis"], "fleet": BOTS[1:]}
    common = {"ansible_host": "vm1", "ansible_user": "vinay", "bot_home": "/srv/IR", "groups": groups}
    everyone: dict[str, dict[str, Any]] = {bot: {**common, **of_one.get(bot, {})} for bot in BOTS}
    everyone["far"]["ansible_host"] = "vm2"
    return everyone


def names(found: list[dict[str, Any]]) -> list[str]:
    return [each["bot"] for each in found]


def test_a_canary_is_compared_with_all_others_of_its_vm_in_the_inventorys_order() -> None:
    found = controls("jarvis", inventory(), ["jarvis"], ["jarvis"])
    assert names(found) == ["tars", "toodles", "barnacles"]


def test_two_canaries_are_not_compared_with_each_other() -> None:
    bots = inventory()
    bots["jarvis"]["groups"]["canary"].append("tars")
    assert names(controls("jarvis", bots, ["jarvis", "tars"], ["jarvis", "tars"])) == ["toodles", "barnacles"]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [(["tars"], ["toodles", "barnacles"]), (["tars", "toodles"], ["barnacles"]), (["barnacles"], [])],
)
def test_a_bot_of_the_fleet_is_compared_with_later_batches(batch: list[str], expected: list[str]) -> None:
    assert names(controls(batch[0], inventory(), BOTS[1:], batch)) == expected


def test_each_is_read_in_its_own_log() -> None:
    bots = inventory(tars={"bot_home": "/opt/tars"}, toodles={"bot_log": "var/t.log"})
    found = controls("jarvis", bots, ["jarvis"], ["jarvis"])
    assert [each["log"] for each in found] == [
        "/opt/tars/logs/tars.log",
        "/srv/IR/var/t.log",
        "/srv/IR/logs/barnacles.log",
    ]


def test_each_is_read_as_its_own_settings_say() -> None:
    """Its time zone and signatures, not those of the bot that is compared with it."""
    extra = [{"name": "quota", "text": "quota exceeded", "kind": "failure"}]
    bots = inventory(
        jarvis={"bot_timezone": "Europe/Prague"},
        tars={"bot_timezone": "Asia/Tokyo"},
        toodles={"rollout_signatures": extra},
    )
    found = {
        each["bot"]: (each["timezone"], each["signatures"]) for each in controls("jarvis", bots, ["jarvis"], ["jarvis"])
    }
    assert found == {"tars": ("Asia/Tokyo", []), "toodles": ("", extra), "barnacles": ("", [])}


def test_a_vm_without_an_address_is_the_bots_own() -> None:
    bots = inventory()
    del bots["tars"]["ansible_host"]
    assert bots_of_vm("tars", bots) == ["tars"]
    assert bots_of_vm("jarvis", bots) == ["jarvis", "toodles", "barnacles"]


def test_every_user_of_the_vms_bots_is_named_once() -> None:
    bots = inventory(toodles={"bot_user": "service"}, far={"bot_user": "elsewhere"})
    assert vm_settings("jarvis", bots, "bot_user") == ["vinay", "service"]


def test_what_is_done_once_is_done_by_the_first_bot_of_the_play_on_the_vm_or_in_the_checkout() -> None:
    bots = inventory(toodles={"bot_home": "/srv/other"}, barnacles={"bot_home": "/srv/IR/"})
    play = BOTS[1:]
    assert [leader(bot, bots, play) for bot in play] == ["tars", "tars", "tars", "far"]
    assert [leader(bot, bots, play, checkout=True) for bot in play] == ["tars", "toodles", "tars", "far"]


def test_hosts_without_ansible_host_are_machines_by_their_own_names() -> None:
    bots = inventory()
    for variables in bots.values():
        del variables["ansible_host"]
    assert [leader(bot, bots, BOTS) for bot in BOTS] == BOTS
    assert vm_settings("tars", bots, "bot_home") == ["/srv/IR"]


@pytest.mark.parametrize(
    ("own", "same"),
    [
        ({}, True),
        ({"ansible_check_mode": True}, True),  # says nothing of the way
        ({"ansible_user": "deploy"}, False),
        ({"ansible_port": 2022}, False),
        ({"ansible_ssh_private_key_file": "/other"}, False),
        ({"ansible_become_password": "secret"}, False),
        ({"ansible_python_interpreter": "/opt/python"}, False),
    ],
)
def test_a_bot_of_the_same_vm_may_have_a_way_of_its_own(own: dict[str, Any], same: bool) -> None:
    assert same_way("tars", "jarvis", inventory(tars=own)) is same


def test_a_vm_is_ready_for_all_its_bots_once_one_of_them_knows() -> None:
    bots = inventory(toodles={"rollout_bot": {"vm_ready": True}}, tars={"rollout_bot": {"vm_ready": False}})
    assert [bot for bot in BOTS if vm_has("vm_ready", bot, bots)] == ["jarvis", "tars", "toodles", "barnacles"]
    assert not vm_has("vm_ready", "jarvis", inventory())
    assert not vm_has("vm_shared", "jarvis", bots)
