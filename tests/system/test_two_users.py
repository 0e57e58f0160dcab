"""Started by root, a harness is out of reach for what its engine starts: tried from within the agent's own shell."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.hive import hive
from tests.support.waiting import wait_until

from hive_supervisor.runtimes import bubblewrap

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give harness and engine a user each"),
]

PROBE = """
import ctypes, json, os, socket, urllib.error, urllib.request
from pathlib import Path

def tried(action):
    try:
        return repr(action())
    except Exception as error:
        return "refused: " + type(error).__name__

def words(pid):
    return Path("/proc", pid, "cmdline").read_bytes().split(b"\\0")

def harness():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if words(pid)[1:3] == [b"-m", b"hive_harness"]:
            return int(pid)

def asked(path, token, data=None):
    headers = {"Authorization": "Bearer " + token}
    try:
        return urllib.request.urlopen(urllib.request.Request(url + path, data, headers)).status
    except urllib.error.HTTPError as error:
        return error.code

def redis():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/redis/redis.sock")
        s.sendall(b"XLEN hive:{hm1nd}:control\\r\\n")
        return s.recv(99).decode()

pid = harness()
libc = ctypes.CDLL(None)
server = json.loads(Path("/run/hive/engine/mcp.json").read_text())["mcpServers"]["hyperhive"]
url, token = server["url"].removesuffix("/mcp"), server["headers"]["Authorization"].removeprefix("Bearer ")
user = int(Path("/proc/%d/status" % pid).read_text().split("Uid:")[1].split()[0])
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "uids": [os.getuid(), user, os.stat("/state").st_uid],
    "harness": Path("/proc/%d/status" % pid).read_text(),
    "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "groups": os.getgroups(),
    "reached": {
        "environment": tried(lambda: Path("/proc/%d/environ" % pid).read_bytes()),
        "memory": tried(lambda: open("/proc/%d/mem" % pid, "rb")),
        "files": tried(lambda: os.listdir("/proc/%d/fd" % pid)),
        "trace": "refused" if libc.ptrace(16, pid, 0, 0) == -1 else "attached",
        "signal": tried(lambda: os.kill(pid, 0)),
        "its user": tried(lambda: os.setuid(user)),
        "root": tried(lambda: os.setuid(0)),
        "what it keeps": tried(lambda: os.listdir("/var/lib/hive")),
        "its run directory": tried(lambda: os.listdir("/run/hive")),
        "its password": tried(lambda: Path("/run/hive/redis-password").read_text()),
        "the engine's servers": tried(lambda: Path("/run/hive/engine/mcp.json").write_text("{}")),
    },
    "redis": redis(),
    "endpoint": [asked("/mcp", "guess", b"{}"), asked("/api/state", token, b"{}"), asked("/api/pause", token, b"{}")],
}))
"""


@pytest.fixture(scope="module")
def report() -> Iterator[dict[str, Any]]:
    if reason := bubblewrap.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(f"{reason}; install it to run this")
    with hive() as running:
        encoded = base64.b64encode(PROBE.encode()).decode()
        command = f"!bash echo {encoded} | base64 -d | {sys.executable} - >report.json 2>&1"
        running.send("hm1nd", f"{command}\n!send operator x")
        wait_until(lambda: "x" in running.answers())
        running.send("hm1nd", "!bash head -c 40000 /dev/zero | tr '\\0' x\n!send operator y")
        wait_until(lambda: "y" in running.answers())
        running.send("hm1nd", "!bash cat .hive/texts/* | wc -c >whole\n!send operator z")
        wait_until(lambda: "z" in running.answers())
        state = running.data_dir / "agents" / "hm1nd" / "state"
        found = json.loads((state / "report.json").read_text())
        found["whole"] = int((state / "whole").read_text())
        yield found | {"folder": sorted(path.name for path in state.iterdir())}


def test_engine_and_harness_are_two_ordinary_users_and_the_state_is_the_engines(report: dict[str, Any]) -> None:
    engine, harness, state = report["uids"]
    assert engine == state
    assert 0 not in {engine, harness}
    assert engine != harness
    assert harness not in report["groups"]


def test_what_the_engine_starts_has_no_capability_and_cannot_get_one(report: dict[str, Any]) -> None:
    assert {int(mask, 16) for mask in report["capabilities"]} == {0}
    assert "NoNewPrivs:\t1" in report["harness"]


def test_the_harness_has_no_more_than_it_needs_to_start_and_end_an_engine(report: dict[str, Any]) -> None:
    kill, setgid, setuid = 1 << 5, 1 << 6, 1 << 7
    masks = dict(line.split(":\t") for line in report["harness"].splitlines() if line.startswith("Cap"))
    assert int(masks["CapBnd"], 16) == int(masks["CapEff"], 16) == kill | setgid | setuid
    assert int(masks["CapAmb"], 16) == 0


def test_nothing_of_the_harness_is_within_its_reach(report: dict[str, Any]) -> None:
    assert {name: what for name, what in report["reached"].items() if not what.startswith("refused")} == {}
    assert report["redis"].startswith("-NOAUTH")
    assert report["endpoint"] == [401, 405, 404]


def test_what_the_harness_remembers_does_not_lie_in_the_state(report: dict[str, Any]) -> None:
    assert set(report["folder"]) == {".hive", "home", "report.json", "scripted-sessions", "whole"}
    assert report["whole"] >= 40_000, "what the harness writes there for the agent, the agent can read"
