"""The replica's disk: built once, cached by a hash of what goes into it, used read-only below an overlay.

Two layers, so that a change in the bots' source costs a second and not a minute: `base` (Debian, user, the bots'
virtual environment) and `content` (checkout, host names).
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.network import CLOUD_ADDRESS
from tests.lab.paths import CACHE, CHECKOUT, VM_CHECKOUT, VM_HOME, VM_UID, VM_USER, VM_ZONE
from tests.lab.run import run
from tests.lab.webex.ca import HOSTS

SUITES = {"bookworm": "3.11", "trixie": "3.13"}
"""The VM's releases of Debian, each with its Python."""
SUITE = "bookworm"
VM_PACKAGES = (
    "ca-certificates",
    "cron",
    "dbus",
    "git",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tmux",
    "tzdata",
)


def layers(say: Callable[[str], None], suite: str = SUITE) -> tuple[Path, Path]:
    """Return (base, content), building what is missing; several builders wait for each other."""
    inputs = _base_inputs(suite)
    base = _layer("base", inputs, lambda into: _build_base(into, suite), say)
    content = _layer("content", [*inputs, *_content_inputs()], lambda into: _build_content(into, base), say)
    return base, content


def clean() -> None:
    """Remove every cached layer."""
    shutil.rmtree(CACHE / "image", ignore_errors=True)


def _base_inputs(suite: str) -> list[bytes]:
    requirements = (CHECKOUT / "requirements.txt").read_bytes()
    return [Path(__file__).read_bytes(), requirements, platform.machine().encode(), suite.encode()]


def _content_inputs() -> list[bytes]:
    files = sorted(path for path in CHECKOUT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [part for path in files for part in (str(path.relative_to(CHECKOUT)).encode(), path.read_bytes())]


def _layer(kind: str, inputs: list[bytes], build: Callable[[Path], None], say: Callable[[str], None]) -> Path:
    digest = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in inputs)).hexdigest()[:16]
    cache = CACHE / "image"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{kind}-{digest}"
    with _locked(cache / f"{kind}.lock"):
        if target.exists():
            return target
        say(f"building the replica's {kind} layer (once; cached)")
        partial = cache / f"{kind}-{digest}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(mode=0o755)
            build(partial)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build_base(root: Path, suite: str) -> None:
    run(["mmdebstrap", "--variant=minbase", f"--include={','.join(VM_PACKAGES)}", suite, root], timeout=900)
    run(["chroot", root, "useradd", "--create-home", "--uid", str(VM_UID), "--shell", "/bin/bash", VM_USER])
    _write(root / "etc/sudoers.d/operator", f"{VM_USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    _write(root / "etc/ssh/sshd_config.d/lab.conf", "PasswordAuthentication no\nUseDNS no\nMaxStartups 100\n")
    for name in root.glob("etc/ssh/ssh_host_*"):
        name.unlink()
    (root / "etc/hostname").write_text("metcirt-lab\n")
    # An empty or missing id makes the first boot ask questions; every lab is the same machine.
    (root / "etc/machine-id").write_text("5f3a8c1de2b94706a1c7d80e9b264f13\n")
    localtime = root / "etc/localtime"
    localtime.unlink(missing_ok=True)
    localtime.symlink_to(f"/usr/share/zoneinfo/{VM_ZONE}")
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "systemd-resolved.service", "systemd-timesyncd.service"):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _build_venv(root, SUITES[suite])


def _build_venv(root: Path, python: str) -> None:
    """Install the bots' pinned packages, fetched by this machine's pip, into a virtual environment inside the image."""
    wheels = root / "wheels"
    wheels.mkdir()
    requirements = CHECKOUT / "requirements.txt"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if sys.version_info[:2] == tuple(int(part) for part in python.split(".")):
        run([*pip, "wheel", "--wheel-dir", wheels, "-r", requirements])
    else:
        # Binary wheels must fit the image's Python; a package that has no wheel is pure Python and built here.
        for line in requirements.read_text().splitlines():
            if line.startswith("webexteamssdk"):
                run([*pip, "wheel", "--no-deps", "--wheel-dir", wheels, line.split("#")[0].strip()])
        run(
            [*pip, "download", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
            + [
                "--platform",
                f"manylinux2014_{platform.machine()}",
                "--find-links",
                wheels,
                "-d",
                wheels,
                "-r",
                requirements,
            ]
        )
    shutil.copy(requirements, wheels / "requirements.txt")
    venv = f"{VM_CHECKOUT}/.venv"
    run(["chroot", root, "python3", "-m", "venv", venv])
    # The empty environment keeps the caller's pip settings (indexes, certificates) out of the image.
    run(
        [
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "chroot",
            root,
            f"{venv}/bin/pip",
            "install",
            "--quiet",
        ]
        + ["--no-index", "--find-links", "/wheels", "-r", "/wheels/requirements.txt"]
    )
    shutil.rmtree(wheels)
    run(["chown", "-R", f"{VM_UID}:{VM_UID}", root / VM_HOME.lstrip("/")])


def _build_content(root: Path, base: Path) -> None:
    home = root / VM_HOME.lstrip("/")
    checkout = root / VM_CHECKOUT.lstrip("/")
    shutil.copytree(CHECKOUT, checkout, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    (checkout / "logs").mkdir(exist_ok=True)
    git = ["git", "-C", checkout, "-c", "user.name=vinay", "-c", "user.email=vinay@lab.invalid"]
    run([*git, "init", "--quiet", "--initial-branch=main"])
    (checkout / ".git/info/exclude").write_text(".venv/\nlogs/\n__pycache__/\n")
    run([*git, "add", "."])
    run([*git, "commit", "--quiet", "-m", "Bots as they run on metcirt-lab"])
    run(["chown", "-R", f"{VM_UID}:{VM_UID}", home])
    home.chmod(0o755)
    hosts = ["127.0.0.1 localhost metcirt-lab", "::1 localhost", f"{CLOUD_ADDRESS} {' '.join(HOSTS)}"]
    _write(root / "etc/hosts", "\n".join(hosts) + "\n")
    # Directories that both layers have are seen with the upper layer's owner and mode.
    for directory in (root / "etc", root / "home"):
        shutil.copystat(base / directory.relative_to(root), directory)
    if (base / VM_HOME.lstrip("/")).stat().st_uid != VM_UID:
        raise LabError(
            f"{base} is damaged: {VM_HOME} does not belong to {VM_USER}; remove it and run `make lab-up` again"
        )


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
