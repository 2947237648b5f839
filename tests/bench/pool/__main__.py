"""The pool module against the default client and the report's fix: python -m tests.bench.pool (root).

Real SDK clients on one side, a TLS server on the other, the lab's NAT gateway between them, each in its own network
namespace. Prints a table, writes it as JSON, and says of each promise whether it was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.bench.pool.figures import Row, paired_p99, promises, row, steady_ratios, table
from tests.bench.pool.scale import Scale
from tests.lab.network import CLOUD_ADDRESS, Network
from tests.unit.pool.environments import NEWEST
from tests.unit.pool.runner import MODULE, PROJECT

CLIENT = Path(__file__).with_name("client.py")
KINDS = ("default", "report", "module")
LONG = 3600  # a NAT that remembers


@dataclass(frozen=True)
class Case:
    """One fault: what the server does, and how the calls come."""

    letter: str
    title: str
    server: str = "healthy"
    bursts: int = 4
    calls: int = 64
    gap: float = Scale.gap
    post_every: int = 4
    threads: int = 32


HEALTHY = Case("a", "no fault")
FORGETFUL = Case("b", "NAT forgets idle flows")
# These do not need the machine to themselves: what they take is waiting.
TOGETHER = (
    Case("c", "server closes idle connections as they are used", "closing", gap=Scale.closing_gap),
    Case("d", "1 % of the calls that may be repeated answered late or never", "late", gap=0.2, post_every=0),
    Case("e", "429 five times per call, Retry-After: 1", "limited", bursts=1),
    Case("f", "message posted, answer lost", "lost", bursts=2, gap=0.2, post_every=1),
)
# Few threads, for what is short of its time-out by a fifth must not wait for a processor.
SLOW = Case("g", "answers that take 8 s by nature", "slow", bursts=2, calls=32, gap=0.2, threads=8)


@dataclass(frozen=True)
class Bench:
    """The machinery of one run."""

    network: Network
    scratch: Path

    def run(self, case: Case, kind: str) -> dict[str, Any]:
        """One client through one case once: its calls, and what the server saw."""
        plan = {
            "case": "bursts",
            "client": kind,
            "threads": case.threads,
            "bursts": case.bursts,
            "calls": case.calls,
            "gap": case.gap,
            "post_every": case.post_every,
        }
        return self._client_and_server(case.server, plan)

    def steady(self, rounds: int) -> list[dict[str, Any]]:
        """Latencies of calls made one by one, in short blocks that take turns between the clients."""
        # Where units have their RuntimeDirectory.
        with tempfile.TemporaryDirectory(dir="/run", prefix="wbr-bench-") as channel:
            plan = {"case": "steady", "rounds": rounds, "blocks": 20, "calls": 5, "channel": channel}
            return self._client_and_server("steady", plan)["rounds"]

    def _client_and_server(self, server_case: str, plan: dict[str, Any]) -> dict[str, Any]:
        argv = [
            sys.executable,
            "-m",
            "tests.bench.pool.server",
            server_case,
            CLOUD_ADDRESS,
            self.scratch / "server.pem",
        ]
        with _started(self._inside(self.network.cloud, argv), PROJECT) as server:
            port = int(server.stdout.readline())
            plan |= {
                "url": f"https://{CLOUD_ADDRESS}:{port}/v1/",
                "authority": str(self.scratch / "ca.pem"),
                "module": str(MODULE),
                "module_settings": Scale.module,
                "default_timeout": Scale.default_timeout,
                "longer_timeout": Scale.longer_timeout,
            }
            argv = [NEWEST.interpreter(), CLIENT, json.dumps(plan)]
            with _started(self._inside(self.network.vm, argv), self.scratch) as client:
                output = client.communicate(timeout=300)[0]
            if client.returncode:
                raise RuntimeError(f"the client of {server_case} ended with {client.returncode}; its words are above")
            tally = json.loads(server.communicate(timeout=30)[0])
        return {**json.loads(output), "tally": tally}

    @staticmethod
    def _inside(namespace: str, argv: list[str | Path]) -> list[str]:
        return ["ip", "netns", "exec", namespace, *map(str, argv)]


@contextmanager
def _started(argv: list[str], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A child that does not outlive the block, however that ends."""
    child = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def _bench() -> Iterator[Bench]:
    """Namespaces and certificates, taken down again also after Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    NEWEST.interpreter()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wbr-bench-")))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(scratch / "ca.pem")
        authority.issue_cert(CLOUD_ADDRESS).private_key_and_cert_chain_pem.write_to_path(scratch / "server.pem")
        network = Network(f"p{os.getpid()}")
        stack.callback(network.down)
        network.up(forget_idle_after=LONG)
        yield Bench(network, scratch)


def measure(bench: Bench, repetitions: int) -> tuple[list[Row], dict[str, Any]]:
    """All cases, the clients taking turns within each repetition; the rows, and the ratios of the steady calls and of
    the module's bursts with and without a forgetful NAT.
    """
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def take(case: Case, kind: str) -> None:
        results.setdefault((case.letter, kind), []).append(bench.run(case, kind))

    _say("(a) steady calls, clients taking turns")
    steady = steady_ratios(bench.steady(rounds=120))
    for repetition in range(1, repetitions + 1):
        # The module's bursts are compared with each other: in pairs, so that what else the machine does meets both.
        turns = [(case, kind) for case in (HEALTHY, FORGETFUL) for kind in KINDS if kind != "module"]
        for case, kind in [*turns, *((case, "module") for case in (HEALTHY, FORGETFUL, FORGETFUL, HEALTHY))]:
            bench.network.forget_idle_after(LONG if case is HEALTHY else Scale.nat_forgets_after)
            _say(f"repetition {repetition} of {repetitions}: ({case.letter}) {kind}")
            take(case, kind)
        bench.network.forget_idle_after(LONG)
        for kind in KINDS:
            _say(f"repetition {repetition} of {repetitions}: (c)-(f) {kind}")
            with ThreadPoolExecutor(len(TOGETHER)) as threads:
                list(threads.map(lambda case, kind=kind: take(case, kind), TOGETHER))
            _say(f"repetition {repetition} of {repetitions}: (g) {kind}")
            take(SLOW, kind)
    cases = (HEALTHY, FORGETFUL, *TOGETHER, SLOW)
    steady["forgetful"] = paired_p99(results["b", "module"], results["a", "module"])
    return [row(case.letter, case.title, kind, results[case.letter, kind]) for case in cases for kind in KINDS], steady


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def conditions(repetitions: int) -> list[str]:
    """What has to be known to read the figures."""
    installed = ", ".join(pin.replace("==", " ") for pin in NEWEST.pins)
    waits = {name: value for name, value in vars(Scale).items() if isinstance(value, (int, float))}
    return [
        f"{repetitions} repetitions; every wait shortened by {Scale.factor} for all clients, processor time not; "
        "Retry-After is in whole seconds and is not shortened",
        "; ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in waits.items() if name != "factor"),
        f"module: {', '.join(f'{name} {value:g}' for name, value in Scale.module.items())}",
        f"bursts of 64 calls on 32 threads, TLS, 50 ms per answer; {installed}; Python {platform.python_version()}, "
        f"Linux {platform.release()}, {os.cpu_count()} processors shared by clients, gateway and server",
        "latencies are those of all calls, up to the answer or the error the bot gets",
    ]


def main() -> int:
    """Run, print, write, and return 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pool", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("bench-pool.json"), help="where the figures go")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the benchmark makes network namespaces: run it as root")
    with _bench() as bench:
        rows, steady = measure(bench, arguments.repetitions)
    kept = promises(rows, steady)
    print("\n".join(f"# {line}" for line in conditions(arguments.repetitions)))
    print(table(rows))
    print("\n".join(f"{'kept  ' if each.kept else 'BROKEN'} {each.text}" for each in kept))
    figures = {
        "conditions": conditions(arguments.repetitions),
        "rows": [asdict(each) for each in rows],
        "steady": steady,
        "promises": [asdict(each) for each in kept],
    }
    arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {arguments.json}")
    return 0 if all(each.kept for each in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
