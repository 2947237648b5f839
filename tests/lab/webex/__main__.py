"""Command line of the stand-in."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from .accounts import load_accounts, new_accounts, save_accounts
from .ca import HOSTS, ensure_ca, server_context
from .control import Control
from .server import DEFAULT_LATENCY, Settings, StandIn


def _latency(text: str) -> tuple[str, float]:
    host, _, seconds = text.partition("=")
    if host not in HOSTS:
        raise argparse.ArgumentTypeError(f"unknown host {host!r}; there are {', '.join(HOSTS)}")
    return host, float(seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.webex",
        description=f"Stand in for Webex under the names {', '.join(HOSTS)}. "
        "Prints 'ready' on standard output once it listens; ends on SIGTERM.",
    )
    parser.add_argument("--accounts", type=Path, required=True, help="JSON file with bots and tokens; made if missing")
    parser.add_argument("--ca-dir", type=Path, required=True, help="directory of the lab CA (ca.pem); made if missing")
    parser.add_argument("--control", type=Path, required=True, help="Unix socket for the control API")
    parser.add_argument("--address", action="append", help="address to listen on, repeatable (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument(
        "--latency",
        type=_latency,
        action="append",
        default=[],
        metavar="HOST=SECONDS",
        help=f"time to answer, +-50 %%, repeatable (default: {DEFAULT_LATENCY})",
    )
    parser.add_argument("--ws-ping", type=float, default=2.0, metavar="SECONDS", help="websocket ping interval")
    parser.add_argument("--device-limit", type=int, default=100, help="device registrations per account")
    parser.add_argument("--replay", action="store_true", help="send unacknowledged messages again after a reconnect")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prepare", action="store_true", help="only make accounts and CA, then end")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    settings = Settings(
        latency=DEFAULT_LATENCY | dict(options.latency),
        ping_interval=options.ws_ping,
        device_limit=options.device_limit,
        replay=options.replay,
        seed=options.seed,
    )
    stand_in = StandIn(load_accounts(options.accounts), settings)
    control = Control(stand_in)
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    try:
        await stand_in.start(options.address or ["127.0.0.1"], options.port, server_context(options.ca_dir))
        await control.start(options.control)
        print("ready", flush=True)
        await end.wait()
    finally:
        await control.stop()
        await stand_in.stop()
        with contextlib.suppress(FileNotFoundError):
            options.control.unlink()


def main() -> int:
    """Run the stand-in until SIGTERM; returns the exit status."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    ensure_ca(options.ca_dir)
    if not options.accounts.exists():
        save_accounts(options.accounts, new_accounts())
    if options.prepare:
        return 0
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"stand-in: cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
