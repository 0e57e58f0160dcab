"""A backup of an embedded hive goes into a Redis behind Sentinels, on through a failover, and back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.hive import Hive, hive
from tests.support.sentinels import Trio, command, trio
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Restored:
    hive: Hive
    servers: Trio
    archive: Path


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    """A hive whose keys came out of a backup into Sentinels' primary; it runs, its agents paused."""
    archive = tmp_path_factory.mktemp("backup") / "hive.tar.gz"
    with hive("--engine", "scripted") as first:
        first.cli("spawn", "ada")
        first.send("ada", "!send operator from the first hive")
        wait_until(lambda: "from the first hive" in first.answers(), within_s=60)
        first.cli("backup", str(archive))
    with trio() as servers:
        again = Hive(tmp_path_factory.mktemp("again") / "hive", ("--engine", "scripted", "--redis", servers.url))
        again.cli("restore", str(archive), "--redis", servers.url)
        again.up()
        try:
            yield Restored(again, servers, archive)
        finally:
            again.down()


def states(running: Hive) -> dict[str, str]:
    return {one["name"]: (one["state"] or {}).get("state", "") for one in running.api("GET", "/agents")["agents"]}


def test_a_user_that_a_replica_lacks_is_found_and_made_there(restored: Restored) -> None:
    (replica,) = restored.servers.servers.keys() - {restored.servers.primary()}
    wait_until(lambda: "agent-ada" in command(replica, "ACL", "USERS").split(), within_s=60)
    command(replica, "ACL", "DELUSER", "agent-ada")
    (fault,) = json.loads(restored.hive.cli("doctor", "users", "--json", status=1))["findings"]
    assert f"agent-ada is not there at the replica 127.0.0.1:{replica}" in fault["text"]
    assert json.loads(restored.hive.cli("doctor", "users", "--fix", "--json"))["ok"]
    assert "agent-ada" in command(replica, "ACL", "USERS").split()


def test_everything_is_there_paused_and_goes_on_over_a_failover(restored: Restored) -> None:
    running, servers = restored.hive, restored.servers
    wait_until(lambda: states(running) == {"hm1nd": "paused", "ada": "paused"}, within_s=60)
    assert "from the first hive" in running.answers()
    running.cli("resume", "--all")
    running.send("ada", "!send operator behind the sentinels")
    wait_until(lambda: "behind the sentinels" in running.answers(), within_s=60)
    before = servers.primary()
    servers.kill(before)
    wait_until(lambda: servers.primary() not in (before, 0), within_s=60)
    running.send("ada", "!send operator on the new primary")
    wait_until(lambda: "on the new primary" in running.answers(), within_s=90)
    assert "from the first hive" in running.answers()


def test_a_server_that_holds_a_hive_is_refused(restored: Restored, tmp_path: Path) -> None:
    another = Hive(tmp_path / "another")
    refused = another.cli("restore", str(restored.archive), "--redis", restored.servers.url, status=4)
    assert "holds a hive already" in refused
    assert not (tmp_path / "another").exists()


def test_a_hive_behind_sentinels_is_backed_up_while_it_runs(restored: Restored, tmp_path: Path) -> None:
    restored.hive.cli("backup", str(tmp_path / "back.tar.gz"))
    back = Hive(tmp_path / "back")
    back.cli("restore", str(tmp_path / "back.tar.gz"))
    back.up()
    try:
        wait_until(lambda: states(back) == {"hm1nd": "paused", "ada": "paused"}, within_s=60)
        assert "from the first hive" in back.answers()
    finally:
        back.down()
    assert json.loads(restored.hive.cli("status", "--json"))["agents"]["total"] == 2
