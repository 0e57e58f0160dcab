"""`/metrics`: what is counted, who may read it, and that alert rules and board name nothing else."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.dashboard.opened import Opened, client, opened
from tests.support.waiting import eventually

from hive_contracts.agents import AgentPurged, ContainerCrashed, ContainerStarted, Engine, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.messages import Message, MessageAcked, MessageDead, MessageDelivered, MessageInTurn, MessageState
from hive_contracts.retention import RetentionSwept
from hive_contracts.turns import TurnEnded, Usage
from hive_dashboard import metrics
from hive_dashboard.metrics import Metrics, Moment
from hive_dashboard.registry import AgentView
from hive_dashboard.snapshot import Snapshot
from hive_runtime.bus import Bus
from hive_runtime.memory_bus import MemoryBus

FOLDER = Path(__file__).parents[2] / "observability"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Name and labels → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(counted: Metrics) -> Samples:
    moment = Moment(Snapshot(), clients=0, oldest={}, swept_at=NOW)
    return parsed(counted.text(moment).decode())


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def fact(payload: object, *, at: datetime = NOW) -> Envelope:
    return Envelope.of(payload, source="broker", time=at)  # type: ignore[arg-type]


def message(name: str = "m-1") -> Message:
    return Message(id=name, sender="operator", recipient="ada", body="hello", sent_at=NOW, trace_id="t")


def ended(**facts: object) -> Envelope:
    base = {"turn_id": "t1", "seq": 1, "outcome": TurnOutcome.OK, "duration_ms": 2400, "tool_calls": 3}
    return fact(TurnEnded.model_validate(base | facts))


def test_a_messages_life_is_counted_with_the_time_of_each_stage() -> None:
    counted = Metrics()
    counted.fact(fact(MessageDelivered(message=message()), at=NOW.replace(second=1)))
    counted.fact(fact(MessageInTurn(message_id="m-1", recipient="ada", turn_id="t1"), at=NOW.replace(second=4)))
    counted.fact(fact(MessageAcked(message_id="m-1", recipient="ada"), at=NOW.replace(second=14)))
    samples = scraped(counted)
    assert value(samples, "hive_messages_total", result="delivered") == 1
    assert value(samples, "hive_messages_total", result="acked") == 1
    assert value(samples, "hive_deliveries_total", agent="ada") == 1
    sums = {
        stage: value(samples, "hive_message_stage_seconds_sum", stage=stage) for stage in ("delivery", "wait", "turn")
    }
    assert sums == {"delivery": 1, "wait": 3, "turn": 10}


def test_what_has_not_happened_yet_is_there_at_nothing_so_that_its_first_time_is_an_increase() -> None:
    ada = AgentView(name="ada", engine=Engine.SCRIPTED, container_since=NOW, created_at=NOW, state=None)
    snapshot = Snapshot(agents=(ada,))
    counted = Metrics()
    samples = parsed(counted.text(Moment(snapshot, clients=0, oldest={}, swept_at=None)).decode())
    for name, labels in (
        ("hive_messages_total", {"result": "dead"}),
        ("hive_cost_usd_total", {"agent": "ada"}),
        ("hive_turns_total", {"agent": "ada", "outcome": "auth"}),
        ("hive_container_crashes_total", {"agent": "ada", "cause": "memory"}),
    ):
        assert samples[name, tuple(sorted(labels.items()))] == 0


def test_a_message_that_is_given_up_counts_as_dead_and_is_waited_for_no_longer() -> None:
    counted = Metrics()
    counted.fact(fact(MessageDelivered(message=message())))
    counted.fact(fact(MessageDead(message=message(), state=MessageState.EXPIRED, reason="old")))
    counted.fact(fact(MessageAcked(message_id="m-1", recipient="ada")))
    samples = scraped(counted)
    assert value(samples, "hive_messages_total", result="expired") == 1
    assert value(samples, "hive_message_stage_seconds_count", stage="turn") == 0


def test_what_is_watched_for_latency_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_WATCHED", 2)
    counted = Metrics()
    for name in ("m-1", "m-2", "m-3"):
        counted.fact(fact(MessageDelivered(message=message(name))))
    for name in ("m-1", "m-3"):
        counted.fact(fact(MessageInTurn(message_id=name, recipient="ada", turn_id="t")))
    assert value(scraped(counted), "hive_message_stage_seconds_count", stage="wait") == 1


def test_a_turn_counts_by_outcome_with_its_time_tokens_and_cost() -> None:
    counted = Metrics()
    counted.turn("ada", ended(usage=Usage(input=1200, output=180, cache_read=7), cost_usd=0.25))
    counted.turn("ada", ended(outcome=TurnOutcome.RATE_LIMITED))
    samples = scraped(counted)
    assert value(samples, "hive_turns_total", agent="ada", outcome="ok") == 1
    assert value(samples, "hive_turns_total", agent="ada", outcome="rate_limited") == 1
    assert value(samples, "hive_turn_seconds_sum", agent="ada") == pytest.approx(4.8)
    assert value(samples, "hive_tokens_total", agent="ada", kind="in") == 1200
    assert value(samples, "hive_cost_usd_total", agent="ada") == 0.25
    assert value(samples, "hive_tool_calls_total", agent="ada") == 6


@pytest.mark.parametrize("figure", [-5.0, 1e300, float("nan"), float("inf")])
def test_a_containers_odd_figures_count_as_nothing(figure: float) -> None:
    counted = Metrics()
    counted.turn("ada", ended().model_copy(update={"data": ended().data | {"cost_usd": figure}}))
    counted.turn("ada", ended(cost_usd=1.0))
    assert value(scraped(counted), "hive_cost_usd_total", agent="ada") == 1.0


def test_containers_starts_crashes_and_sweeps_are_counted() -> None:
    counted = Metrics()
    counted.fact(fact(ContainerStarted(agent="ada")))
    counted.fact(fact(ContainerCrashed(agent="ada", signal=9, oom=True)))
    counted.fact(fact(ContainerCrashed(agent="ada", exit_status=1)))
    for dry in (True, False):
        swept = RetentionSwept(dry_run=dry, at=NOW, seconds=0.5, removed=12, bytes_freed=4096, errors=1)
        counted.fact(fact(swept))
    samples = scraped(counted)
    assert value(samples, "hive_container_starts_total", agent="ada") == 1
    assert value(samples, "hive_container_crashes_total", agent="ada", cause="memory") == 1
    assert value(samples, "hive_container_crashes_total", agent="ada", cause="exit") == 1
    assert value(samples, "hive_retention_removed_total") == 12


def test_a_purged_agent_leaves_no_label_behind() -> None:
    counted = Metrics()
    counted.fact(fact(ContainerStarted(agent="ada")))
    counted.turn("ada", ended())
    counted.fact(fact(AgentPurged(agent="ada")))
    assert not [labels for _, labels in scraped(counted) if ("agent", "ada") in labels]


@pytest.mark.parametrize("data", [{}, {"message": 3}, {"message": {"sent_at": "soon", "recipient": "ada"}}])
def test_a_fact_of_an_unknown_shape_stops_nobody(data: dict[str, object]) -> None:
    metrics.count(Metrics(), Envelope(source="broker", type=MessageDelivered.TYPE, data=data))


async def _after_a_turn(hive: Opened) -> str:
    """What a scrape gives once a turn was counted. What came before the dashboard's reader is not: so turns go on."""
    await hive.scene.agent("hm1nd")
    found = ""

    async def counted() -> bool:
        nonlocal found
        await hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": "hello"})
        entry_id, taken = await hive.scene.take("hm1nd")
        turn = await hive.scene.begin("hm1nd", taken)
        await turn.end(entry_id)
        found = (await hive.api.get("/metrics")).text
        samples = parsed(found)
        return bool(
            value(samples, "hive_turns_total", agent="hm1nd", outcome="ok")
            and value(samples, "hive_message_stage_seconds_count", stage="turn")
        )

    await eventually(counted)
    return found


def test_what_happens_in_a_hive_is_in_its_metrics(
    on_bus: Callable[[Callable[[Bus], Awaitable[None]]], None], tmp_path: Path
) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            samples = parsed(await _after_a_turn(hive))
            assert value(samples, "hive_redis_up") == 1
            assert value(samples, "hive_agents", container="running") == 1
            assert value(samples, "hive_service_up", service="dashboard") == 1
            assert value(samples, "hive_messages_total", result="acked") >= 1

    on_bus(scenario)


def test_a_waiting_message_shows_in_depth_and_age(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.api.post("/api/v1/messages", json={"to": "hm1nd", "body": "hello"})

            async def waits() -> bool:
                samples = parsed((await hive.api.get("/metrics")).text)
                age = ("hive_inbox_oldest_seconds", (("agent", "hm1nd"),))
                return value(samples, "hive_inbox_depth", agent="hm1nd") == 1 and age in samples

            await eventually(waits)

    asyncio.run(scenario())


def test_a_dashboard_that_starts_again_does_not_count_old_turns(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        async with opened(bus, tmp_path) as hive:
            await _after_a_turn(hive)
        async with opened(bus, tmp_path, broker=False) as again:
            await again.sees_agent("hm1nd")
            assert (await again.api.get("/agents/hm1nd/api/state")).status_code == 200
            samples = parsed((await again.api.get("/metrics")).text)
            assert {value for (name, _), value in samples.items() if name == "hive_turns_total"} == {0}

    asyncio.run(scenario())


def test_only_who_has_a_token_reads_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(MemoryBus(), tmp_path, broker=False) as hive:
            (tmp_path / "secrets" / "metrics-token").write_text("only-this\n")
            for header, status in (("Bearer wrong", 401), ("Basic only-this", 401), ("Bearer only-this", 200)):
                async with client(hive.dashboard, authorization=header) as asking:
                    assert (await asking.get("/metrics")).status_code == status
            async with client(hive.dashboard, authorization="Bearer only-this") as asking:
                assert (await asking.get("/api/v1/agents")).status_code == 401
            assert (await hive.browser.get("/metrics")).status_code == 401

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every series that a hive may give, by name."""
    counted = Metrics()
    families = [*counted.registry.collect(), *Moment(Snapshot(), clients=0, oldest={}, swept_at=NOW).collect()]
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {"up"} | {family.name + end for family in families for end in ends[family.type]}


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:hive|process)_\w+|\bup\b", expression))


def test_every_alert_names_what_there_is_and_says_what_to_do(known: set[str]) -> None:
    text = (FOLDER / "alerts.yml").read_text()
    rules = text.split("- alert: ")[1:]
    assert len(rules) > 10
    for rule in rules:
        assert named(rule.partition("expr:")[2].partition("labels:")[0]) <= known, rule
        assert "summary: " in rule
        assert "action: " in rule


def test_the_board_shows_what_there_is_and_leaves_nothing_out(known: set[str]) -> None:
    board = json.loads((FOLDER / "grafana" / "boards" / "hive.json").read_text())
    used = {name for panel in board["panels"] for target in panel["targets"] for name in named(target["expr"])}
    assert used <= known
    own = {re.sub("_(bucket|sum|count)$", "", name) for name in known if name.startswith("hive_")}
    assert {re.sub("_bucket$", "", name) for name in used if name.startswith("hive_")} == own


def test_the_page_names_every_metric_and_no_other(known: set[str]) -> None:
    page = (FOLDER.parent / "docs" / "deployment.md").read_text()
    own = {re.sub("_(bucket|sum|count)$", "", name) for name in known if name.startswith("hive_")}
    assert set(re.findall(r"^\| `(hive_\w+)`", page, re.MULTILINE)) == own


def promtool(*words: str, folder: Path) -> str:
    """What it printed; asserts that it found nothing wrong."""
    program = shutil.which("promtool")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("promtool is missing: apt install prometheus")
    done = subprocess.run([str(program), *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_configuration_and_rules(tmp_path: Path) -> None:
    for file in ("prometheus.yml", "alerts.yml"):
        shutil.copy(FOLDER / file, tmp_path)
    (tmp_path / "token").write_text("x")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(configuration.read_text().replace("/run/metrics/metrics-token", f"{tmp_path}/token"))
    said = promtool("check", "config", str(configuration), folder=tmp_path)
    assert f"{(tmp_path / 'alerts.yml').read_text().count('- alert: ')} rules found" in said


@pytest.mark.slow
def test_each_alert_fires_when_its_story_says_so_and_not_before(tmp_path: Path) -> None:
    stories = Path(__file__).with_name("alerts.yml").read_text()
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "stories.yml").write_text(stories)
    promtool("test", "rules", "stories.yml", folder=tmp_path)
    named = re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    assert set(re.findall(r"^ +alertname: (\w+)", stories, re.MULTILINE)) == set(named)
