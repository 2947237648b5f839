"""The metrics as a real node_exporter shows them, and as promtool reads them; both from Debian's packages."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

from tests.lab.run import wait_for

ROOT = Path(__file__).resolve().parents[2]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.webex_rollout.metrics import BotMetrics, VmMetrics, render, write_metrics  # noqa: E402

HOSTILE = 'a\\"b\nnode_forged 1\n日'
BOTS = [
    BotMetrics("jarvis", "3f2a", "confirmed", True, "promote", "0", 600.5, 590.0, 40, {"time-out": 13}, 2, 8),
    BotMetrics("tars", HOSTILE, "armed", False, drift={HOSTILE: 1}),
]
TEXT = render(BOTS, VmMetrics("0.3.0", 1795790000.5))


def program(package: str, name: str, directory: Path) -> str:
    """A program of a Debian package, unpacked beside the test: no service starts, nothing of the machine changes."""
    found = shutil.which(name)
    if found:
        return found
    environment = {**os.environ, "LC_ALL": "C"}
    for argv in (["apt-get", "download", "-q", package], ["apt-get", "update", "-q"], ["apt-get", "download", package]):
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, env=environment, check=False)
        archives = sorted(directory.glob(f"{package}_*.deb"))
        if archives:
            subprocess.run(["dpkg-deb", "-x", archives[0], directory / package], check=True)
            return str(directory / package / "usr/bin" / name)
    pytest.skip(f"apt-get cannot download {package}: {(done.stderr.splitlines() or ['no reason given'])[-1]}")


def shown_by(exporter: str, directory: Path) -> Iterator[str]:
    """What a node_exporter with this textfile directory serves, once it does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    argv = [exporter, f"--web.listen-address={address}", f"--collector.textfile.directory={directory}"]
    argv += ["--collector.disable-defaults", "--collector.textfile"]
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    texts: list[str] = []

    def served() -> bool:
        assert running.poll() is None, running.stderr and running.stderr.read().decode()
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                texts.append(answer.read().decode())
        except urllib.error.URLError:
            return False
        return True

    try:
        wait_for(served, "node_exporter's first answer", timeout=20, pause=0.1)
        yield texts[-1]
    finally:
        running.terminate()
        running.wait(10)
        if running.stderr:
            running.stderr.close()


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> str:
    return program("prometheus-node-exporter", "prometheus-node-exporter", tmp_path_factory.mktemp("exporter"))


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "link from Debian's directory"])
def test_node_exporter_shows_every_sample(exporter: str, tmp_path: Path, linked: bool) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    path = write_metrics(str(ours), TEXT)
    directory = tmp_path / "debian" if linked else ours
    if linked:
        directory.mkdir()
        (directory / path.name).symlink_to(path)
    for shown in shown_by(exporter, directory):
        assert "node_textfile_scrape_error 0" in shown
        assert "node_forged" not in re.sub(r'"(\\.|[^"\\])*"', "", shown)
        assert 'webex_rollout_soak_heard_seconds{bot="jarvis"} 590' in shown
        assert 'webex_rollout_verdict{bot="jarvis",verdict="promote"} 1' in shown
        assert 'webex_rollout_drift{bot="tars",kind="a\\\\\\"b\\nnode_forged 1\\n日"} 1' in shown
        ours_shown = [line for line in shown.splitlines() if line.startswith("webex_rollout_")]
        assert len(ours_shown) == sum(not line.startswith("#") for line in TEXT.splitlines())


def test_a_broken_file_would_be_seen(exporter: str, tmp_path: Path) -> None:
    (tmp_path / "webex_rollout.prom").write_text(TEXT.replace("} ", '"} ', 1))
    for shown in shown_by(exporter, tmp_path):
        assert "node_textfile_scrape_error 1" in shown


def test_promtool_finds_nothing_to_mend(tmp_path: Path) -> None:
    promtool = program("prometheus", "promtool", tmp_path)
    done = subprocess.run([promtool, "check", "metrics"], input=TEXT.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b""), sys.version
