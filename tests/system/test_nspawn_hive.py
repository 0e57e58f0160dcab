"""A hive on a systemd host: agents talk, one is killed, one is stopped, supervisor and machine start anew."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosted_hive import HostedHive, hosted_hive
from tests.support.two_users import PROBE
from tests.support.waiting import wait_until

from hive_supervisor.runtimes.base import ENGINE_ID, HARNESS_ID

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a systemd host is booted as root; run the tests as root"),
]

SOON_S = 60


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On the machine's disk: it outlives the machine's boots."""
    disk = tmp_path_factory.mktemp("disk", numbered=True)
    return disk / "data"


def killed_and_back(running: HostedHive, name: str) -> None:
    """Its unit is killed; returns when another runs and answers."""
    before = running.unit(name)["InvocationID"]
    running.kill_unit(name)
    wait_until(lambda: running.unit(name).get("InvocationID") not in {None, "", before}, within_s=SOON_S)
    running.says(name, f"{name} is back from {before}")


def crashes(running: HostedHive, name: str) -> list[int | None]:
    """The signals by which it crashed, one for each crash."""
    return [fact["signal"] for fact in running.facts("container.crashed", name)]


def seen_by_its_engine(running: HostedHive) -> dict[str, Any]:
    """What the manager's own shell finds of its harness."""
    encoded = base64.b64encode(PROBE.encode()).decode()
    running.cli(
        "send", "hm1nd", f"!bash echo {encoded} | base64 -d | python3 - >report.json 2>&1\n!send operator probed"
    )
    wait_until(lambda: "probed" in running.answers(), within_s=SOON_S)
    return dict(json.loads((running.data_dir / "agents" / "hm1nd" / "state" / "report.json").read_text()))


def test_three_agents_live_through_what_happens_to_a_machine(data_dir: Path) -> None:
    with hosted_hive(data_dir) as running:
        for name in ("ada", "lin"):
            running.cli("spawn", name)
        running.cli("send", "hm1nd", "!send ada !send lin !send operator told by three")
        wait_until(lambda: "told by three" in running.answers(), within_s=SOON_S)

        found = seen_by_its_engine(running)
        assert found["uids"] == [ENGINE_ID, HARNESS_ID, ENGINE_ID]
        assert {int(mask, 16) for mask in found["capabilities"]} == {0}
        assert {name: what for name, what in found["reached"].items() if not what.startswith("refused")} == {}
        assert found["endpoint"] == [401, 405, 404]

        said = running.terminal("lin", "echo $HOSTNAME:$(id -u):$(tty); stty size", sees="40 200")
        assert f"lin:{ENGINE_ID}:/dev/pts/" in said

        killed_and_back(running, "ada")
        wait_until(lambda: crashes(running, "ada") == [9], within_s=SOON_S)

        running.cli("stop", "lin")
        assert running.container("lin") == "stopped"
        assert running.unit("lin").get("ActiveState") != "failed"
        assert len(running.facts("container.stopped", "lin")) == 1

        before = running.unit("ada")["InvocationID"], running.unit("hm1nd")["InvocationID"]
        running.another_supervisor()
        running.says("ada", "untouched")
        assert (running.unit("ada")["InvocationID"], running.unit("hm1nd")["InvocationID"]) == before
        assert running.container("lin") == "stopped"

        ada = running.unit("ada")["Id"]
        running.another_supervisor("systemctl", "kill", "--signal=KILL", ada)
        running.says("ada", "killed while nobody looked")
        wait_until(lambda: crashes(running, "ada") == [9, 9], within_s=SOON_S)
        assert crashes(running, "hm1nd") == crashes(running, "lin") == []
        told = set(running.answers())

    with hosted_hive(data_dir) as running:
        running.says("ada", "after the reboot")
        running.says("hm1nd", "the manager too")
        assert running.container("lin") == "stopped"
        assert running.unit("lin") == {}
        assert told <= set(running.answers())
        assert (crashes(running, "ada"), crashes(running, "hm1nd")) == ([9, 9], [])

        running.cli("start", "lin")
        running.says("lin", "started again")
        running.cli("destroy", "lin", "--purge", "--yes", status=4)  # it runs
        running.cli("stop", "lin")
        running.cli("destroy", "lin", "--purge", "--yes")
        wait_until(lambda: running.unit("lin") == {}, within_s=SOON_S)
        assert not (data_dir / "agents" / "lin").exists()
