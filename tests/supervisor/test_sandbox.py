"""What an agent sees and can do inside bubblewrap, tried from inside."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import until

from hive_supervisor.config import Isolation
from hive_supervisor.runtimes import bubblewrap
from hive_supervisor.runtimes.base import HARNESS_ID, ContainerSpec
from hive_supervisor.runtimes.process import ProcessRuntime

pytestmark = pytest.mark.system

ID_BASE = 0x6000_0000
SETUID_SETGID_KILL = 1 << 7 | 1 << 6 | 1 << 5

PROBE = """
import json, os, pathlib, pwd, subprocess

def tried(action):
    try:
        return str(action())
    except Exception as error:
        return f"refused: {type(error).__name__}"

home = pathlib.Path(os.environ["HIVE_STATE_DIR"])
report = {
    "uid": os.getuid(),
    "name": tried(lambda: pwd.getpwuid(os.getuid()).pw_name),
    "state": tried(lambda: (home / "note").write_text("mine")),
    "etc": sorted(os.listdir("/etc")),
    "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "write_usr": tried(lambda: pathlib.Path("/usr/x").write_text("x")),
    "write_etc": tried(lambda: pathlib.Path("/etc/passwd").write_text("x")),
    "other_state": tried(lambda: pathlib.Path(os.environ["OTHER"]).read_text()),
    "root_home": tried(lambda: os.listdir("/root")),
    "capabilities": [line for line in open("/proc/self/status") if line.startswith("CapEff")][0].split()[1],
    "mount": subprocess.run(["mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True).returncode,
    "secret": tried(lambda: (pathlib.Path(os.environ["HIVE_REDIS_PASSWORD_FILE"])).read_text()),
    "removed": tried(lambda: os.unlink(os.environ["HIVE_REDIS_PASSWORD_FILE"])),
}
(home / "report.json.new").write_text(json.dumps(report))
os.rename(home / "report.json.new", home / "report.json")
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if reason := bubblewrap.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(f"{reason}; install it to run this")
    base = tmp_path_factory.mktemp("sandbox")
    other = base / "agents" / "lin" / "state" / "diary"
    other.parent.mkdir(parents=True)
    other.write_text("private")
    folder = base / "agents" / "ada"
    spec = ContainerSpec(
        name="ada",
        state_dir=folder / "state",
        run_dir=folder / "run",
        log_file=base / "ada.log",
        id_base=ID_BASE if os.geteuid() == 0 else None,
        environment={"PATH": "/usr/bin:/bin:/usr/sbin", "OTHER": str(other)},
        secrets={"redis-password": "secret"},
        readable=tuple(Path(p) for p in dict.fromkeys((sys.prefix, sys.base_prefix)) if not p.startswith("/usr")),
    )

    async def run() -> None:
        runtime = ProcessRuntime(base / "agents", Isolation.BUBBLEWRAP, program=[sys.executable, "-c", PROBE])
        await runtime.create(spec)
        await runtime.start("ada")
        assert (await anext(aiter(runtime.watch()))).status == 0, spec.log_file.read_text()
        await runtime.aclose()
        await until((spec.state_dir / "report.json").exists)

    asyncio.run(run())
    found: dict[str, Any] = json.loads((spec.state_dir / "report.json").read_text())
    shutil.rmtree(base / "agents")
    return found


def test_it_is_an_ordinary_user_with_a_name_that_can_start_and_end_an_engine_and_no_more(
    report: dict[str, Any],
) -> None:
    apart = os.geteuid() == 0
    assert report["uid"] == (ID_BASE + HARNESS_ID if apart else os.getuid())
    assert report["name"] == ("hive-harness" if apart else "ada")
    assert int(report["capabilities"], 16) == (SETUID_SETGID_KILL if apart else 0)
    assert report["mount"] != 0


def test_it_writes_its_own_state_and_nothing_of_the_system(report: dict[str, Any]) -> None:
    assert report["state"] == "4"
    assert report["write_usr"].startswith("refused")
    assert report["write_etc"].startswith("refused")


def test_it_sees_no_other_agent_no_home_and_no_process_of_the_host(report: dict[str, Any]) -> None:
    assert report["other_state"].startswith("refused")
    assert report["root_home"].startswith("refused") or sys.base_prefix.startswith("/root")
    assert max(report["processes"]) < 20
    assert "shadow" not in report["etc"]


def test_it_finds_its_certificates_and_can_take_its_secret_away(report: dict[str, Any]) -> None:
    assert "passwd" in report["etc"]
    assert Path("/etc/ssl").exists() <= ("ssl" in report["etc"])
    assert report["secret"] == "secret"
    assert report["removed"] == "None"
