"""One replica VM: a real systemd as PID 1, in a container on an overlay over the cached image."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.run import Daemon, run, start_time, wait_for

# --register=no, --keep-unit: works without a systemd or a machined on the host. Exit code 133 means "rebooted": with
# --keep-unit nspawn leaves starting again to its caller.
_BOOT = (
    "while :; do systemd-nspawn --quiet --boot --register=no --keep-unit --console=pipe --link-journal=no"
    " --resolv-conf=off --timezone=off --hostname=metcirt-lab --machine={machine}"
    " --directory={root} --network-namespace-path=/run/netns/{namespace}"
    " </dev/null; [ $? -eq 133 ] || exit; done"
)


@dataclass
class Machine:
    """The VM of one lab; `directory` is the lab's own directory below /run."""

    name: str
    directory: Path
    namespace: str
    supervisor: Daemon | None = None

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def _scratch(self) -> Path:
        return self.directory / "scratch"

    def make_disk(self, layers: Sequence[Path], size: str = "4g") -> None:
        """Mount a pristine disk: an overlay over the image's layers (uppermost first), changes in memory."""
        for directory in (self.root, self._scratch):
            directory.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", f"wbr-{self.name}", self._scratch])
        upper, work = self._scratch / "upper", self._scratch / "work"
        upper.mkdir(mode=0o755)
        work.mkdir()
        lower = ":".join(str(layer) for layer in layers)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", "-o", options, f"wbr-{self.name}", self.root])

    def start(self) -> Daemon:
        """Start the VM and return the process that keeps it; `wait_up` waits for its systemd."""
        script = _BOOT.format(
            # A host name has no underscore.
            machine=shlex.quote(f"wbr-{self.name}".replace("_", "-")),
            root=shlex.quote(str(self.root)),
            namespace=self.namespace,
        )
        self.supervisor = Daemon.spawn(["sh", "-c", script], self.directory / "console.log")
        return self.supervisor

    def wait_up(self, *, timeout: float = 60) -> None:
        """Wait until systemd in the VM has finished starting; failed units are an error."""
        wait_for(lambda: self._running() is not None, f"{self._where} starting", timeout=timeout)
        state = self.execute(["systemctl", "is-system-running", "--wait"], check=False, timeout=timeout).stdout.strip()
        if state != "running":
            failed = self.execute(["systemctl", "--failed", "--no-legend", "--plain"], check=False).stdout.strip()
            said = self.execute(["journalctl", "-b", "--no-pager", "-p", "4", "-n", "20"], check=False).stdout.strip()
            raise LabError(f"{self._where} is {state or 'not answering'}, not running: {failed}\n{said}")

    @property
    def leader(self) -> int:
        """Pid (on this side) of the VM's PID 1."""
        nspawn = self._child(self.supervisor.pid if self.supervisor else 0)
        leader = self._child(nspawn) if nspawn else None
        if leader is None:
            raise LabError(f"{self._where} is not running; see {self.directory / 'console.log'}")
        return leader

    def execute(
        self, argv: Sequence[str | Path], *, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside the VM, past SSH: for looking and for breaking things, never for deploying."""
        inside = ["nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--net", "--pid"]
        clean = ["env", "-i", "--chdir=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        return run([*inside, "--root", *clean, *argv], stdin=stdin, check=check, timeout=timeout)

    def power_off_hard(self) -> None:
        """Pull the plug: every process of the VM is gone at once, the disk stays."""
        if self.supervisor is None:
            return
        nspawn = self._child(self.supervisor.pid)
        leader = self._child(nspawn) if nspawn else None
        self.supervisor.signal(signal.SIGKILL)
        for pid in (leader, nspawn):
            started = start_time(pid) if pid else None
            if pid and started is not None:
                Daemon(pid, started).stop(grace=0)
        self.supervisor.stop(grace=0)

    def remove_disk(self) -> None:
        for mount in (self.root, self._scratch):
            if mount.is_mount():
                run(["umount", "--recursive", "--lazy", mount])

    @property
    def _where(self) -> str:
        return f"the replica VM of lab '{self.name}'"

    def _running(self) -> bool | None:
        if self.supervisor is None or not self.supervisor.alive:
            raise LabError(f"{self._where} did not start; see {self.directory / 'console.log'}")
        try:
            state = self.execute(["systemctl", "is-system-running"], check=False).stdout.strip()
        except LabError:
            return None
        return True if state not in ("", "offline", "unknown") else None

    @staticmethod
    def _child(pid: int) -> int | None:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(children[0]) if children else None
