"""A process's connections, as ss on its VM lists them."""

from __future__ import annotations

import time

from testinfra.host import Host

ONE_REQUEST = 2.0
"""Seconds that a connection for one request may take to be gone; a pool's idle ones last longer in any setting."""


def sockets(vm: Host, pid: int) -> list[str]:
    """The process's established connections to an HTTPS port, one line of ss each, with its timer."""
    found = vm.check_output("ss -H -t -n -o -p state established '( dport = :443 )'")
    return [line for line in found.splitlines() if f"pid={pid}," in line]


def bare_sockets(vm: Host, pid: int) -> list[str]:
    """The process's connections that have no timer and last. One that is gone again is no pool's, which keeps its own
    open: a module that the bot imports may have a client of its own, as preflight says, and connect for one request."""
    found: dict[str, str] = {}
    ends = time.monotonic() + ONE_REQUEST
    while True:
        now = {line.split()[2]: line for line in sockets(vm, pid) if "timer:" not in line}
        found = {own: line for own, line in now.items() if own in found} if found else now
        # The websocket is not a pool's: webex_bot pings on it itself.
        if len(found) <= 1 or time.monotonic() > ends:
            return list(found.values())
        time.sleep(0.2)
