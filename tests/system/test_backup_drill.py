"""The drill: a backup in the middle of traffic, restored elsewhere, loses nothing accepted and repeats nothing."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

FREE: Final = {"HIVE_BROKER_SENDER_PER_MINUTE": "100000", "HIVE_BROKER_PAIR_PER_MINUTE": "100000"}
AGENTS: Final = ("hm1nd", "ada", "lin")
BEFORE, AFTER = 25, 15
"""Messages accepted before the backup begins, and after it is over."""


@dataclass
class Traffic:
    """The operator writes to ada, who has lin tell the operator: one chain for each number."""

    hive: Hive
    accepted: list[str] = field(default_factory=list)
    """Ids, in the order of their numbers."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            body = f"!send lin !send operator done {len(self.accepted)}."
            self.accepted.append(self.hive.send("ada", body))


@dataclass(frozen=True)
class Drill:
    archive: Path
    accepted: list[str]
    before: int
    """So many were accepted before the backup began."""
    report: dict[str, Any]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Drill:
    archive = tmp_path_factory.mktemp("backup") / "hive.tar.gz"
    with hive("--engine", "scripted", environment=FREE) as running:
        for name in ("ada", "lin"):
            running.cli("spawn", name)
        traffic = Traffic(running)
        thread = threading.Thread(target=traffic.run)
        thread.start()
        try:
            wait_until(lambda: len(traffic.accepted) >= BEFORE, within_s=60)
            before = len(traffic.accepted)
            report = json.loads(running.cli("backup", str(archive), "--json"))
            at_end = len(traffic.accepted)
            wait_until(lambda: len(traffic.accepted) >= at_end + AFTER, within_s=60)
        finally:
            traffic.stop.set()
            thread.join()
    return Drill(archive, traffic.accepted, before, report)


@pytest.fixture(scope="module")
def restored(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    again = Hive(tmp_path_factory.mktemp("again") / "hive", ("--engine", "scripted"), FREE)
    again.cli("restore", str(drill.archive))
    again.up()
    try:
        yield again
    finally:
        again.down()


def test_nothing_accepted_is_lost_or_handled_twice(drill: Drill, restored: Hive) -> None:
    wait_until(lambda: _agents(restored) == dict.fromkeys(AGENTS, "paused"), within_s=60)
    known = [message for message in drill.accepted if _is_known(restored, message)]
    assert known == drill.accepted[: len(known)], "what is there is not what was accepted first"
    assert drill.before <= len(known) < len(drill.accepted)
    restored.cli("resume", "--all")
    wait_until(lambda: len(_done(restored)) >= len(known), within_s=90)
    wait_until(lambda: all(_states(restored, message)[-1] == "acked" for message in known), within_s=30)
    assert _done(restored) == Counter(range(len(known)))
    assert all(_states(restored, message).count("acked") == 1 for message in known)
    assert restored.api("GET", "/dead-letters")["dead_letters"] == []


def test_writes_waited_for_a_moment_only(drill: Drill) -> None:
    assert drill.report["held_s"] < 2
    assert drill.report["left_out"] == []


def test_a_hive_that_is_there_is_not_restored_over(drill: Drill, restored: Hive) -> None:
    assert f"a hive runs on {restored.data_dir}" in restored.cli("restore", str(drill.archive), status=4)
    assert restored.api("GET", "/status")["agents"]["total"] == 3


def _agents(running: Hive) -> dict[str, str]:
    """Name → state, of those whose harness has told one."""
    return {one["name"]: (one["state"] or {}).get("state", "") for one in running.api("GET", "/agents")["agents"]}


def _is_known(running: Hive, message: str) -> bool:
    return bool(_states(running, message))


def _states(running: Hive, message: str) -> list[str]:
    """The steps of its life; empty when it is unknown."""
    try:
        found = running.api("GET", f"/messages/{message}")["message"]
    except httpx.HTTPStatusError:
        return []
    return [step["state"] for step in found["steps"]]


def _done(running: Hive) -> Counter[int]:
    """How often the end of each chain reached the operator."""
    messages = running.api("GET", "/agents/operator/inbox", params={"limit": 500})["messages"]
    ends = [message["body"] for message in messages if message["body"].startswith("done ")]
    return Counter(int(body.removeprefix("done ").rstrip(".")) for body in ends)
