"""Events from `tell` to what a service receives, and what is shown when it does not take them."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.webex_rollout import become, journal, notify
from ansible.module_utils.webex_rollout.clock import Deadline
from ansible.module_utils.webex_rollout.notify import Delivered, Event, counts, deliver, notes, tell
from ansible.module_utils.webex_rollout.store import Vm

from tests.unit.tell.receivers import Journal, Service, status
from tests.unit.weather.hosts import Authority, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.people import People

EVENT = Event("roll_back", "money_ball", "It had 13 failures in 40 requests.", {"release": "3f2a", "requests": 40}, "7")
FORMS = ("webex", "slack", "teams", "json")


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(str(tmp_path / "state"), "tester@here")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    return directory / "notify.json"


def configure(config: Path, *webhooks: dict[str, Any]) -> str:
    config.write_text(json.dumps(webhooks))
    config.chmod(0o600)
    return str(config)


def retry_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every delay is over at once."""
    monkeypatch.setattr(Deadline, "past", lambda self: True)


# -- told once -------------------------------------------------------------------------------------------------


def test_an_event_is_told_once_however_often_it_is_seen(
    vm: Vm, journald: Journal, service: Service, config: Path
) -> None:
    path = configure(config, {"form": "json", "url": service.url()})
    assert [tell(vm, EVENT, journald.path) for _ in range(3)] == [True, False, False]
    assert deliver(vm, path) == Delivered(sent=1)
    assert not tell(vm, replace(EVENT, text="worded anew"), journald.path)
    assert deliver(vm, path) == Delivered()
    assert len(service.received) == len(journald.entries()) == 1


@pytest.mark.parametrize("other", [{"kind": "drift"}, {"bot": "jarvis"}, {"key": "8"}])
def test_another_kind_bot_or_key_is_another_event(vm: Vm, other: dict[str, str]) -> None:
    assert tell(vm, EVENT)
    assert tell(vm, replace(EVENT, **other))


def test_the_journal_has_the_fields(vm: Vm, journald: Journal) -> None:
    tell(vm, EVENT, journald.path)
    entry = journald.entry()
    assert entry["MESSAGE"] == EVENT.text.encode()
    expected = {"WEBEX_EVENT": b"roll_back", "WEBEX_BOT": b"money_ball", "WEBEX_RELEASE": b"3f2a", "PRIORITY": b"3"}
    assert expected.items() <= entry.items()
    assert entry["MESSAGE_ID"].decode() == journal.message_id("roll_back")


def test_a_kind_that_is_none_is_refused(vm: Vm) -> None:
    with pytest.raises(ValueError, match="'weird' is no kind of event"):
        tell(vm, replace(EVENT, kind="weird"))


def test_a_full_disk_keeps_no_event_from_the_journal(
    vm: Vm, journald: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Vm, "write", full)
    assert tell(vm, EVENT, journald.path)
    assert b"no webhook gets this: [Errno 28] No space left on device" in journald.entry()["MESSAGE"]


def test_the_outbox_is_bounded_and_shows_it(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "MESSAGES_AT_MOST", 10)
    for number in range(13):
        tell(vm, replace(EVENT, key=str(number), text="x" * 10**5, details={f"d{n}": "y" * 10**4 for n in range(99)}))
    assert (counts(vm)["waiting"], counts(vm)["dropped"]) == (10, 3)
    assert notes(vm) == ["3 messages were dropped, for more than 10 waited"]
    assert sum(path.stat().st_size for path in vm.path.rglob("*") if path.is_file()) < 10 * 8192


def test_a_damaged_outbox_is_begun_anew(vm: Vm) -> None:
    tell(vm, EVENT)
    [path] = vm.path.rglob("outbox.json")
    path.write_bytes(path.read_bytes()[:-40])
    assert tell(vm, EVENT)
    assert counts(vm)["waiting"] == 1
    assert vm.bot_names() == []


# -- what a service gets ---------------------------------------------------------------------------------------


def received(vm: Vm, service: Service, config: Path, form: str, event: Event = EVENT) -> dict[str, Any]:
    tell(vm, event)
    assert deliver(vm, configure(config, {"form": form, "url": service.url()})).sent == 1
    request, headers, _ = service.received[-1]
    assert request == "POST /services/SECRET?sig=SECRET HTTP/1.1"
    assert headers["Content-Type"] == "application/json"
    return service.bodies[-1]


def test_webex(vm: Vm, service: Service, config: Path) -> None:
    body = received(vm, service, config, "webex")
    assert list(body) == ["markdown"]
    head, text, facts = body["markdown"].split("  \n")
    assert (head, text) == ("**money\\_ball: rolled back**", EVENT.text)
    assert facts.startswith("release: 3f2a · requests: 40 · vm: ")


def test_slack(vm: Vm, service: Service, config: Path) -> None:
    body = received(vm, service, config, "slack")
    assert list(body) == ["text"]
    assert body["text"].startswith("*money\u200b_ball: rolled back*\nIt had 13 failures in 40 requests.\nrelease: 3f2a")


def test_teams(vm: Vm, service: Service, config: Path) -> None:
    body = received(vm, service, config, "teams")
    [card] = body["attachments"]
    assert (body["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (card["content"]["type"], card["content"]["version"]) == ("AdaptiveCard", "1.4")
    runs = [run for block in card["content"]["body"] for run in block["inlines"]]
    assert {block["type"] for block in card["content"]["body"]} == {"RichTextBlock"}
    assert [run["text"] for run in runs][:4] == [
        *("money_ball: rolled back", EVENT.text, "release: 3f2a", "requests: 40")
    ]


def test_json_has_all_fields(vm: Vm, service: Service, config: Path) -> None:
    body = received(vm, service, config, "json")
    assert set(body) == {"id", "kind", "title", "bot", "vm", "time", "text", "details"}
    assert (body["id"], body["kind"], body["bot"], body["text"]) == (EVENT.id, "roll_back", "money_ball", EVENT.text)
    assert body["details"] == {"release": "3f2a", "requests": 40}


HOSTILE = (
    "\x1b[31m<@all> <!channel> [click](https://evil.example/x) `code` **b** | # *\u202e\n\nhttp://u:pw@host/SECRET"
)


@pytest.mark.parametrize("form", FORMS)
def test_text_of_the_vms_side_stays_text(vm: Vm, service: Service, config: Path, form: str) -> None:
    event = Event("drift", "jarvis", HOSTILE, {"file": HOSTILE, "Odd Näme": 10**400, "at": True}, "1")
    body = json.dumps(received(vm, service, config, form, event), ensure_ascii=False)
    for never in ("0" * 100, "\x1b", "\u202e", "\\n\\n", "https://", "SECRET", "u:pw"):
        assert never not in body.replace("adaptivecards.io/schemas", "").replace("SECRET?sig", ""), never
    if form in ("webex", "slack"):
        assert "<" not in body
        assert "](" not in body.replace("\\\\](", "") if form == "webex" else "`" not in body.replace("\u200b`", "")


@pytest.mark.parametrize("form", FORMS)
def test_the_longest_message_is_below_every_services_limit(vm: Vm, service: Service, config: Path, form: str) -> None:
    """Webex takes 7,439 bytes, Teams 28 KB."""
    event = Event("drift", "b" * 300, "&" * 10**5, {f"d{n}" * 99: "&" * 10**4 for n in range(99)}, "1")
    body = received(vm, service, config, form, event)
    sent = json.dumps(body, ensure_ascii=False) if form != "webex" else body["markdown"]
    assert len(sent.encode()) < (7439 if form == "webex" else 20000)


def test_only_the_events_that_a_webhook_wants(vm: Vm, service: Service, config: Path) -> None:
    path = configure(config, {"form": "json", "url": service.url(), "events": ["drift"]})
    tell(vm, EVENT)
    tell(vm, Event("drift", "jarvis", "was edited"))
    assert deliver(vm, path) == Delivered(sent=1)
    assert [body["kind"] for body in service.bodies] == ["drift"]


# -- failures --------------------------------------------------------------------------------------------------


def kept(vm: Vm) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The outbox, what it holds, and what it holds of the only webhook."""
    [path] = vm.path.rglob("outbox.json")
    content = json.loads(path.read_bytes())["content"]
    [state] = content["webhooks"].values()
    return path, content, state


def test_a_failure_waits_longer_each_time_and_is_given_up_with_one_note(vm: Vm, service: Service, config: Path) -> None:
    path = configure(config, {"form": "slack", "url": service.url()})
    tell(vm, EVENT)
    service.answers = [status(503)] * 12
    delays = []
    for number in range(1, 13):
        delivered = deliver(vm, path)
        assert (len(service.received), delivered.waiting) == (number, int(number < 12))
        deliver(vm, path)  # before its time
        assert len(service.received) == number
        outbox, content, state = kept(vm)
        delays.append(state["retry"]["seconds"])
        state["retry"] = None  # its time has come
        vm.write(outbox, content)
    assert delays == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800, 1800]
    [note] = delivered.problems
    assert note.startswith("webhook 1 (localhost) answered 503; 12 tries in a row failed")
    assert notes(vm) == [note]
    assert counts(vm) == {"failed": 12, "dropped": 0, "waiting": 0}
    tell(vm, replace(EVENT, key="8"))
    assert (deliver(vm, path).sent, notes(vm)) == (1, [])


def test_a_webhook_that_takes_messages_again_gets_what_waited_in_order(
    vm: Vm, service: Service, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configure(config, {"form": "json", "url": service.url()})
    service.answers = [status(500)]
    for number in range(3):
        tell(vm, replace(EVENT, key=str(number), text=f"event {number}"))
    assert deliver(vm, path) == Delivered(waiting=3)
    retry_now(monkeypatch)
    assert deliver(vm, path) == Delivered(sent=3)
    assert [body["text"] for body in service.bodies[1:]] == ["event 0", "event 1", "event 2"]


def test_one_webhook_that_fails_keeps_no_other_from_its_messages(vm: Vm, service: Service, config: Path) -> None:
    bad = {"form": "slack", "url": "http://localhost:1/SECRET"}
    path = configure(config, bad, {"form": "json", "url": service.url()})
    tell(vm, EVENT)
    assert deliver(vm, path) == Delivered(sent=1, waiting=1)
    assert deliver(vm, path) == Delivered(waiting=1)
    assert len(service.received) == 1


def test_a_message_that_is_refused_does_not_block_the_next(vm: Vm, service: Service, config: Path) -> None:
    path = configure(config, {"form": "slack", "url": service.url()})
    service.answers = [status(400, b"invalid_payload")]
    tell(vm, EVENT)
    tell(vm, replace(EVENT, key="8"))
    delivered = deliver(vm, path)
    assert (delivered.sent, delivered.given_up, delivered.waiting) == (1, 1, 0)


def test_a_service_may_ask_for_a_longer_wait(vm: Vm, service: Service, config: Path) -> None:
    service.answers = [status(429, b"", "Retry-After: 900")]
    tell(vm, EVENT)
    deliver(vm, configure(config, {"form": "slack", "url": service.url()}))
    assert kept(vm)[2]["retry"]["seconds"] == 900


def test_an_answer_that_only_looks_good_is_a_failure(vm: Vm, service: Service, config: Path) -> None:
    service.answers = [status(200, b"Webhook message delivery failed with error: ... returned HTTP error 413")]
    tell(vm, EVENT)
    assert deliver(vm, configure(config, {"form": "teams", "url": service.url()})) == Delivered(waiting=1)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(vm: Vm, service: Service, config: Path, code: int) -> None:
    service.answers = [status(code, b"", f"Location: {service.url('/elsewhere')}")]
    tell(vm, EVENT)
    assert deliver(vm, configure(config, {"form": "json", "url": service.url()})).sent == 0
    assert len(service.received) == 1


def test_a_service_that_never_ends_is_not_waited_for(
    vm: Vm, service: Service, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "EACH", 1.0)
    service.answers, service.pause = [status(200, b"x" * 10**6)], 0.05
    tell(vm, EVENT)
    began = time.monotonic()
    assert deliver(vm, configure(config, {"form": "json", "url": service.url()})).sent == 0
    assert time.monotonic() - began < 4


def test_events_can_be_told_while_a_service_is_slow(vm: Vm, service: Service, config: Path) -> None:
    path = configure(config, {"form": "json", "url": service.url()})
    service.pause = 0.02
    tell(vm, EVENT)
    done: list[Delivered] = []
    delivering = threading.Thread(target=lambda: done.append(deliver(vm, path)))
    delivering.start()
    while not service.received:
        time.sleep(0.005)
    assert tell(vm, replace(EVENT, key="8"))
    assert delivering.is_alive()
    assert deliver(vm, path).sent == 0
    assert delivering.is_alive()
    delivering.join()
    assert done[0].sent == 2


# -- secrets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(people: People, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(people.base / "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


def test_over_tls(vm: Vm, authority: Authority, config: Path) -> None:
    service = Service(authority)
    tell(vm, EVENT)
    assert deliver(vm, configure(config, {"form": "json", "url": service.url()})).sent == 1
    service.close()


def test_a_certificate_that_does_not_verify_gets_nothing(
    vm: Vm, authority: Authority, people: People, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(Authority(people.base / "other"))
    tell(vm, EVENT)
    monkeypatch.setattr(notify, "TRIES_AT_MOST", 1)
    [problem] = deliver(vm, configure(config, {"form": "json", "url": service.url()})).problems
    assert problem.startswith("webhook 1 (localhost) its certificate is not accepted;")
    assert service.received == []
    service.close()


def test_through_the_configured_proxy_only(
    vm: Vm, authority: Authority, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, proxy, other = Service(authority), Proxy(), Proxy()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{other.port}")
    tell(vm, EVENT)
    entry = {"form": "json", "url": service.url(), "proxy": f"http://user:s3cret@127.0.0.1:{proxy.port}"}
    assert deliver(vm, configure(config, entry)).sent == 1
    [request] = proxy.requests
    assert "Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=" in request
    tell(vm, replace(EVENT, key="8"))
    assert deliver(vm, configure(config, {"form": "json", "url": service.url()})).sent == 1
    assert (len(proxy.requests), other.requests) == (1, [])
    for each in (service, proxy, other):
        each.close()


FAILING = {
    "refused": "http://localhost:1/SECRET",
    "unknown": "https://hooks.invalid/SECRET?token=SECRET",
    "status": "",
}


@pytest.mark.parametrize("failing", FAILING)
def test_no_failure_shows_the_url(
    vm: Vm,
    journald: Journal,
    service: Service,
    config: Path,
    failing: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "TRIES_AT_MOST", 1)
    url = FAILING[failing] or service.url()
    service.answers = [status(404, b"no such webhook: SECRET", "X: SECRET")]
    tell(vm, EVENT, journald.path)
    delivered = deliver(vm, configure(config, {"form": "webex", "url": url}))
    host = url.split("/")[2].split(":")[0]
    assert delivered.problems[0].startswith(f"webhook 1 ({host}) ")
    shown = [*capfd.readouterr(), repr(delivered), *notes(vm), repr(journald.entries())]
    shown += [path.read_text("utf-8", "replace") for path in vm.path.rglob("*") if path.is_file()]
    assert "SECRET" not in "".join(shown)


def test_no_command_line_and_no_environment_shows_the_url(vm: Vm, service: Service, config: Path) -> None:
    """While a message is being sent, what any process of the machine shows to its neighbours is looked through."""
    service.pause = 0.01
    tell(vm, EVENT)
    path = configure(config, {"form": "json", "url": service.url("/UNSHOWN")})
    delivering = threading.Thread(target=lambda: deliver(vm, path))
    delivering.start()
    while not service.received:
        time.sleep(0.005)
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(word) for each in children for word in each.read_text().split()]
    seen = [each for each in map(_shown, pids) if each]
    delivering.join()
    assert become.account_of(notify.SENDER).uid in {user for user, _ in seen}
    assert b"UNSHOWN" not in b"".join(shown for _, shown in seen)


def _shown(pid: int) -> tuple[int, bytes] | None:
    """Whose a process is, and what it shows of itself; nothing of one that is gone by now."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        user = int(Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[0])
        return user, b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    return None


# -- configuration ---------------------------------------------------------------------------------------------


def refused(vm: Vm, path: str) -> str:
    tell(vm, EVENT)
    delivered = deliver(vm, path)
    assert delivered.waiting == 1
    [problem] = delivered.problems
    assert "SECRET" not in problem
    return problem


URL = "https://hooks.example.org/SECRET"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"form": "irc", "url": URL}, "webhook 1 has no form of webex, slack, teams, json"),
        ({"form": ["webex"], "url": URL}, "has no form of"),
        ({"form": "webex", "url": "http://hooks.example.org/SECRET"}, "anybody on the way can read"),
        ({"form": "webex", "url": "http://localhost.example.org/SECRET"}, "anybody on the way can read"),
        ({"form": "webex", "url": "ftp://localhost/SECRET"}, "has no URL that can be used"),
        ({"form": "webex", "url": "https://h/SECRET\nX: y"}, "has no URL that can be used"),
        ({"form": "webex", "url": "https://[SECRET/"}, "has no URL that can be used"),
        ({"form": "webex", "url": "https://h:99999/SECRET"}, "has no URL that can be used"),
        ({"form": "webex", "url": "https://SECRET:x@h/"}, "has a user's name in its URL"),
        ({"form": "webex"}, "has no URL that can be used"),
        ({"form": "webex", "url": URL, "events": ["SECRET"]}, "has events other than verdict, "),
        ({"form": "webex", "url": URL, "proxy": "socks5://SECRET"}, "has a proxy that is no URL of http"),
        ({"form": "webex", "url": URL, "SECRET": 1}, "has something else than form, url, events and proxy"),
        ("SECRET", "has something else than"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named_by_its_number(vm: Vm, config: Path, entry: Any, why: str) -> None:
    problem = refused(vm, configure(config, entry))
    assert problem.startswith(f"{config}: webhook 1 ")
    assert why in problem


@pytest.mark.parametrize("text", ['{"url": "SECRET"}', '["SECRET', "[" * 10**5, "\xff", json.dumps([{}] * 21)])
def test_a_file_that_is_no_list(vm: Vm, config: Path, text: str) -> None:
    config.write_text(text)
    config.chmod(0o600)
    assert "is no list of at most 20 webhooks" in refused(vm, str(config))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read(vm: Vm, config: Path, mode: int) -> None:
    configure(config, {"form": "webex", "url": URL})
    config.chmod(mode)
    assert f"`chown root:root {config}; chmod 0600 {config}`" in refused(vm, str(config))


def test_a_file_that_is_somebody_elses_or_a_link(vm: Vm, config: Path, tmp_path: Path) -> None:
    configure(config, {"form": "webex", "url": URL})
    os.chown(config, 4242, 4242)
    assert "others could read or change it" in refused(vm, str(config))
    link = config.with_name("link.json")
    link.symlink_to(config)
    assert "cannot be read" in refused(vm, str(link))


def test_a_file_below_a_directory_of_somebody_elses(vm: Vm, config: Path) -> None:
    configure(config, {"form": "webex", "url": URL})
    os.chown(config.parent, 4242, 4242)
    assert "is not root's alone" in refused(vm, str(config))


def test_without_a_file_nothing_is_sent_and_nothing_waits(vm: Vm, config: Path) -> None:
    tell(vm, EVENT)
    assert deliver(vm, str(config)) == Delivered()
    assert counts(vm)["waiting"] == 0


def test_every_kind_has_an_id_of_its_own_and_a_line_in_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/observability.md").read_text()
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in page.splitlines()]
    listed = {row[1]: (row[2], row[4]) for row in rows if len(row) == 6}
    kinds = {kind: (str(priority), journal.message_id(kind)) for kind, (priority, _) in notify.KINDS.items()}
    assert listed | kinds == listed
    assert len({number for _, number in kinds.values()}) == len(kinds)
