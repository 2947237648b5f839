# SPDX-License-Identifier: GPL-3.0-or-later
"""Weather: whether Webex can be reached at all, asked by the VM itself, in place of a bot.

Interface, as the watch uses it::

    look = ask(account, network_variables(environment), hosts)   # one look: `good`, `bad` with why, or `unknown`
    weather = looked(load_weather(store), look)                  # pure; with the looks before
    save_weather(store, weather)
    weather.may_judge                                            # else: nothing is promoted or rolled back
    weather.good_seconds                                         # clocks that stand still in bad weather count these

A look connects and shakes hands over TLS, as the bot's user and with his variables: firewalls decide by user, and his
proxy and his CA file are how the bot gets out. It sends nothing to Webex. In the soak of a canary a clock goes on only
between two good looks, one after the other; the state itself changes only when `AGREE` of the last `OF` looks agree,
so that one lost packet is no outage that people are told of.
"""

from __future__ import annotations

import base64
import contextlib
import encodings.idna  # noqa: F401 - names need it, and the child may not be able to read it any more
import os
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from .become import Account, as_account
from .clock import vm_clock
from .disk import make_directory, unseal
from .errors import RolloutError
from .journal import plain
from .store import Store

HOSTS = ("webexapis.com:443",)
SECONDS = 5.0
AGREE, OF = 2, 3
# Between two looks further apart nobody knows how the weather was.
GAP = 900.0
# Seconds for which a step waits for Webex to be reached again: the VM may be wrong about it.
WAIT_AT_MOST = 3600.0
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
VARIABLES = frozenset(
    (
        *("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    )
)


@dataclass(frozen=True)
class Look:
    """What one look found. ``kind`` is for machines: where `bad` one of dns, connect, tls, certificate, proxy."""

    state: str
    kind: str = ""
    reason: str = ""
    """For people; never with a proxy's credentials."""


class Seen(NamedTuple):
    """A look that was taken: in which boot, when by its clock, and what it found."""

    boot: str
    clock: float
    state: str


@dataclass(frozen=True)
class Weather:
    """The weather of a bot over its last looks."""

    state: str = UNKNOWN
    since: float = 0.0
    """Epoch at which the state began, for people."""
    kind: str = ""
    reason: str = ""
    looks: tuple[Seen, ...] = ()
    good_seconds: float = 0.0
    """Between good looks that followed each other, since the file was begun."""
    bad_seconds: float = 0.0
    """Not known to be good, from a bad look on."""
    bad_before: float = 0.0
    """How many of these there were when the state began."""

    @property
    def may_judge(self) -> bool:
        """Whether what a bot does now says something about its release: good, and not bad at the last look either."""
        return self.state == GOOD and bool(self.looks) and self.looks[-1].state == GOOD

    @property
    def bad_for(self) -> float:
        """Seconds for which it has been bad, by a clock that nobody can set."""
        return self.bad_seconds - self.bad_before if self.state == BAD else 0.0


def network_variables(environment: Sequence[str]) -> dict[str, str]:
    """Of a process's ``NAME=value`` list, those that say how it gets out. They may hold a proxy's password."""
    pairs = (assignment.partition("=")[::2] for assignment in reversed(environment))
    return {name: value for name, value in pairs if name in VARIABLES}


def ask(account: Account, variables: Mapping[str, str], hosts: Sequence[str] = HOSTS, seconds: float = SECONDS) -> Look:
    """One look, as the bot's user. Bad when one of the hosts cannot be reached.

    :param variables: as `network_variables` gives them.
    :param hosts: each ``name`` or ``name:port``.
    :param seconds: for all of it.
    """
    try:
        found = as_account(account, _ask_here, dict(variables), list(hosts), seconds, seconds=seconds + 2)
        return Look(*(plain(str(part)) for part in found[:3]))
    except (RolloutError, OSError) as error:
        return Look(UNKNOWN, "look", plain(f"the weather could not be asked for: {error}"))


class _Bad(Exception):
    """Ends a look: kind and reason."""


def _ask_here(variables: dict[str, str], hosts: list[str], seconds: float) -> list[str]:
    """In the child: the user's variables are in force from here on."""
    put_in_force(variables)
    until = time.monotonic() + seconds
    try:
        context = _context()
        if context is None:
            return [UNKNOWN, "store", "there are no CA certificates to verify with; install ca-certificates"]
        for given in hosts:
            _reach(given, context, until, seconds)
    except _Bad as bad:
        kind, reason = bad.args
        return [UNKNOWN if kind == "unsupported" else BAD, kind, reason]
    return [GOOD, "", ""]


def put_in_force(variables: Mapping[str, str]) -> None:
    """Have these variables, and no other ones of their kind, say how this process gets out."""
    for name in [name for name in os.environ if name in VARIABLES or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(variables)


def proxy_for(name: str) -> str:
    """The proxy on the way to ``host:port`` by the variables in force; empty for none."""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all") or ""
    bypassed = urllib.request.proxy_bypass_environment(name, proxies)  # type: ignore[attr-defined]
    return "" if bypassed else proxy


def _context() -> ssl.SSLContext | None:
    """What the user verifies with: the file that he has set for requests, or else the system's store."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    try:
        if bundle:
            place = {"capath": bundle} if os.path.isdir(bundle) else {"cafile": bundle}
            return ssl.create_default_context(**place)  # type: ignore[arg-type]
        paths = ssl.get_default_verify_paths()
        if not paths.cafile and not (paths.capath and os.listdir(paths.capath)):
            return None
        return ssl.create_default_context()
    except OSError as error:
        raise _Bad("certificate", f"the CA file {bundle or 'of the system'} cannot be used: {error.strerror}") from None


def _host_port(text: str, port: int) -> tuple[str, int]:
    """A host and its port, of ``host``, ``host:port`` or ``[address]:port``."""
    parts = urllib.parse.urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or port


def _reach(given: str, context: ssl.SSLContext, until: float, seconds: float) -> None:
    """Connect to a host and shake hands, through the proxy if there is one.

    :raises _Bad: when that cannot be done.
    """
    host, port = _host_port(given, 443)
    name = f"{host}:{port}"
    proxy = proxy_for(name)
    through = ""
    if proxy:
        connection, through, over_tls = _tunnel(proxy, name, context, until, seconds)
        if over_tls:  # the proxy has connected; a handshake inside of its own would need a second layer
            connection.close()
            return
    else:
        connection = _connect(host, port, until, seconds)
    with connection:
        _shake_hands(connection, host, name + through, context, until, seconds)


def _shake_hands(
    connection: socket.socket, host: str, name: str, context: ssl.SSLContext, until: float, seconds: float
) -> ssl.SSLSocket:
    _bound(connection, until)
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise _Bad("certificate", f"{name}: its certificate is not accepted: {error.verify_message}") from None
    except socket.timeout:
        raise _Bad("tls", f"{name}: no answer to the TLS handshake within {seconds:.0f} s") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise _Bad("tls", f"{name}: the TLS handshake failed: {why}") from None


def _bound(connection: socket.socket, until: float) -> None:
    """What is left of the time, for the next call on a connection."""
    connection.settimeout(max(0.05, until - time.monotonic()))


def _connect(host: str, port: int, until: float, seconds: float, what: str = "connect") -> socket.socket:
    """A connection to one of a host's addresses; each gets its share of the time that is left."""
    addresses = _addresses(host, port, until)
    name = f"{host}:{port}"
    why = f"no answer within {seconds:.0f} s"
    for place, (family, kind, protocol, _, address) in enumerate(addresses):
        left = max(0.05, (until - time.monotonic()) / (len(addresses) - place))
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(left)
        try:
            connection.connect(address)
        except socket.timeout:
            connection.close()
        except OSError as error:
            connection.close()
            why = error.strerror or str(error)
        else:
            return connection
    prefix = "the proxy " if what == "proxy" else ""
    raise _Bad(what, f"{prefix}{name}: {why}")


def _addresses(host: str, port: int, until: float) -> list[Any]:
    """A host's addresses. The resolver has time-outs of its own, longer than ours, so it is asked beside us."""
    answer: list[Any] = []
    problem: list[str] = []

    def resolve() -> None:
        try:
            answer.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # of a thread of its own nobody else would hear
            problem.append(getattr(error, "strerror", None) or type(error).__name__)

    # A share of the time is left for the connection: an answer that comes at the last moment helps nobody.
    asking = threading.Thread(target=resolve, daemon=True)
    asking.start()
    asking.join(max(0.05, (until - time.monotonic()) * 0.8))
    if not answer:
        raise _Bad("dns", f"{host}: its address is not to be had: {(problem or ['the resolver does not answer'])[0]}")
    return list(answer)


def _tunnel(
    proxy: str, name: str, context: ssl.SSLContext, until: float, seconds: float
) -> tuple[socket.socket, str, bool]:
    """A connection that a proxy has made (HTTP CONNECT), how messages name it, and whether it is inside of TLS."""
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in ("http", "https"):
        raise _Bad("unsupported", f"the bot's proxy is none that can be asked through here ({parts.scheme})")
    try:
        where, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _Bad("proxy", "the bot's proxy has no valid port") from None
    connection = _connect(where, port, until, seconds, "proxy")
    shown = f"the proxy {where}:{port}"
    if parts.scheme == "https":
        connection = _shake_hands(connection, where, shown, context, until, seconds)
    lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(pair.encode()).decode())
    try:
        _bound(connection, until)
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        status = _status(connection, until)
    except socket.timeout:
        raise _Bad("proxy", f"{shown}: no answer within {seconds:.0f} s") from None
    except OSError as error:
        raise _Bad("proxy", f"{shown}: {error.strerror or type(error).__name__}") from None
    if not 200 <= status < 300:
        why = f"refuses to connect to {name} (status {status})" if status else "does not answer as a proxy does"
        raise _Bad("proxy", f"{shown} {why}")
    return connection, f" through {shown}", parts.scheme == "https"


def _status(connection: socket.socket, until: float) -> int:
    """The status of a proxy's answer, read to the end of its headers and no further; 0 for no answer of HTTP."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < 16384:
        if time.monotonic() >= until:
            raise socket.timeout
        _bound(connection, until)
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    words = head.split(None, 2)
    digits = words[1] if len(words) > 1 and words[0].startswith(b"HTTP/") else b""
    return int(digits) if len(digits) == 3 and digits.isdigit() else 0


# -- over time -------------------------------------------------------------------------------------------------


def good_seconds(looks: Sequence[Seen], gap: float = GAP) -> float:
    """Seconds of good weather in a row of looks: those between two good ones of the same boot, not too far apart."""
    return sum(
        later.clock - earlier.clock
        for earlier, later in zip(looks, looks[1:])
        if earlier.state == later.state == GOOD
        and earlier.boot == later.boot
        and 0 < later.clock - earlier.clock <= gap
    )


def _bad_seconds(looks: Sequence[Seen], gap: float = GAP) -> float:
    """Seconds from a bad look on, to the next one."""
    return sum(
        min(later.clock - earlier.clock, gap)
        for earlier, later in zip(looks, looks[1:])
        if earlier.state == BAD and earlier.boot == later.boot and later.clock > earlier.clock
    )


def looked(weather: Weather, look: Look, now: Mapping[str, Any] | None = None, gap: float = GAP) -> Weather:
    """The weather with one more look. Of looks that disagree, the state stays what it was.

    :param now: the clocks at the look, as `vm_clock` gives them.
    :param gap: seconds between two looks above which the time between them counts as nothing.
    """
    now = vm_clock() if now is None else now
    seen = Seen(str(now["boot"]), float(now["since_boot"]), look.state)
    pair = (*weather.looks[-1:], seen)
    looks = (*weather.looks, seen)[-OF:]
    agreed = sum(each.state == look.state for each in looks) >= min(AGREE, len(looks))
    state = look.state if agreed or weather.state == UNKNOWN else weather.state
    changed = state != weather.state
    says = look if look.state == state else None
    return replace(
        weather,
        state=state,
        since=float(now["epoch"]) if changed or not weather.looks else weather.since,
        kind=says.kind if says else weather.kind,
        reason=says.reason if says else weather.reason,
        looks=looks,
        good_seconds=weather.good_seconds + good_seconds(pair, gap),
        bad_seconds=weather.bad_seconds + _bad_seconds(pair, gap),
        bad_before=weather.bad_seconds if changed else weather.bad_before,
    )


def _path(store: Store) -> Path:
    return store.path / "weather.json"


def load_weather(store: Store) -> Weather:
    """The weather as it was kept; unknown where nothing was, or nothing that can be believed: it is only measured."""
    with contextlib.suppress(OSError, RolloutError, KeyError, TypeError, ValueError):
        kept = unseal(_path(store))
        looks = tuple(Seen(str(boot), float(clock), str(state)) for boot, clock, state in kept.pop("looks"))
        return Weather(looks=looks, **kept)
    return Weather()


def save_weather(store: Store, weather: Weather) -> None:
    """Keep the weather; it is on disk when this returns."""
    make_directory(store.path)
    store.vm.write(_path(store), asdict(weather))
