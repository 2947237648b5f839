"""The start-up check asks of a bot what its process had before, and nothing that it had not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.steps.arm import arm
from ansible.module_utils.webex_rollout.steps.check import CheckFailedError, Proof, check_start
from ansible.module_utils.webex_rollout.steps.record import record
from ansible.module_utils.webex_rollout.steps.switch import switch

if TYPE_CHECKING:
    from tests.unit.rollout.machine import Machine

HOOK = """\
import os, socket, time
listening = socket.create_server(("127.0.0.1", {port}))
open("logs/jarvis.log", "a").write("started\\n")
time.sleep(300)
"""
WEBSOCKET = """\
import socket, time
held = socket.create_connection(("127.0.0.1", {port}))
open("logs/jarvis.log", "a").write("started\\n")
time.sleep(300)
"""
IDLE = "import time\ntime.sleep(300)\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def rolled_out(machine: Machine, before: str, after: str) -> dict[str, object]:
    """The check's finding about connections, for a bot that was `before` and is `after`."""
    machine.script().write_text(before)
    machine.nohup()
    machine.wait_for(lambda: "started" in machine.log())
    record(machine.vm, machine.wanted())
    arm(machine.vm, "jarvis", 600)
    machine.deploy(version=after)
    switch(machine.vm, "jarvis")
    try:
        result = check_start(machine.vm, "jarvis", Proof(settle=0.5, ports=(443,)))
    except CheckFailedError as error:
        result = error.result
    return next(check for check in result.checks if check["name"] == "connection")


def test_a_webhook_bot_need_not_hold_a_connection_but_listen(machine: Machine) -> None:
    hook = HOOK.format(port=free_port())
    found = rolled_out(machine, hook, hook + "# new\n")
    assert found["ok"], found


def test_a_webhook_bot_that_does_not_listen_any_more_has_failed(machine: Machine) -> None:
    found = rolled_out(machine, HOOK.format(port=free_port()), IDLE)
    assert not found["ok"]
    assert "does not listen on" in str(found["detail"])


@pytest.mark.parametrize("after", [WEBSOCKET, IDLE])
def test_a_proxy_that_no_variable_names_is_seen_by_what_the_process_connects_to(machine: Machine, after: str) -> None:
    before = WEBSOCKET.format(port=machine.port)
    found = rolled_out(machine, before, after.format(port=machine.port) + "# new\n")
    assert found["ok"] == (after == WEBSOCKET)
    assert str(machine.port) in str(found["detail"])
