"""The hive's figures for Prometheus: counted from the facts that the dashboard reads anyway, and read at each scrape.

Counters begin at nothing with each start of the dashboard, as Prometheus expects. What was told before the start, and
is read again for the pages, is not counted twice. A container's numbers are untrusted: what cannot be added up counts
as nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hive_contracts import messages as facts
from hive_contracts.agents import (
    AgentPurged,
    AgentQuarantined,
    ContainerCrashed,
    ContainerStarted,
    ContainerStatus,
    TurnOutcome,
    TurnState,
)
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.retention import RetentionSwept
from hive_contracts.turns import TurnEnded
from hive_dashboard.snapshot import RedisStatus, Snapshot
from hive_runtime import VERSION
from hive_runtime.records.stats import stats_of

MAX_WATCHED: Final = 20_000
"""Messages whose next step is waited for; the oldest are forgotten first, and then have no latency."""

STAGE_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800, 7200)
TURN_BUCKETS: Final = (0.5, 2, 5, 15, 60, 180, 600, 1800, 3600)

_RESULTS: Final = {
    facts.MessageDelivered.TYPE: "delivered",
    facts.MessageAcked.TYPE: "acked",
    facts.MessageFailed.TYPE: "failed",
    facts.MessageRefused.TYPE: "refused",
}
_GIVEN_UP: Final = ("dead", "expired")
_CAUSES: Final = ("exit", "signal", "memory")
_STAGES: Final = {facts.MessageInTurn.TYPE: "wait", facts.MessageAcked.TYPE: "turn"}
_TOKENS: Final = {
    "tokens_in": "in",
    "tokens_out": "out",
    "tokens_cache_read": "cache_read",
    "tokens_cache_creation": "cache_creation",
}


class Metrics:
    """One registry a dashboard. `fact` and `turn` count; `text` is what a scrape gets."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nothing here asks for
        self.registry = CollectorRegistry()
        self._watched: OrderedDict[str, datetime] = OrderedDict()
        ProcessCollector(registry=self.registry)
        self._messages = self._counter("hive_messages", "Messages by result.", "result")
        self._deliveries = self._counter("hive_deliveries", "Messages put into an inbox.", "agent")
        self._taken = self._counter("hive_messages_taken_up", "Times that a turn took a message up.", "agent")
        self._stages = self._histogram(
            "hive_message_stage_seconds",
            "How long messages took: delivery (from its sending), wait (until a turn), turn (until it was done).",
            STAGE_BUCKETS,
            "stage",
        )
        self._turns = self._counter("hive_turns", "Turns that ended, by outcome.", "agent", "outcome")
        self._durations = self._histogram("hive_turn_seconds", "How long turns took.", TURN_BUCKETS, "agent")
        self._tokens = self._counter("hive_tokens", "Tokens that turns used.", "agent", "kind")
        self._cost = self._counter("hive_cost_usd", "What turns cost, as the engine reports it.", "agent")
        self._tools = self._counter("hive_tool_calls", "Tool calls of turns.", "agent")
        self._starts = self._counter("hive_container_starts", "Starts of containers.", "agent")
        self._crashes = self._counter(
            "hive_container_crashes", "Ends of containers that nobody asked for.", "agent", "cause"
        )
        self._quarantines = self._counter("hive_quarantines", "Agents that crashed too often and stay down.", "agent")
        self._swept = self._counter("hive_retention_removed", "Rows and entries that sweeps removed.")
        self._freed = self._counter("hive_retention_freed_bytes", "Bytes that sweeps gave back.")
        self._sweep_errors = self._counter("hive_retention_errors", "Stores and streams that a sweep could not do.")
        self._sweep_seconds = self._counter("hive_retention_seconds", "Time that sweeps took.")
        for result in (*_RESULTS.values(), *_GIVEN_UP):
            self._messages.labels(result)
        for stage in ("delivery", *_STAGES.values()):
            self._stages.labels(stage)
        self._of_agents = (self._turns, self._tokens, self._cost, self._tools, self._durations)
        self._of_fleet = (self._deliveries, self._taken, self._starts, self._crashes, self._quarantines)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def fact(self, envelope: Envelope) -> None:
        """Count an entry of `hive:events`, which only the host's side writes."""
        data, kind = envelope.data, envelope.type
        if result := _RESULTS.get(kind):
            self._messages.labels(result).inc()
        match kind:
            case facts.MessageDelivered.TYPE:
                self._delivered(data["message"], envelope.time)
            case facts.MessageInTurn.TYPE:
                self._taken.labels(data["recipient"]).inc()
            case facts.MessageDead.TYPE:
                self._messages.labels(data["state"]).inc()
                self._watched.pop(data["message"]["id"], None)
            case RetentionSwept.TYPE:
                self._sweep(envelope.payload(RetentionSwept))
            case _:
                self._container(kind, data)
        if stage := _STAGES.get(kind):
            self._step(stage, data["message_id"], envelope.time)

    def _delivered(self, message: Mapping[str, Any], at: datetime) -> None:
        self._deliveries.labels(message["recipient"]).inc()
        self._observe("delivery", datetime.fromisoformat(message["sent_at"]), at)
        self._watch(message["id"], at)

    def _step(self, stage: str, message_id: str, at: datetime) -> None:
        if since := self._watched.pop(message_id, None):
            self._observe(stage, since, at)
        if stage == "wait":
            self._watch(message_id, at)

    def _watch(self, message_id: str, at: datetime) -> None:
        self._watched[message_id] = at
        if len(self._watched) > MAX_WATCHED:
            self._watched.popitem(last=False)

    def _observe(self, stage: str, since: datetime, until: datetime) -> None:
        self._stages.labels(stage).observe(max(0.0, (until - since).total_seconds()))

    def _container(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind:
            case ContainerStarted.TYPE:
                self._starts.labels(data["agent"]).inc()
            case ContainerCrashed.TYPE:
                self._crashes.labels(data["agent"], _cause(data)).inc()
            case AgentQuarantined.TYPE:
                self._quarantines.labels(data["agent"]).inc()
            case AgentPurged.TYPE:
                for metric in (*self._of_agents, *self._of_fleet):
                    metric.remove_by_labels({"agent": data["agent"]})

    def _sweep(self, swept: RetentionSwept) -> None:
        if swept.dry_run:
            return
        self._swept.inc(max(0, swept.removed))
        self._freed.inc(max(0, swept.bytes_freed))
        self._sweep_errors.inc(max(0, swept.errors))
        self._sweep_seconds.inc(max(0.0, swept.seconds))

    def turn(self, agent: str, envelope: Envelope) -> None:
        """Count a `turn.ended` of an agent's live stream. Raises `MalformedEnvelope`."""
        ended = envelope.payload(TurnEnded)
        figures = stats_of(ended)
        self._turns.labels(agent, ended.outcome.value).inc()
        self._durations.labels(agent).observe(max(0.0, figures["duration_ms"] / 1000))
        self._cost.labels(agent).inc(max(0.0, figures["cost_usd"]))
        self._tools.labels(agent).inc(max(0.0, figures["tool_calls"]))
        for key, kind in _TOKENS.items():
            self._tokens.labels(agent, kind).inc(max(0.0, figures[key]))

    def _begin(self, agent: str) -> None:
        """Its counters are there at nothing: one that appears with its first number has not increased, for Prometheus,
        and what should wake somebody would be missed the first time."""
        for counter in (self._deliveries, self._taken, self._cost, self._tools, self._starts, self._quarantines):
            counter.labels(agent)
        for cause in _CAUSES:
            self._crashes.labels(agent, cause)
        for outcome in TurnOutcome:
            self._turns.labels(agent, outcome.value)
        for kind in _TOKENS.values():
            self._tokens.labels(agent, kind)

    def text(self, moment: "Moment") -> bytes:
        """In Prometheus' text form: what was counted, and `moment`."""
        for agent in moment.agents:
            self._begin(agent)
        now = CollectorRegistry()
        now.register(moment)
        return generate_latest(self.registry) + generate_latest(now)


class Moment(Collector):
    """What is so at a scrape. `oldest`: agent → seconds that its oldest message has waited."""

    def __init__(
        self, snapshot: Snapshot, *, clients: int, oldest: Mapping[str, float], swept_at: datetime | None
    ) -> None:
        self._snapshot = snapshot
        self._clients = clients
        self._oldest = oldest
        self._swept_at = swept_at

    @property
    def agents(self) -> list[str]:
        """Those that there are."""
        return [agent.name for agent in self._snapshot.agents]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._of_the_hive()
        yield from self._of_agents()

    def _of_the_hive(self) -> Iterator[GaugeMetricFamily]:
        now = self._snapshot
        yield _gauge("hive_build_info", "Which hyperhive this is.", "version", {VERSION: 1})
        yield _one("hive_redis_up", "Whether Redis answers and takes writes.", now.redis is RedisStatus.OK)
        yield _one(
            "hive_draining", "Whether nothing new is taken on.", bool(now.drain or now.redis is RedisStatus.FULL)
        )
        up = {service.service: float(service.alive) for service in now.services}
        yield _gauge("hive_service_up", "Whether a service says that it lives.", "service", up)
        yield _one("hive_warnings", "Warnings that pages show.", len(now.warnings))
        yield _one("hive_sse_clients", "Pages that are open and kept up to date.", self._clients)
        yield _one("hive_dead_letters", "Messages that were given up and lie as dead letters.", now.dead)
        yield _one("hive_questions_open", "Questions that wait for the operator.", len(now.questions))
        yield _one("hive_approvals_pending", "Approvals that wait for the operator.", len(now.pending))
        if self._swept_at:
            yield _one(
                "hive_retention_last_seconds", "When the last sweep was, in Unix time.", self._swept_at.timestamp()
            )

    def _of_agents(self) -> Iterator[GaugeMetricFamily]:
        now = self._snapshot
        by_container = {status.value: 0.0 for status in ContainerStatus}
        by_state = {state.value: 0.0 for state in TurnState}
        for agent in now.agents:
            by_container[agent.container.value] += 1
            if agent.running and agent.state:
                by_state[agent.state.state.value] += 1
        yield _gauge("hive_agents", "Agents by what their container is.", "container", by_container)
        yield _gauge("hive_agent_states", "Running agents by what they are doing.", "state", by_state)
        yield _gauge("hive_inbox_depth", "Messages that are neither done nor given up.", "agent", now.unread)
        yield _gauge("hive_inbox_oldest_seconds", "How long the oldest of them has waited.", "agent", self._oldest)
        behind = {agent.name: float(bool(agent.needs_update)) for agent in now.agents}
        yield _gauge("hive_agent_needs_update", "Whether its container is not of the newest.", "agent", behind)


def _cause(crash: Mapping[str, Any]) -> str:
    if crash.get("oom"):
        return "memory"
    return "signal" if crash.get("signal") is not None else "exit"


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def count(metrics: Metrics, envelope: Envelope) -> None:
    """A fact of a shape that this version does not know is no reason to stop reading."""
    try:
        metrics.fact(envelope)
    except (MalformedEnvelope, KeyError, TypeError, ValueError):
        return
