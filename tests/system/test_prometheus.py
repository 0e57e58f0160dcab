"""A real Prometheus on a running hive, with our rules and the queries of our board: what is scraped, and what fires."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

FOLDER: Final = Path(__file__).parents[2] / "observability"
EVERY: Final = "1s"
"""How often is scraped and judged; and how long what is wrong must last, in place of our minutes and hours."""

WITHIN_S: Final = 60


@dataclass(frozen=True)
class Prometheus:
    hive: Hive
    address: str

    def get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.address}/api/v1/{path}", params=query, timeout=20).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, query: str) -> float | None:
        """Of the first series; None when there is none."""
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        return {one["labels"]["alertname"] for one in self.get("alerts")["alerts"] if one["state"] == "firing"}

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.address}/-/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def configured(folder: Path, running: Hive) -> Path:
    """Our files, with another target, token and time."""
    for name in ("prometheus.yml", "alerts.yml"):
        text = (FOLDER / name).read_text()
        text = text.replace("dashboard:7000", urlsplit(running.address).netloc)
        text = text.replace("/run/metrics/metrics-token", str(running.data_dir / "secrets" / "metrics-token"))
        text = re.sub(r"(scrape_interval|evaluation_interval|for): \w+", rf"\1: {EVERY}", text)
        (folder / name).write_text(text)
    return folder / "prometheus.yml"


@contextmanager
def prometheus(folder: Path, running: Hive) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "prometheus is missing: apt install prometheus"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    words = [f"--config.file={configured(folder, running)}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *words, f"--web.listen-address={place}"],
            stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip
    try:
        found = Prometheus(running, f"http://{place}")
        wait_until(found.is_ready, within_s=WITHIN_S)
        yield found
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A hive in which ada has had a turn, as Prometheus sees it."""
    quick = {"HIVE_HARNESS_RETRY_FIRST_S": "0.1"}
    with hive("--engine", "scripted", environment=quick) as running:
        running.cli("spawn", "ada")
        with prometheus(tmp_path_factory.mktemp("prometheus"), running) as found:
            wait_until(lambda: found.value('hive_turns_total{agent="ada",outcome="ok"}') == 0, within_s=WITHIN_S)
            running.send("ada", "!usage 1200 180\n!send operator done")
            wait_until(lambda: found.value('hive_turns_total{agent="ada",outcome="ok"}') == 1, within_s=WITHIN_S)
            yield found


def test_the_hive_is_scraped_with_its_own_token(watched: Prometheus) -> None:
    assert watched.value('up{job="hive"}') == 1
    assert watched.value('hive_tokens_total{agent="ada",kind="in"}') == 1200
    wait_until(lambda: (watched.value('increase(hive_turns_total{agent="ada",outcome="ok"}[5m])') or 0) > 0)


def test_every_rule_is_evaluated_without_an_error_and_a_healthy_hive_wakes_nobody(watched: Prometheus) -> None:
    (group,) = watched.get("rules")["groups"]
    wait_until(
        lambda: {one["health"] for one in watched.get("rules")["groups"][0]["rules"]} == {"ok"}, within_s=WITHIN_S
    )
    assert len(group["rules"]) == (FOLDER / "alerts.yml").read_text().count("- alert: ")
    wait_until(lambda: watched.firing() == set(), within_s=WITHIN_S)


def queries() -> list[str]:
    board = json.loads((FOLDER / "grafana" / "boards" / "hive.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def test_every_query_of_the_board_is_one_and_asks_for_what_there_is(watched: Prometheus) -> None:
    there = set(watched.get("label/__name__/values"))
    for query in queries():
        watched.get("query", query=query)
        names = set(re.findall(r"\b(?:hive|process)_\w+", query))
        rare = {name for name in names if name.startswith("hive_retention")}
        assert names - there <= rare, query


def test_a_broker_that_hangs_fires_and_ends_when_it_goes_on(watched: Prometheus) -> None:
    broker = watched.hive.pid("broker")
    os.kill(broker, signal.SIGSTOP)
    try:
        wait_until(lambda: "HiveServiceDown" in watched.firing(), within_s=WITHIN_S)
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: "HiveServiceDown" not in watched.firing(), within_s=WITHIN_S)


def test_the_first_message_that_is_given_up_fires(watched: Prometheus) -> None:
    assert watched.value('hive_messages_total{result="dead"}') == 0
    watched.hive.send("ada", "!fail error")
    wait_until(lambda: watched.value('hive_messages_total{result="dead"}') == 1, within_s=120)
    wait_until(lambda: "HiveDeadLetters" in watched.firing(), within_s=WITHIN_S)
