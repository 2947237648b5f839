"""Who may log in to the VM, and as what: the lab's variants by the account that Ansible connects as.

`vinay`   the operator is the bots' user, with sudo: as in the report, and the way the image is built;
`deploy`  the operator is `deploy`, with sudo; vinay has none, and a home that nobody else may enter;
`root`    the operator is root, by SSH; vinay has no sudo.

A user without any rights, `otheruser`, is on every VM.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.lab.paths import VM_HOME, VM_USER
from tests.lab.run import run

OTHER_USER = "otheruser"
OTHER_UID = 2001
DEPLOY_UID = 2002


@dataclass(frozen=True)
class Accounts:
    """Who connects (`ansible_user`), and the mode of the home of the bots' user, who is vinay in every set-up."""

    operator: str
    home_mode: int

    @property
    def users(self) -> tuple[str, ...]:
        """Everybody who can log in with the lab's key."""
        return tuple(dict.fromkeys((self.operator, VM_USER, OTHER_USER)))

    @property
    def variables(self) -> dict[str, str]:
        """What the inventory says of it."""
        return {"ansible_user": self.operator, "bot_user": VM_USER}

    def make(self, root: Path, public_key: Path) -> None:
        """Make the users below `root`, a disk that has vinay with sudo and is not in use."""
        _add_user(root, OTHER_USER, OTHER_UID)
        sudoers = root / "etc/sudoers.d/operator"
        if self.operator != VM_USER:
            sudoers.unlink()
        if self.operator not in (VM_USER, "root"):
            _add_user(root, self.operator, DEPLOY_UID)
            sudoers.write_text(f"{self.operator} ALL=(ALL) NOPASSWD: ALL\n")
            sudoers.chmod(0o440)
        for user in self.users:
            home = root / ("root" if user == "root" else f"home/{user}")
            _authorize(home / ".ssh", public_key)
        (root / VM_HOME.lstrip("/")).chmod(self.home_mode)


ACCOUNTS = {
    "vinay": Accounts(VM_USER, 0o755),
    "deploy": Accounts("deploy", 0o700),
    "root": Accounts("root", 0o755),
}
"""The set-ups by name."""


def _add_user(root: Path, name: str, uid: int) -> None:
    run(["chroot", root, "useradd", "--create-home", "--uid", str(uid), "--shell", "/bin/bash", name])
    (root / "home" / name).chmod(0o755)


def _authorize(ssh: Path, public_key: Path) -> None:
    """Let the holder of the key in, as the owner of the directory above `ssh`."""
    owner = ssh.parent.stat()
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(public_key, ssh / "authorized_keys")
    for path in (ssh, ssh / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)
