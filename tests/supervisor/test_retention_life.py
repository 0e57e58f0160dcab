"""Retention as a state machine, in memory and on a real server: whatever is written, taken, acknowledged and swept in
whatever order, nothing that somebody still needs goes, and all that nobody needs does.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.broker.post import emptied
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.retention import Swept
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.memory_trim import MemoryTrimmer
from hive_runtime.redis_trim import StreamTrimmer
from hive_runtime.trim import Trimmer
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.retention.policy import Policy
from hive_supervisor.retention.streams import sweep_streams

KEEP = 3
READERS = {
    streams.inbox("ada"): streams.GROUP_HARNESS,
    streams.outbox("ada"): streams.GROUP_BROKER,
    streams.live("ada"): streams.GROUP_RECORDER,
    streams.control("ada"): streams.GROUP_HARNESS,
    streams.COMMANDS_SUPERVISOR: streams.GROUP_SUPERVISOR,
    streams.EVENTS: streams.GROUP_RECORD,
}
BY_AGE = {streams.control("ada"), streams.EVENTS}
OTHER = "another"
NAMES = st.sampled_from(sorted(READERS))
MUCH = 10_000


@dataclass(slots=True)
class Group:
    """What a consumer group has had of a stream and not acknowledged. `had` counts from the first entry ever."""

    had: int = 0
    pending: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Stream:
    """`written` are all ids ever; of these, those from `swept` on are there."""

    written: list[str] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    swept: int = 0

    def first_needed(self) -> int:
        """The place of the first entry that a group has not had, or not acknowledged."""
        places = [group.had for group in self.groups.values()]
        places += [self.written.index(one) for group in self.groups.values() for one in group.pending]
        return min(places, default=0)


class RetentionLife(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.bus = self.runner.run(self.open_bus())
        self.trimmer = self.trimmer_of(self.bus)
        self.model = {name: Stream() for name in READERS}

    async def open_bus(self) -> Bus:
        return MemoryBus()

    def trimmer_of(self, bus: Bus) -> Trimmer:
        assert isinstance(bus, MemoryBus)
        return MemoryTrimmer(bus)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.close())
            self.runner.close()

    async def close(self) -> None:
        await self.bus.aclose()

    @rule(name=NAMES, number=st.integers(1, 8))
    def write(self, name: str, number: int) -> None:
        for _ in range(number):
            entry_id = self.runner.run(self.bus.append(name, Envelope(source="x", type="x")))
            self.model[name].written.append(entry_id)

    @rule(name=NAMES, own=st.booleans())
    def make_group(self, name: str, own: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        group = READERS[name] if own else OTHER
        self.runner.run(self.bus.ensure_group(name, group))
        model = self.model[name]
        model.groups.setdefault(group, Group(had=model.swept))

    @rule(name=NAMES, own=st.booleans(), count=st.integers(1, 6))
    def take(self, name: str, own: bool, count: int) -> None:  # noqa: FBT001
        model, group_name = self.model[name], READERS[name] if own else OTHER
        if group := model.groups.get(group_name):
            expected = model.written[group.had : group.had + count]
            assert [entry.id for entry in self.runner.run(self.read(name, group_name, count))] == expected
            group.had += len(expected)
            group.pending += expected

    async def read(self, name: str, group: str, count: int) -> list[Entry]:
        async with aclosing(self.bus.reader()) as reader:
            return await reader.read_new(name, group, "c", count=count, block_ms=0)

    @rule(name=NAMES, own=st.booleans(), which=st.integers(0, 5), number=st.integers(1, 4))
    def acknowledge(self, name: str, own: bool, which: int, number: int) -> None:  # noqa: FBT001
        group_name = READERS[name] if own else OTHER
        if group := self.model[name].groups.get(group_name):
            ids = group.pending[which : which + number]
            if ids:
                self.runner.run(self.bus.write(Batch(acks=[Ack(name, group_name, ids)])))
            group.pending = [one for one in group.pending if one not in ids]

    @rule(old=st.booleans())
    def sweep(self, old: bool) -> None:  # noqa: FBT001
        """`old`: all that goes by age has the age for it."""
        told = self.accounts(old, dry_run=True)
        swept = self.accounts(old, dry_run=False)
        assert {name: (one.kept, one.removed) for name, one in told.items()} == {
            name: (one.kept, one.removed) for name, one in swept.items()
        }
        for name, model in self.model.items():
            before = model.swept
            if READERS[name] in model.groups and (old or name not in BY_AGE):
                keep = KEEP if name == streams.live("ada") else 0
                model.swept = max(before, min(model.first_needed(), len(model.written) - keep))
            if name in swept:
                assert (swept[name].removed, swept[name].error) == (model.swept - before, "")
            else:
                assert not model.written

    def accounts(self, old: bool, *, dry_run: bool) -> dict[str, Swept]:  # noqa: FBT001
        policy = Policy(
            RetentionSettings(live_entries=KEEP, control_days=1, fact_days=1),
            datetime.now(UTC) + timedelta(days=2) if old else datetime.fromtimestamp(0, UTC),
        )
        swept = self.runner.run(sweep_streams(self.trimmer, policy, dry_run=dry_run))
        return {one.name: one for one in swept}

    @invariant()
    def what_is_there_is_what_was_not_swept(self) -> None:
        if hasattr(self, "model"):
            for name, model in self.model.items():
                entries = self.runner.run(self.all_of(name))
                assert [entry.id for entry in entries] == model.written[model.swept :]

    async def all_of(self, name: str) -> list[Entry]:
        async with aclosing(self.bus.reader()) as reader:
            return await reader.read_after({name: "0-0"}, count=MUCH, block_ms=0)


TestRetentionLife = pytest.mark.slow(RetentionLife.TestCase)
TestRetentionLife.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class RetentionLifeOnRedis(RetentionLife):
    server: RedisServer

    async def open_bus(self) -> Bus:
        return await emptied(self.server)

    def trimmer_of(self, bus: Bus) -> Trimmer:
        self.on_server = StreamTrimmer(self.server.address)
        return self.on_server

    async def close(self) -> None:
        await self.on_server.aclose()
        await super().close()


@pytest.mark.slow
def test_a_real_server_is_swept_alike(redis: RedisServer) -> None:
    RetentionLifeOnRedis.server = redis
    few = settings(max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(RetentionLifeOnRedis, settings=few)
