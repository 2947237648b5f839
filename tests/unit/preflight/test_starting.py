"""Code on disk that would not start any more is seen; what cannot be told without running it is let pass."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.become import account_of
from ansible.module_utils.webex_rollout.starting import start_problem

SCRIPT = "webex_bots/jarvis.py"


def asked(home: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return start_problem(sys.executable, str(home), SCRIPT, account_of(getpass.getuser()))


SOUND: dict[str, dict[str, str]] = {
    "nothing of its own": {SCRIPT: "import os, json.decoder\nimport nowhere_to_be_found.inner\n"},
    "a package": {SCRIPT: "from src.utils.helper import x\n", "src/utils/helper.py": "x = 1\n", "src/__init__.py": ""},
    "a namespace": {SCRIPT: "from src.utils import helper\n", "src/utils/helper.py": ""},
    "a name of the package": {SCRIPT: "from src import name\n", "src/__init__.py": "name = 1\n"},
    "modules made at run time": {
        SCRIPT: "import src.made\n",
        "src/__init__.py": "import sys; sys.modules['src.made'] = sys\n",
    },
    "a path of its own": {SCRIPT: "import lib.deep.tool\n", "lib/x.txt": "", "vendor/lib/deep/tool.py": ""},
    "a directory named as what is installed": {SCRIPT: "import pytest\nimport yaml.nodes\n", "yaml/config.txt": ""},
    "guarded": {SCRIPT: "try:\n    import src.gone\nexcept ImportError:\n    pass\n", "src/__init__.py": ""},
    "later": {SCRIPT: "def f():\n    import src.gone\n", "src/__init__.py": ""},
    "compiled": {SCRIPT: "import src.fast\n", "src/__init__.py": "", "src/fast.cpython-311-x86_64-linux-gnu.so": ""},
    "to be generated": {SCRIPT: "import src.fast\n", "src/__init__.py": "", "src/fast.pyx": ""},
    "relative": {
        SCRIPT: "from . import near\nfrom .near import x\n",
        "webex_bots/near.py": "x = 1\n",
        "webex_bots/__init__.py": "",
    },
    "everything": {SCRIPT: "from src import *\n", "src/__init__.py": ""},
    "the pool module, which a rollout restores": {
        SCRIPT: "from src.pool import configure_webex_api_session, PoolSettings\n",
        "src/__init__.py": "",
    },
    "a circle": {SCRIPT: "import src.a\n", "src/a.py": "import src.b\n", "src/b.py": "import src.a\n"},
}


@pytest.mark.parametrize("files", SOUND.values(), ids=SOUND.keys())
def test_what_starts_is_let_pass(tmp_path: Path, files: dict[str, str]) -> None:
    assert asked(tmp_path, files) == ""


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "a module": (
        {SCRIPT: "import os\nfrom src.utils.helper import x\n", "src/utils/other.py": ""},
        "webex_bots/jarvis.py, line 2, imports src.utils.helper, which is not there",
    ),
    "a module of a namespace": (
        {SCRIPT: "from src.utils import helper\n", "src/utils/20-units": ""},
        "webex_bots/jarvis.py, line 1, imports src.utils.helper, which is not there",
    ),
    "a module of an empty package": (
        {SCRIPT: "from src import helper\n", "src/__init__.py": "# nothing\n"},
        "webex_bots/jarvis.py, line 1, imports src.helper, which is not there",
    ),
    "of a module": (
        {SCRIPT: "import src.a\n", "src/a.py": "\n\nfrom .b import c\n", "src/__init__.py": ""},
        "src/a.py, line 3, imports b, which is not there",
    ),
    "a helper that does not parse": (
        {SCRIPT: "from src import a\n", "src/a.py": "x = 1\n<<<<<<< HEAD\n", "src/__init__.py": ""},
        "src/a.py, line 2, does not parse",
    ),
    "beside the script": (
        {SCRIPT: "import tools.a\n", "webex_bots/tools/b.py": ""},
        "webex_bots/jarvis.py, line 1, imports tools.a, which is not there",
    ),
}


@pytest.mark.parametrize(("files", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_what_would_not_start_is_named(tmp_path: Path, files: dict[str, str], words: str) -> None:
    assert words in asked(tmp_path, files)


def test_a_directory_that_is_a_link_to_elsewhere(tmp_path: Path) -> None:
    home, other = tmp_path / "IR", tmp_path / "generators"
    other.mkdir()
    (home / "src").mkdir(parents=True)
    (home / "src/utils").symlink_to(other)
    assert "imports src.utils.helper" in asked(home, {SCRIPT: "from src.utils.helper import x\n"})
