"""Flows that a firewall drops without a word, in a network namespace of the test's own.

The runner starts this file under `unshare --net`; elsewhere it would bend somebody's firewall, and refuses to.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any, Callable

import pytest
import requests
from conftest import Lines
from server import Server, answer

Bare = Callable[..., requests.Session]
# In whole seconds, the kernel's unit: a probe after 1 s of silence, dead after 3 s.
KEEPALIVE = {"keepalive_idle": 1, "keepalive_interval": 1, "keepalive_count": 2, "user_timeout": 3}


@pytest.fixture(autouse=True, scope="module")
def _own_network() -> None:
    assert os.environ.get("POOL_SUITE_OWN_NETWORK") == "1", "run by the runner, in a network namespace of its own"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _nft("add table inet silence; add chain inet silence in { type filter hook input priority 0; }")


def _nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def _drop(server: Server, connection: int) -> None:
    """From now on the flow of this connection is forgotten: nothing arrives, nobody is told."""
    port = server.connections[connection - 1].peer_port
    _nft(f"add rule inet silence in tcp sport {port} drop; add rule inet silence in tcp dport {port} drop;")


def test_connection_with_an_unanswered_probe_is_not_used(bare: Bare, server: Server, log: Lines) -> None:
    session = bare(**{**KEEPALIVE, "user_timeout": 60}, max_idle=600, request_timeout=12, stats_interval=0.01)
    session.get(server.url)
    _drop(server, 1)
    time.sleep(1.5)  # the first probe is out
    start = time.monotonic()
    session.get(server.url)
    assert time.monotonic() - start < 11
    assert [seen.connection for seen in server.seen] == [1, 2]
    assert log.last_stats()["recycled"] == 1


def test_probes_keep_a_healthy_connection_usable(bare: Bare, server: Server) -> None:
    session = bare(**KEEPALIVE, max_idle=600)
    session.get(server.url)
    time.sleep(4.5)
    session.get(server.url)
    assert len(server.connections) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_into_the_void_ends_by_the_user_timeout(bare: Bare, server: Server, method: str) -> None:
    session = bare(**{**KEEPALIVE, "keepalive_idle": 100}, max_idle=600, request_timeout=12)
    session.get(server.url)
    _drop(server, 1)
    start = time.monotonic()
    if method == "GET":
        assert session.get(server.url).status_code == 200
    else:
        # The kernel's ETIMEDOUT is a TimeoutError, which urllib3 calls a read time-out, whatever that was set to.
        with pytest.raises((requests.ReadTimeout, requests.ConnectionError)):
            session.post(server.url, json={})
    assert 2.5 < time.monotonic() - start < 11
    assert server.count("POST") == 0


def test_answer_that_got_lost_ends_by_the_probes(bare: Bare, server: Server) -> None:
    session = bare(**KEEPALIVE, max_idle=600, request_timeout=12)

    def vanish(_connection: Any, _seen: Any) -> None:
        _drop(server, 1)

    server.on("GET", vanish)
    start = time.monotonic()
    assert session.get(server.url).status_code == 200
    assert time.monotonic() - start < 11
    assert server.count("GET") == 2


def test_default_client_waits_for_its_timeout(server: Server) -> None:
    session = requests.Session()
    server.always("GET", answer())
    session.get(server.url, timeout=60)
    _drop(server, 1)
    with pytest.raises(requests.ReadTimeout):
        session.get(server.url, timeout=1)
