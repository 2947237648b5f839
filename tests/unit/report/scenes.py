"""Runs as the callback plugin would have collected them, with results shaped like the modules' own."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from plugin_utils.report.events import Event, Place, Run
from plugin_utils.report.model import Project

SWITCH = 1795530301.0
"""Tuesday, 24 November 2026, 15:25:01 in UTC+1."""

HOUR = 3600
FLEET = ("tars", "toodles", "barnacles", "money_ball", "msoar")
BOTS = ("jarvis", *FLEET)
SESSIONS = ("api", "bot.teams", "bot.session")
HOME = "/home/vinay/pub/IR"

SOURCE = """\
from webexteamssdk import WebexTeamsAPI
from config import CONFIG

webex_api = WebexTeamsAPI(
    access_token=CONFIG.webex_bot_access_token_{bot},
)
"""
PATCHED = """\
from webexteamssdk import WebexTeamsAPI
from src.utils.webex_pool_config import configure_webex_api_session
from config import CONFIG

webex_api = configure_webex_api_session(WebexTeamsAPI(
    access_token=CONFIG.webex_bot_access_token_{bot},
    single_request_timeout=120,
))
"""


def ready(pid: int, time: float) -> list[dict[str, Any]]:
    """The pool module's ready lines of one process, as bot_log_info returns them."""
    values = {
        "pool_connections": "50",
        "pool_maxsize": "50",
        "max_retries": "3",
        "timeout": "120",
        "keepalive": "60/10/3",
        "user_timeout": "30",
        "max_idle": "60",
    }
    return [{"pid": str(pid), "session": session, **values, "time": time} for session in SESSIONS]


def hours_before(bot: str, days: float = 4.9) -> dict[str, int]:
    """Incidents by the hour as six bots had them: in groups, in working hours."""
    chance = random.Random(bot)
    begun = SWITCH // HOUR * HOUR - int(days * 24) * HOUR
    counts = {}
    for number in range(int(days * 24)):
        hour = int(begun + number * HOUR)
        busy = 7 <= hour // HOUR % 24 + 1 <= 19
        if chance.random() < (0.55 if busy else 0.08):
            counts[str(hour)] = chance.randint(1, 9 if bot == "jarvis" else 3)
    return counts


def log_look(
    hours: dict[str, int], first: float, last: float, now: float, requests: int = 0, **more: Any
) -> dict[str, Any]:
    """What bot_log_info returns."""
    incidents = sum(hours.values())
    return {
        "lines": 3 * incidents,
        "failures": incidents,
        "incidents": incidents,
        "recovered": 0,
        "hours": hours,
        "first_time": first,
        "last_time": last,
        "pool": {"ready": [], "ready_lines": 0, "stats": [], "stats_lines": 0, "requests": requests},
        "gaps": [],
        "now": {"epoch": now},
        **more,
    }


def plan(bot: str) -> list[dict[str, str]]:
    """Preflight's plan of a bot that runs under nohup, with options of its own."""
    unit = f"webex-bot@{bot}.service"
    return [
        {"what": "runs", "found": "nohup, pid 4000", "wanted": unit, "fate": "changed", "why": ""},
        {"what": "options", "found": "-u", "wanted": "-u", "fate": "carried over", "why": ""},
        {
            "what": "input",
            "found": "<pipe>",
            "wanted": "/dev/null",
            "fate": "noted",
            "why": "nothing to read",
        },
    ]


class Scene:
    """Builds a run event by event; the clock goes on by itself."""

    def __init__(self, playbook: str = "rollout.yml", bots: tuple[str, ...] = BOTS, **run: Any) -> None:
        self.now = SWITCH - 60
        places = {bot: Place("metcirt-lab", "canary" if bot == "jarvis" else "fleet") for bot in bots}
        facts = {"who": "vinay", "host": "workbench", "ansible": "2.19.14", "inventory": ["inventory/production"]}
        facts |= {"project": Project("5aae13b0c4d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5", modified=False)}
        self.run = Run(playbook=playbook, began=self.now, places=places, order=list(bots), **{**facts, **run})
        self.bots = bots

    def play(self, name: str) -> Scene:
        self.run.begin_play(name, self.now)
        return self

    def add(self, bot: str, action: str, task: str, result: dict[str, Any], **more: Any) -> Scene:
        seconds = more.pop("seconds", 0.4)
        changed = more.pop("changed", bool(result.get("changed")))
        play = self.run.plays[-1].name
        kind = more.pop("kind", "ok")
        self.run.add(
            Event(kind, bot, action, task, play, self.now, self.now + seconds, changed=changed, result=result, **more)
        )
        self.now += seconds
        return self

    def fail(self, bot: str, message: str, task: str, **more: Any) -> Scene:
        kind = more.pop("kind", "failed")
        return self.add(
            bot, more.pop("action", "fail"), task, {"msg": message, **more.pop("result", {})}, kind=kind, **more
        )

    def end(self, state: Any = "ended") -> Run:
        self.run.state, self.run.ended = state, self.now + 1
        self.run.recap = {
            bot: {"ok": 40, "changed": 9, "failures": 0, "unreachable": 0, "skipped": 3, "rescued": 0, "ignored": 0}
            for bot in self.bots
        }
        return self.run

    # --- steps -------------------------------------------------------------------------------------------------------

    def preflight(self) -> Scene:
        self.play("Preflight")
        found: dict[str, Any] = {}
        for bot in self.bots:
            process = {"pid": 4000, "supervisor": "nohup", "limits": {"open files": ["1024", "1048576"]}}
            found[bot] = {"facts": {"bot": {"name": bot}, "processes": [process], "plan": {"differences": plan(bot)}}}
        self.add(self.bots[0], "bot_info", "Look at the VM's bots", {"bots": found})
        return self

    def deploy(self, bot: str) -> Scene:
        pid = 5000 + BOTS.index(bot)
        patch = {
            "changed": True,
            "constructions": [
                {
                    "path": f"webex_bots/{bot}.py",
                    "line": 4,
                    "column": 12,
                    "kind": kind,
                    "name": name,
                    "action": "wrapped",
                }
                for kind, name in (("api_client", "WebexTeamsAPI"), ("bot_client", "WebexBot"))
            ],
            "findings": [],
            "diff": [
                {
                    "before": SOURCE.format(bot=bot),
                    "after": PATCHED.format(bot=bot),
                    "before_header": f"webex_bots/{bot}.py",
                    "after_header": f"webex_bots/{bot}.py (patched)",
                }
            ],
        }
        self.add(bot, "client_patch", "Route the bot's clients through the pool", patch, seconds=2.1)
        drop_in = {
            "changed": True,
            "dest": f"/etc/systemd/system/webex-bot@{bot}.service.d/10-bot.conf",
            "diff": [{"before": "", "after": f"[Service]\nUser=vinay\nWorkingDirectory={HOME}\nLimitNOFILE=65536\n"}],
        }
        self.add(bot, "template", "Install the bot's drop-in", drop_in)
        switched = {"action": "switch", "changed": True, "candidate": "3f2a91c07be4", "release": "0", "previous": "0"}
        self.add(
            bot,
            "webex_release",
            "Switch to the unit",
            {**switched, "pids_before": [pid - 1000], "pids_after": [pid], "seconds_down": 1.42},
            seconds=3.0,
        )
        checks = [
            {"name": "stays up", "ok": True, "detail": f"pid {pid} for 10 s"},
            {"name": "one process", "ok": True, "detail": f"pids {pid}, main process {pid}"},
            {"name": "open files", "ok": True, "detail": "65536 (hard 65536), wanted 65536", "value": "65536"},
            {"name": "connection", "ok": True, "detail": "an established connection to port 443"},
            {"name": "ready line", "ok": True, "detail": f"`webex-pool ready pid={pid}` is in the log"},
        ]
        confirmed = {"release": "3f2a91c07be4", "previous": "0", "candidate": ""}
        checked = {"action": "check", "changed": True, "checks": checks, **confirmed}
        return self.add(bot, "webex_release", "Check the start and confirm", checked, seconds=11.0)

    def history(self, bot: str) -> Scene:
        before = log_look(hours_before(bot), SWITCH - 4.9 * 24 * HOUR, SWITCH - 300, self.now)
        before["invocation"] = {"module_args": {"history": True, "buckets": True}}
        return self.add(bot, "bot_log_info", "Read the log's history", before)

    def soak(self, bot: str, seconds: float, verdict: dict[str, Any], requests: int = 214, **since: Any) -> Scene:
        self.now += seconds
        pool = {
            "ready": ready(5000 + BOTS.index(bot), SWITCH),
            "ready_lines": 3,
            "stats_lines": 9,
            "requests": requests,
        }
        look = log_look(since.pop("hours", {}), SWITCH, self.now, self.now, pool=pool, **since)
        record = {"version": 3, "evidence": {"bot": bot, "heard": True, "requests": requests}}
        result = {
            "reasons": [],
            "missing": [],
            "decided": False,
            "until": None,
            **verdict,
            "record": record,
            "since": look,
        }
        return self.add(bot, "webex_soak", "Judge by the log", result, seconds=1.0)

    def roll_back(self, bot: str) -> Scene:
        rolled_back = {"action": "rollback", "changed": True, "release": "0", "previous": "", "candidate": ""}
        pid = 5000 + BOTS.index(bot)
        return self.add(
            bot,
            "webex_release",
            "Roll the bot back",
            {**rolled_back, "pids_before": [pid], "pids_after": [pid + 1000], "seconds_down": 2.2, "changed": True},
        )


def promoted() -> Run:
    """A canary that is promoted after two days, and the fleet behind it."""
    scene = Scene().preflight().play("Stage canary").history("jarvis").deploy("jarvis")
    verdict = {
        "verdict": "promote",
        "reasons": ["the likelihood ratio against a rise is 49 (20 needed)"],
        "summary": "0 incidents in 214 requests over 41 min; at the old rate (1.9 an hour) 1.3 were due; the 5 bots "
        "without the release had 4 (3.8 due); likelihood ratios: against a rise 49, for a worse rate 0.31",
    }
    scene.soak("jarvis", 41 * 60, verdict)
    scene.play("Stage fleet")
    for bot in FLEET:
        scene.history(bot).deploy(bot)
        scene.soak(
            bot, 20, {"verdict": "promote", "summary": "0 incidents in 31 requests over 20 s", "missing": []}, 31
        )
    return scene.play("Verify").end()


def rolled_back() -> Run:
    """A canary made worse: rolled back, the fleet untouched."""
    scene = Scene().preflight().play("Stage canary").history("jarvis").deploy("jarvis")
    summary = "14 incidents in 96 requests over 12 min; at the old rate (1.9 an hour) 0.4 were due"
    reason = "the likelihood ratio for a worse rate than before is 31415 (100 needed)"
    message = f"the log shows more failures with this release than before: {summary}; {reason}"
    verdict = {"verdict": "roll back", "reasons": [reason], "summary": summary}
    scene.soak("jarvis", 12 * 60, verdict, 96, hours={str(int(SWITCH // HOUR * HOUR)): 14})
    scene.fail("jarvis", message, "Judge by the log", action="webex_soak")
    scene.roll_back("jarvis")
    scene.fail("jarvis", f"jarvis: Judge by the log: {message}. It was rolled back to release 0.", "Stop the rollout")
    return scene.end()


def soaking() -> Run:
    """A canary that soaks on after the run."""
    scene = Scene().preflight().play("Stage canary").history("jarvis").deploy("jarvis")
    verdict = {
        "verdict": "extend",
        "summary": "0 incidents in 12 requests over 3 min; at the old rate (1.9 an hour) 0.1 were due",
        "missing": ["188 more requests (200 needed)", "23 h 57 min of soak (24 h needed)"],
        "until": SWITCH + 24 * HOUR,
    }
    return scene.soak("jarvis", 180, verdict, 12).end()


def lost() -> Run:
    """A machine that could not be reached half-way; the gate fails for all."""
    scene = Scene().preflight().play("Stage fleet").deploy("tars")
    scene.fail(
        "toodles",
        "Failed to connect to the host via ssh: timed out",
        "Record the bot and arm the guard",
        kind="unreachable",
    )
    scene.fail(
        "tars",
        "The rollout stops here: toodles failed or could not be reached",
        "Stop if a bot was lost",
        run_once=True,
    )
    return scene.end()


def checked() -> Run:
    """Check mode on bots never deployed to."""
    scene = Scene(check_mode=True, settings={"webex_pool_maxsize": 60}, other_variables=["ticket"]).preflight()
    scene.play("Stage canary")
    for bot in BOTS:
        diff = {"before": SOURCE.format(bot=bot), "after": PATCHED.format(bot=bot), "before_header": f"{bot}.py"}
        scene.add(bot, "client_patch", "Route the bot's clients through the pool", {"changed": True, "diff": [diff]})
    return scene.end()


def interrupted() -> Run:
    """Cut off in the middle of the canary's stage."""
    return Scene().preflight().play("Stage canary").deploy("jarvis").end("interrupted")


def running() -> Run:
    """The same, still going on or killed."""
    return replace(interrupted(), state="running")


def unchanged() -> Run:
    """A second run, with nothing to do."""
    return Scene().preflight().play("Stage canary").end()


def paused() -> Run:
    """A canary on which a human has decided that nothing goes on."""
    scene = Scene().preflight().play("Stage canary").history("jarvis").deploy("jarvis")
    verdict = {
        "verdict": "hold",
        "decided": True,
        "summary": "0 incidents in 12 requests over 3 min; at the old rate (1.9 an hour) 0.1 were due",
        "reasons": ["decided by vinay@workbench: holidays"],
    }
    return scene.soak("jarvis", 180, verdict, 12).end()


def held() -> Run:
    """A canary whose evidence allows no verdict within the longest soak."""
    scene = Scene().preflight().play("Stage canary").history("jarvis").deploy("jarvis")
    verdict = {
        "verdict": "hold",
        "summary": "0 incidents in 12 requests over 48 h; at the old rate (1.9 an hour) 91.2 were due",
        "reasons": ["48 h have not been enough"],
        "missing": ["188 more requests (200 needed)"],
    }
    scene.soak("jarvis", 48 * HOUR, verdict, 12)
    return scene.fail(
        "jarvis", "jarvis: no verdict can be reached on this evidence", "Stop if no verdict can be reached"
    ).end()


def rolled_back_on_request() -> Run:
    """Rolled back because somebody asked for it."""
    return Scene("playbooks/rollback.yml", ("jarvis",), limit="jarvis").play("Roll back").roll_back("jarvis").end()


SCENES = {
    "promoted": promoted,
    "rolled back": rolled_back,
    "soaking": soaking,
    "lost": lost,
    "checked": checked,
    "interrupted": interrupted,
    "running": running,
    "unchanged": unchanged,
    "paused": paused,
    "held": held,
    "rolled back on request": rolled_back_on_request,
}
