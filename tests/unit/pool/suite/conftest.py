"""Fixtures of the pool module's suite.

The suite runs inside an environment of the bots (their Python, SDKs, requests, urllib3), started by the runner, which
says by environment variables which copy of the module is meant and where the certificates are.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
import requests
from server import Proxy, Server

CERTIFICATES = Path(os.environ["POOL_SUITE_CERTIFICATES"])
WEBEX_HOSTS = ("webexapis.com", "api.ciscospark.com", "u2c.wbx2.com", "wdm-a.wbx2.com", "conv-a.wbx2.com")
# Quick where the real values are for people's patience.
QUICK: dict[str, Any] = {"backoff": 0.01, "request_timeout": 5, "connect_timeout": 2}


def load(name: str, path: str) -> Any:
    """A module from a file, fresh."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look the module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pool() -> Any:
    """The module under test, fresh: its counters are those of the process."""
    return load("webex_pool_config", os.environ["POOL_SUITE_MODULE"])


class Channel:
    """A directory for channels, as a unit has it, and the VM's own reader."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reader = load("webex_channel_reader", os.environ["POOL_SUITE_READER"])

    def heard(self) -> list[Any]:
        """What each process is heard to say; a text if it cannot be read."""
        files = self.reader.channel_files(str(self.directory))
        return [self.reader.read_channel(name, data) for name, data in files.items()]

    def mine(self) -> Any:
        (heard,) = [each for each in self.heard() if isinstance(each, str) or each.pid == os.getpid()]
        assert not isinstance(heard, str), heard
        return heard


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Channel:
    """To be named before `pool`, which looks for it as it is loaded."""
    monkeypatch.setenv("WEBEX_POOL_CHANNEL", str(tmp_path))
    return Channel(tmp_path)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server without TLS."""
    server = Server()
    yield server
    server.stop()


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    return context


@pytest.fixture
def webex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A TLS server under Webex's host names; only the name resolution is bent."""
    server = Server(tls_context())
    resolve_webex_to(server, monkeypatch)
    yield server
    server.stop()


def resolve_webex_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host in WEBEX_HOSTS:
            host, port = "127.0.0.1", server.port
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATES / "ca.pem"))


@pytest.fixture
def proxy(webex: Server) -> Iterator[Proxy]:
    """An HTTP proxy in front of `webex`."""
    proxy = Proxy(webex.port)
    yield proxy
    proxy.stop()


@pytest.fixture
def bare(pool: Any) -> Callable[..., requests.Session]:
    """Makes a bare session as bots have one, configured by `configure_webex_bot_session`."""

    def make(**settings: Any) -> requests.Session:
        bot = SimpleNamespace(session=requests.Session(), teams=plain_api("https://webexapis.com/v1/"))
        return pool.configure_webex_bot_session(bot, **{**QUICK, **settings}).session

    return make


def plain_api(base_url: str, **kwargs: Any) -> Any:
    """An unconfigured client of the SDK that every environment has."""
    from webexteamssdk import WebexTeamsAPI

    return WebexTeamsAPI(access_token="SECRET-TOKEN", base_url=base_url, **kwargs)


@pytest.fixture(params=["webexteamssdk.WebexTeamsAPI", "webexpythonsdk.WebexAPI"])
def sdk(request: pytest.FixtureRequest) -> Any:
    """The client class of each SDK."""
    package, name = request.param.split(".")
    return getattr(pytest.importorskip(package), name)


class Lines(logging.Handler):
    """A bot's log file: a handler at NOTSET on the root logger, which lets through everything it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def starting(self, start: str) -> list[str]:
        return [record.getMessage() for record in self.records if record.getMessage().startswith(start)]

    def last_stats(self) -> dict[str, int]:
        return {name: int(value) for name, value in (pair.split("=") for pair in self.starting(STATS)[-1].split()[2:])}


READY, STATS = "webex-pool ready ", "webex-pool stats "


@pytest.fixture
def log() -> Iterator[Lines]:
    """The root logger as a quiet bot has it: at WARNING, with urllib3 at ERROR."""
    root, urllib3 = logging.getLogger(), logging.getLogger("urllib3")
    before = root.level, urllib3.level, root.handlers[:]
    lines = Lines()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    urllib3.setLevel(logging.ERROR)
    yield lines
    root.setLevel(before[0])
    urllib3.setLevel(before[1])
    root.handlers[:] = before[2]
    for name in ("webex_pool_config", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
