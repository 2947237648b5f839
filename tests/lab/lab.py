"""A lab: the replica VM, the gateway that forgets, the Webex stand-in, and the way in by SSH on a loopback address."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from tests.lab import history, image, packages
from tests.lab.accounts import ACCOUNTS, Accounts
from tests.lab.errors import LabError
from tests.lab.machine import Machine
from tests.lab.network import CLOUD_ADDRESS, Network
from tests.lab.paths import BOTS, PROJECT, RUN, VM_CHECKOUT, VM_UID, VM_USER, VM_ZONE
from tests.lab.run import Daemon, locked, run, start_time, wait_for
from tests.lab.webex.accounts import (
    OUTREACH_ROOM_KEY,
    WAR_ROOM_KEY,
    load_accounts,
    new_accounts,
    save_accounts,
    token_variable,
)
from tests.lab.webex.ca import ensure_ca
from tests.lab.webex.client import WebexLab
from tests.lab.webex.ids import to_rest_id

PORT = 2222
VM_CA = "/usr/local/share/webex-lab-ca.pem"
# Office NATs forget after minutes; seconds keep the demonstration short. The bots' own time-outs stay what they are.
FORGET_IDLE_AFTER = 5


def _quiet(_: str) -> None:
    """Say nothing."""


@dataclass
class Lab:
    """One lab by name. Everything it makes is in `/run/webex-bot-rollout/<name>` or named after it."""

    name: str = "default"
    variant: str = "vinay"
    """Whose accounts the VM has: a name in ACCOUNTS."""
    suite: str = image.SUITE
    """The VM's release of Debian: a name in SUITES."""
    address: str = ""
    daemons: dict[str, Daemon] = field(default_factory=dict)
    owner: Daemon | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or len(self.name) > 20:
            raise LabError(f"lab name '{self.name}': letters, digits and _ only, at most 20 of them")
        if self.variant not in ACCOUNTS:
            raise LabError(f"there is no set-up of accounts '{self.variant}': {', '.join(ACCOUNTS)}")
        if self.suite not in image.SUITES:
            raise LabError(f"there is no image of '{self.suite}': {', '.join(image.SUITES)}")

    @property
    def directory(self) -> Path:
        return RUN / self.name

    @property
    def network(self) -> Network:
        return Network(self.name)

    @property
    def machine(self) -> Machine:
        return Machine(self.name, self.directory, self.network.vm, self.daemons.get("machine"))

    @property
    def webex(self) -> WebexLab:
        """The stand-in's control: send messages, read the books, inject faults."""
        return WebexLab(self._control)

    @property
    def _control(self) -> Path:
        return self.directory / "webex.sock"

    @property
    def _accounts(self) -> Path:
        return self.directory / "accounts.json"

    @property
    def _authority(self) -> Path:
        return self.directory / "ca"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def accounts(self) -> Accounts:
        return ACCOUNTS[self.variant]

    @property
    def inventory(self) -> str:
        """Inventory source for this lab: the committed one where it fits, otherwise a copy of its own."""
        committed = PROJECT / "inventory" / "lab"
        fits = self.name == "default" and self.variant == "vinay"
        return str(committed if fits else self.directory / "inventory")

    def up(
        self, *, forget_idle_after: int = FORGET_IDLE_AFTER, owned: bool = False, say: Callable[[str], None] = _quiet
    ) -> Lab:
        """Bring the lab up, pristine; on any failure or interrupt nothing stays behind.

        `owned` ties the lab to this process: another lab's start removes it once this process is gone.
        """
        packages.ensure(say)
        layers = image.layers(say, self.suite)
        remove_orphans()
        variant, suite = self.variant, self.suite
        self.down()
        self.variant, self.suite = variant, suite  # not those of a lab which stood here before
        try:
            if owned:
                self.owner = Daemon(os.getpid(), start_time(os.getpid()) or 0)
            self._claim_address()
            say(f"starting the replica VM on {self.address} (lab '{self.name}')")
            self.network.up(forget_idle_after=forget_idle_after)
            self.machine.make_disk([*reversed(layers)])
            self._write_history()
            self._make_keys()
            self._start_webex()
            try:
                self._boot()
            except LabError as error:
                # Nothing of ours is on a pristine disk. Units of Debian's have failed in two labs of one run, and not
                # in a hundred boots since: it is not known why.
                warnings.warn(f"started once more: {error}", RuntimeWarning, stacklevel=2)
                self.reboot_hard()
            self._start_forwarder()
        except BaseException:
            self.down()
            raise
        return self

    def start_bots(self, bots: tuple[str, ...] = BOTS) -> None:
        """Start bots the way the operator does: by hand, under nohup, from a shell that alone has their environment."""
        lines = [f"cd {VM_CHECKOUT}", *self.bot_environment()]
        lines += map(self.start_line, bots)
        self.shell(VM_USER, "\n".join(lines) + "\n")
        if not self.webex.wait_connected(bots, timeout=60):
            silent = [bot for bot, books in self.webex.books().bots.items() if bot in bots and not books.connected]
            raise LabError(
                f"{', '.join(silent)} did not connect to Webex within 60 s; see {VM_CHECKOUT}/logs on the VM"
            )

    @staticmethod
    def start_line(bot: str) -> str:
        """How the operator starts a bot, in the checkout."""
        return f"nohup env PYTHONPATH={VM_CHECKOUT}/shared_libs .venv/bin/python webex_bots/{bot}.py > /dev/null 2>&1 &"

    def bot_environment(self) -> list[str]:
        """The export lines of the operator's shell: CA files, rooms, and one token a bot."""
        tokens = {token_variable(account.bot): account.token for account in load_accounts(self._accounts)}
        rooms = {"WAR_ROOM": WAR_ROOM_KEY, "OUTREACH": OUTREACH_ROOM_KEY}
        values = {"REQUESTS_CA_BUNDLE": VM_CA, "SSL_CERT_FILE": VM_CA, **tokens}
        values.update({f"WEBEX_ROOM_ID_{name}": to_rest_id("ROOM", key) for name, key in rooms.items()})
        return [f"export {name}='{value}'" for name, value in values.items()]

    def shell(
        self, user: str, script: str, *, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a script with bash in a login of `user` by SSH, as people and tools get in."""
        # On standard input, never as arguments: the script may carry tokens.
        return run([*self.ssh_command(user), "bash", "-s"], stdin=script, check=check, timeout=timeout)

    def ssh_command(self, user: str = "") -> list[str]:
        """The way in for one of the lab's users, without one for the operator."""
        return ["ssh", "-p", str(PORT), *self.ssh_options, f"{user or self.accounts.operator}@{self.address}"]

    @property
    def ssh_options(self) -> list[str]:
        """What ssh and scp need to be let in, and to believe the lab."""
        options = [f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes", "IdentitiesOnly=yes"]
        return ["-q", "-i", str(self.key), *(word for option in options for word in ("-o", option))]

    def down(self) -> None:
        """Take the lab down; safe to call at any time, also for a lab that is half up or not there."""
        self._load()
        for name, daemon in self.daemons.items():
            if name != "machine":
                daemon.stop()
        self.machine.power_off_hard()
        self.machine.remove_disk()
        self.network.down()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.daemons, self.address = {}, ""

    def _boot(self) -> None:
        self._remember("machine", self.machine.start())
        self.machine.wait_up()

    def reboot_hard(self) -> None:
        """Power cut: all processes gone at once, then a boot from the same disk."""
        self.machine.power_off_hard()
        self._boot()

    def _start_webex(self) -> None:
        command = ["ip", "netns", "exec", self.network.cloud, sys.executable, "-m", "tests.lab.webex"]
        arguments = ["--address", CLOUD_ADDRESS, "--control", self._control]
        secrets = ["--accounts", self._accounts, "--ca-dir", self._authority]
        log = self.directory / "webex.log"
        daemon = Daemon.spawn([*command, *arguments, *secrets], log)
        self._remember("webex", daemon)
        wait_for(lambda: "ready" in log.read_text() or not daemon.alive, "the Webex stand-in", timeout=30)
        if not daemon.alive:
            raise LabError(f"the Webex stand-in ended: {log.read_text().strip()[-1000:]}")

    def _start_forwarder(self) -> None:
        with socket.create_server((self.address, PORT)) as listener:
            command = ["ip", "netns", "exec", self.network.vm, sys.executable, "-m", "tests.lab.forward"]
            log = self.directory / "forward.log"
            self._remember(
                "forward", Daemon.spawn([*command, str(listener.fileno())], log, pass_fds=[listener.fileno()])
            )

    def _write_history(self) -> None:
        """Five days of failures in the bots' logs up to now; stale ones would be no history to judge a release by."""
        logs = self.machine.root / VM_CHECKOUT.lstrip("/") / "logs"
        history.write(logs, end=datetime.now(ZoneInfo(VM_ZONE)).replace(tzinfo=None) - timedelta(minutes=5))
        for log in logs.iterdir():
            os.chown(log, VM_UID, VM_UID)

    def _make_keys(self) -> None:
        """Fresh secrets: the operator's key, the VM's host key (known beforehand), the cloud's CA, the bots' tokens."""
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{self.name}", "-f", self.key])
        host_key = self.machine.root / "etc/ssh/ssh_host_ed25519_key"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "metcirt-lab", "-f", host_key])
        host_public = host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[{self.address}]:{PORT} {host_public}")
        self.accounts.make(self.machine.root, self.key.with_suffix(".pub"))
        save_accounts(self._accounts, new_accounts())
        shutil.copy(ensure_ca(self._authority), self.machine.root / VM_CA.lstrip("/"))

    def _claim_address(self) -> None:
        """Take a loopback address that no other lab has, and write down that it is ours."""
        with locked("lock"):
            taken = {lab.address for lab in existing()}
            numbers = [1] if self.name == "default" else range(2, 255)
            free = [f"127.87.0.{number}" for number in numbers if f"127.87.0.{number}" not in taken]
            if not free:
                raise LabError("no loopback address is free for another lab; `python -m tests.lab list` shows them")
            self.address = free[0]
            self.directory.mkdir(parents=True, mode=0o700)
            self._save()
        copy = self.directory / "inventory"
        shutil.copytree(PROJECT / "inventory" / "lab", copy)
        group_vars = copy / "group_vars" / "bots.yml"
        variables = yaml.safe_load(group_vars.read_text())
        variables |= {
            "ansible_host": self.address,
            **self.accounts.variables,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes",
        }
        group_vars.write_text(yaml.safe_dump(variables))

    def _remember(self, name: str, daemon: Daemon) -> None:
        self.daemons[name] = daemon
        self._save()

    def _save(self) -> None:
        daemons = {name: asdict(daemon) for name, daemon in self.daemons.items()}
        state = {"address": self.address, "variant": self.variant, "suite": self.suite, "daemons": daemons}
        if self.owner:
            state["owner"] = asdict(self.owner)
        partial = self.directory / "lab.json.partial"
        partial.write_text(json.dumps(state))
        partial.rename(self.directory / "lab.json")

    def _load(self) -> None:
        try:
            state = json.loads((self.directory / "lab.json").read_text())
        except FileNotFoundError:
            return
        self.address, self.variant = state["address"], state.get("variant", "vinay")
        self.suite = state.get("suite", image.SUITE)
        self.daemons = {name: Daemon(**daemon) for name, daemon in state["daemons"].items()}
        self.owner = Daemon(**state["owner"]) if "owner" in state else None


def attach(name: str = "default") -> Lab:
    """The lab of this name as it runs now."""
    lab = Lab(name)
    lab._load()
    if not lab.address:
        raise LabError(f"lab '{name}' is not up: run `make lab-up`")
    return lab


def existing() -> list[Lab]:
    """Every lab on this machine that has left a state file."""
    labs = []
    for path in sorted(RUN.glob("*/lab.json")):
        with suppress(LabError):  # one that was taken down since
            labs.append(attach(path.parent.name))
    return labs


def remove_orphans() -> None:
    """Take down the labs whose owning process died without doing so."""
    with locked("orphans.lock"):  # labs that start side by side must not take the same one down at once
        for lab in existing():
            if lab.owner is not None and not lab.owner.alive:
                lab.down()


@contextmanager
def temporary(name: str, variant: str = "vinay", *, suite: str = image.SUITE, **options: object) -> Iterator[Lab]:
    """A lab for the length of a `with` block."""
    lab = Lab(name, variant, suite).up(owned=True, **options)  # type: ignore[arg-type]
    try:
        yield lab
    finally:
        lab.down()
