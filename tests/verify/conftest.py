"""The verify suite's view of an inventory: which bots are where, and what was wanted of them.

With `--hosts=ansible://bots` each bot is reached as the inventory says. With another backend, such as
`--hosts=paramiko://vinay@metcirt-lab`, a host is a VM, and every bot that the inventory puts on it is looked at.
paramiko:// only warns of an unknown host key; ansible:// goes by ssh's own rules.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
import pytest
from testinfra.host import Host

from plugin_utils.client_patch import CONSTRUCTION, MODULE, NAMES, Templates
from plugin_utils.client_patch import Settings as PatchSettings
from tests.verify.inventory import PROJECT, bot_settings, in_full

DEFAULT_INVENTORY = str(PROJECT / "inventory" / "production")


@dataclass(frozen=True)
class Bot:
    """A bot and what is wanted of it, as the inventory says."""

    name: str
    settings: dict[str, Any] = field(repr=False)

    @property
    def unit(self) -> str:
        return f"webex-bot@{self.name}.service"

    @property
    def drop_in(self) -> str:
        return f"/etc/systemd/system/{self.unit}.d/10-bot.conf"

    @property
    def script(self) -> str:
        return f"{self.settings['bot_home']}/{self.settings['bot_script']}"

    @property
    def log(self) -> str:
        return str(self.settings["bot_log"])

    def pool_module(self, vm: Host) -> tuple[str, str]:
        """The name under which the script imports the pool module, and the module's file."""
        name = self.settings["webex_pool_module"]
        if name == "auto":
            found = re.search(r"^\s*from (\S*webex_pool_config) import", vm.file(self.script).content_string, re.M)
            name = found[1] if found is not None else "webex_pool_config"
        relative = name.lstrip(".").replace(".", "/") + ".py"
        # Relative to the script's package, to the checkout, or beside the script.
        above = PurePosixPath(self.script).parents[max(len(name) - len(name.lstrip(".")) - 1, 0)]
        places = [above] if name.startswith(".") else [PurePosixPath(self.settings["bot_home"]), above]
        paths = [str(place / relative) for place in places]
        return name, next((path for path in paths if vm.file(path).exists), paths[0])

    def patch(self, module: str) -> PatchSettings:
        """What the role's templates make of these settings, with the pool module of this name."""
        loader = jinja2.FileSystemLoader(PROJECT / "roles" / "client_patch" / "templates")
        environment = jinja2.Environment(loader=loader, keep_trailing_newline=False)

        def render(name: str) -> str:
            given = {**self.settings, "webex_pool_module": MODULE}
            return environment.get_template(name).render(given, construction=CONSTRUCTION, names=NAMES)

        templates = Templates(render("api_client.j2"), render("bot_client.j2"), render("import.j2"))
        timeout = self.settings["webex_request_timeout"]
        return PatchSettings(templates, timeout, written=module, module=module.lstrip("."))

    @property
    def connections(self) -> int:
        """How many connections the bot's three clients may hold at once."""
        return 3 * int(self.settings["webex_pool_maxsize"])


@dataclass(frozen=True)
class Look:
    """The main process of a bot's unit at one moment; `at` is the controller's monotonic clock."""

    pid: int
    restarts: int
    at: float

    @classmethod
    def take(cls, vm: Host, bot: Bot) -> Look:
        shown = vm.check_output("systemctl show --property=MainPID --property=NRestarts %s", bot.unit)
        values = dict(line.split("=", 1) for line in shown.splitlines())
        return cls(int(values["MainPID"]), int(values["NRestarts"]), time.monotonic())


FACTS = {
    "unit": "The bot's unit is active, enabled, and its process stays.",
    "process": "One copy runs, the unit's, and nothing else would start another.",
    "limit": "The limit of open files is in force.",
    "source": "Pool module and script are the project's.",
    "session": "The process says that its sessions use the pool.",
    "connection": "Its connections are kept alive, and not too many.",
    "log": "No call has timed out since the switch.",
}
"""What is proved, each a marker: ``-m limit`` looks at that alone."""

CURES = {
    "unit": "`sudo webex-rollout status` and `journalctl -u {unit}` there; rollout.yml --limit {bot}, also at first",
    "process": "end the other copy and what starts it (preflight names it), then rollout.yml --limit {bot}",
    "limit": "rollout.yml --limit {bot} writes the unit's limit; raise fs.nr_open where the kernel allows less",
    "source": "it was edited, or another release runs: rollout.yml --limit {bot} --check --diff shows what differs",
    "session": "it imports another module, or was started before the patch: playbooks/restart.yml --limit {bot}",
    "connection": "write to the bot and look again; else `ss -tnop` on the VM, and playbooks/restart.yml --limit {bot}",
    "log": "playbooks/status.yml shows the verdict on it; playbooks/rollback.yml --limit {bot} goes back",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Give each failure its next step, on the terminal and in JUnit's file, and each result its bot and fact."""
    report = yield
    facts = [marker.name for marker in item.iter_markers() if marker.name in FACTS]
    bot = item.funcargs.get("bot") if isinstance(item, pytest.Function) else None
    if call.when == "call" and facts and isinstance(bot, Bot):
        item.user_properties += [("bot", bot.name), ("fact", facts[0])]
        if report.failed and hasattr(report.longrepr, "addsection"):
            report.longrepr.addsection("next step", CURES[facts[0]].format(bot=bot.name, unit=bot.unit))
    return report


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in FACTS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    if not config.option.hosts:
        raise pytest.UsageError("say which bots: --hosts=ansible://bots --ansible-inventory=inventory/production")
    # testinfra calls ansible-inventory by name; it is beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    config.stash[_SETTINGS] = bot_settings([config.option.ansible_inventory or DEFAULT_INVENTORY])
    config.stash[_LOOKS] = {}
    config.stash[_ABSENT] = {}


_SETTINGS = pytest.StashKey[dict[str, dict[str, Any]]]()
_LOOKS = pytest.StashKey[dict[str, Look]]()
_ABSENT = pytest.StashKey[dict[str, bool]]()
"""By bot, whether it is not rolled out: asked once a run."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bot_name" in metafunc.fixturenames:
        by_bot = metafunc.config.option.hosts.startswith("ansible://")
        names = [None] if by_bot else list(metafunc.config.stash[_SETTINGS])
        metafunc.parametrize("bot_name", names, ids=[name or "" for name in names])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    settings = config.stash[_SETTINGS]

    def elsewhere(item: pytest.Item) -> bool:
        """Whether the item pairs a bot with a VM that it is not on."""
        parameters = item.callspec.params  # type: ignore[attr-defined]
        name, host = parameters.get("bot_name"), parameters["_testinfra_host"]
        return name is not None and settings[name].get("ansible_host", name) != host.backend.hostname

    wrong = [item for item in items if elsewhere(item)]
    config.hook.pytest_deselected(items=wrong)
    # The settling time is waited for once, after everything else has been looked at, and not once per bot.
    items[:] = sorted((item for item in items if item not in wrong), key=lambda item: "stays_up" in item.name)
    # testinfra runs no test and is content where a pattern matches no host.
    if not items:
        raise pytest.UsageError(f"{config.option.hosts} matches no bot of the inventory")


@pytest.fixture
def vm(host: Host) -> Any:
    """The bot's VM, as root."""
    with host.sudo():
        yield host


@pytest.fixture
def bot(request: pytest.FixtureRequest, host: Host, bot_name: str | None) -> Bot:
    name = bot_name or host.backend.hostname
    found = Bot(name, in_full(request.config.stash[_SETTINGS][name], lambda user: host.user(user).home))
    # What runs then is as it was found, and right: that its unit is missing is said once.
    absent = request.config.stash[_ABSENT]
    if name not in absent:
        absent[name] = host.run("test -e %s", found.drop_in).rc == 1
    if absent[name] and request.node.get_closest_marker("unit") is None:
        pytest.skip(f"{name} is not rolled out: rollout.yml --limit {name}")
    return found


@pytest.fixture
def first_look(request: pytest.FixtureRequest, vm: Host, bot: Bot) -> Look:
    """The bot's main process as it was when this run first looked."""
    looks = request.config.stash[_LOOKS]
    if bot.name not in looks:
        looks[bot.name] = Look.take(vm, bot)
    return looks[bot.name]
