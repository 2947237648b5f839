"""Writes a private data directory for ansible-runner: the project as it is committed, an inventory, and no secret.

`python -m plugin_utils.runner --into runner --inventory inventory/production`; docs/controllers.md has what follows.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    # ansible-runner switches the check off where nothing is said.
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_NOCOLOR": "1",
}
# A variable of YAML or INI whose name says what it is; the file of a key is none.
SECRET = re.compile(
    r"""(?<![\w-])(?P<name>\w*(?:passw(?:or)?d|passphrase|_pass|token|secret|api_?key|private_?key)(?!\w*_file\b)\w*)"""
    r"""["']?\s*(?::\s|=)\s*(?P<value>\S.*)$""",
    re.IGNORECASE,
)
# A vault's text, what is looked up where the run happens, nothing at all.
ELSEWHERE = ("!vault", "{{", '"{{', "'{{", "#", "''", '""')


class RunnerError(Exception):
    """Why no directory was written, with the next step."""


def secrets_in(inventory: Path) -> Iterator[str]:
    """Variables of an inventory that look like secrets and stand there in clear, as ``file:line: name``."""
    for path in sorted(path for path in [inventory, *inventory.rglob("*")] if path.is_file()):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            found = SECRET.search(line)
            if found and not line.lstrip().startswith("#") and not found["value"].startswith(ELSEWHERE):
                yield f"{path}:{number}: {found['name']}"


def write(into: Path, inventory: Path, project: Path = PROJECT) -> None:
    """Write the directory, or write it anew; artifacts of earlier runs stay.

    :raises RunnerError: when it would hold a secret, or the project is no git checkout.
    """
    if not inventory.exists():
        raise RunnerError(f"{inventory} is not there; name your inventory: make runner INVENTORY=inventory/production")
    clear = list(secrets_in(inventory))
    if clear:
        raise RunnerError(
            f"not written: {'; '.join(clear)} would travel in clear to every worker. Encrypt it (ansible-vault "
            "encrypt_string), look it up on the worker ({{ lookup('env', …) }}), or log in by key"
        )
    archive = subprocess.run(
        ["git", "-C", str(project), "archive", "--format=tar", "HEAD"], capture_output=True, check=False
    )
    if archive.returncode != 0:
        raise RunnerError(f"{project} is no git checkout ({archive.stderr.decode(errors='replace').strip()}); clone it")
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("project", "inventory", "env"):
        shutil.rmtree(into / name, ignore_errors=True)
        (into / name).mkdir(mode=0o700)
    with tempfile.TemporaryFile() as file:
        file.write(archive.stdout)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(into / "project", filter="data")
    if inventory.is_dir():
        shutil.copytree(inventory, into / "inventory", dirs_exist_ok=True)
    else:
        shutil.copy(inventory, into / "inventory")
    (into / "env" / "envvars").write_text(json.dumps(ENVIRONMENT, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make runner", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("runner"))
    parser.add_argument("--inventory", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        write(given.into, given.inventory)
    except RunnerError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.into} is written. Next: ansible-runner run {given.into} -p rollout.yml   (docs/controllers.md)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
