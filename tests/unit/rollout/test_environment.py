"""Variables that are carried over: which, and whether systemd's reading of the file gives them back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.environment import missing_variables, plan_environment, render_environment
from ansible.module_utils.webex_rollout.system import to_bytes, to_text
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path


def parse(data: bytes) -> dict[str, str]:
    """Read an environment file as systemd does (src/basic/env-file.c), as far as double quotes go: inside them a
    backslash escapes ``" \\ ` $`` and a newline, and stays itself before anything else."""
    found, text, at = {}, to_text(data), 0
    while at < len(text):
        if text[at] == "#":
            at = text.index("\n", at) + 1
            continue
        name, at = text[at : text.index("=", at)], text.index("=", at) + 1
        assert text[at] == '"'
        value, at = "", at + 1
        while text[at] != '"':
            if text[at] == "\\":
                escaped = text[at + 1]
                value += escaped if escaped in '"\\`$' else "" if escaped == "\n" else "\\" + escaped
                at += 2
            else:
                value += text[at]
                at += 1
        assert text[at + 1] == "\n"
        found[name], at = value, at + 2
    return found


NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]*\Z").filter(lambda name: plan_environment([f"{name}=x"]).carried)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@given(st.dictionaries(NAMES, VALUES))
def test_file_gives_back_what_it_was_given(variables: dict[str, str]) -> None:
    assert parse(render_environment("jarvis", variables)) == variables


@pytest.mark.parametrize(
    "value", ['"', "\\", "$HOME", "`id`", "a\nb", "\\\n", "'", "#x", " x ", "\\n", "\t\r\x1b[1m", ""]
)
def test_tricky_values_survive(value: str) -> None:
    assert parse(render_environment("jarvis", {"X": value})) == {"X": value}


@pytest.mark.parametrize(
    "name",
    ["SSH_CLIENT", "TERM", "PWD", "OLDPWD", "SHLVL", "_", "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "INVOCATION_ID"]
    + ["DBUS_SESSION_BUS_ADDRESS", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LS_COLORS", "TMUX", "STY", "SUDO_USER", "PS1"],
)
def test_variables_of_the_session_are_dropped(name: str) -> None:
    plan = plan_environment([f"{name}=x"])
    assert (plan.carried, plan.dropped) == ({}, [name])


@pytest.mark.parametrize(
    "name",
    ["PATH", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "LANG", "LC_ALL", "HOME", "TZ"]
    + ["XDG_CONFIG_HOME", "VIRTUAL_ENV", "TMPDIR", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8"]
    + ["PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONNOUSERSITE", "ENVIRONMENT", "WEBEX_TOKEN", "LDAP_URI"],
)
def test_all_else_is_carried(name: str) -> None:
    assert plan_environment([f"{name}=x"]).carried == {name: "x"}


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "MALLOC_PERTURB_", "GCONV_PATH", "LOCPATH"]
    + ["NLSPATH", "HOSTALIASES", "RESOLV_HOST_CONF", "RES_OPTIONS", "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "IFS"]
    + ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONWARNINGS", "PYTHONX"]
    + ["PERL5LIB", "PERL5OPT", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS", "OPENSSL_CONF"]
    + ["BASH_FUNC_ls%%"],
)
def test_what_decides_which_code_runs_is_carried_only_if_it_is_listed(name: str) -> None:
    plan = plan_environment([f"{name}=x"])
    assert (plan.carried, plan.steering) == ({}, [name])
    assert plan_environment([f"{name}=x"], drop=[name]).dropped == [name]
    if name.replace("_", "").isalnum():
        assert plan_environment([f"{name}=x"], keep=[name]).carried == {name: "x"}


def test_own_patterns_win_and_keep_wins_over_drop() -> None:
    plan = plan_environment(["TERM=x", "SECRET_A=a", "SECRET_B=b"], keep=["TERM", "SECRET_A"], drop=["SECRET_*"])
    assert plan.carried == {"TERM": "x", "SECRET_A": "a"}
    assert plan.dropped == ["SECRET_B"]


def test_what_systemd_would_refuse_is_named() -> None:
    """One value that is no UTF-8 makes systemd reject the whole file."""
    plan = plan_environment([to_text(b"LATIN=\xff"), "x%%=() { :; }", "1X=y", "FINE=ok", "nonsense"])
    assert plan.carried == {"FINE": "ok"}
    assert sorted(plan.refused) == ["1X", "LATIN", "x%%"]


def test_first_of_two_assignments_counts() -> None:
    assert plan_environment(["A=1", "A=2"]).carried == {"A": "1"}


def test_names_hold_no_values() -> None:
    plan = plan_environment(["TOKEN=hush", "TERM=hush2", "PYTHONPATH=hush3"])
    assert "hush" not in repr(plan)
    assert plan.names() == {"carried": ["TOKEN"], "dropped": ["TERM"], "steering": ["PYTHONPATH"], "refused": []}


def test_missing_variable_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"A": "1", "B": "x\ny"}
    ) as child:
        while b"B=" not in (data := open(f"/proc/{child.pid}/environ", "rb").read()):  # noqa: SIM115, PTH123
            assert data is not None
        assert missing_variables(child.pid, {"A": "1", "B": "x\ny"}) == []
        assert missing_variables(child.pid, {"A": "2", "B": "x\ny", "C": ""}) == ["A", "C"]
        child.communicate(os.linesep.encode())


def test_bytes_and_text_are_inverse() -> None:
    assert to_bytes(to_text(bytes(range(256)))) == bytes(range(256))
