"""Runs the suite inside an environment of the bots, against one copy of the pool module."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.unit.pool.environments import Environment

PROJECT = Path(__file__).resolve().parents[3]
MODULE = PROJECT / "files" / "webex_pool_config.py"
READER = PROJECT / "module_utils" / "webex_rollout" / "channel.py"
SUITE = Path(__file__).resolve().parent / "suite"
LIMIT = 600  # s
HOSTS = ("webexapis.com", "api.ciscospark.com", "u2c.wbx2.com", "wdm-a.wbx2.com", "conv-a.wbx2.com", "127.0.0.1")


@dataclass(frozen=True)
class Outcome:
    """What pytest said; `counts` has passed, failed, error and skipped, where they occurred."""

    code: int
    text: str

    @property
    def counts(self) -> dict[str, int]:
        summary = self.text.strip().splitlines()[-1] if self.text.strip() else ""
        return {what.rstrip("s"): int(number) for number, what in re.findall(r"(\d+) ([a-z]+)", summary)}


def run_suite(
    environment: Environment, tests: Sequence[str] = (), module: Path = MODULE, limit: float = LIMIT
) -> Outcome:
    """Run `tests`, or all but those that need a network of their own; `module` is called webex_pool_config.py.

    :param limit: seconds after which the suite counts as hanging.
    """
    return _run(environment, [*tests] or ["--ignore", "test_silence.py"], module, [], limit)


def run_silence(
    environment: Environment, tests: Sequence[str] = ("test_silence.py",), module: Path = MODULE
) -> Outcome:
    """Run the tests that drop flows, in a network namespace of their own (root, or a user namespace)."""
    own_network = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    return _run(environment, tests, module, own_network)


def can_drop_flows() -> bool:
    """Whether this machine has what `run_silence` needs."""
    return all(shutil.which(command) for command in ("unshare", "nft", "ip"))


def _run(
    environment: Environment, tests: Sequence[str], module: Path, prefix: Sequence[str], limit: float = LIMIT
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="wbr-pool-") as scratch:
        certificates = Path(scratch)
        _make_certificates(certificates)
        argv = [*prefix, environment.interpreter(), "-B", "-m", "pytest", "-q", "--tb=short", "--no-header"]
        # The bots' environments know nothing of this project's settings, and pytest's own handlers would be heard.
        argv += [
            "-c",
            os.devnull,
            "--rootdir",
            ".",
            "--confcutdir",
            ".",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:logging",
            "-W",
            "ignore",
        ]
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "POOL_SUITE_MODULE": str(module),
            "POOL_SUITE_READER": str(READER),
            "POOL_SUITE_CERTIFICATES": str(certificates),
            "POOL_SUITE_OWN_NETWORK": "1" if prefix else "0",
            "NO_PROXY": "",
        }
        done = subprocess.run(
            [*argv, *tests], cwd=SUITE, env=env, capture_output=True, text=True, timeout=limit, check=False
        )
    return Outcome(done.returncode, done.stdout + done.stderr)


def _make_certificates(into: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(into / "ca.pem")
    authority.issue_cert(*HOSTS).private_key_and_cert_chain_pem.write_to_path(into / "server.pem")
