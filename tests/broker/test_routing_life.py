"""Sends of any kind, repeated and interrupted at any step: each arrives once, in order, or is refused."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.broker.post import Post, emptied, inbox, send, told
from tests.support.failing_bus import FailingBus
from tests.support.redis_server import RedisServer

from hive_broker.config import BrokerSettings
from hive_broker.limits import Limits
from hive_contracts import streams
from hive_contracts.messages import MessageAccepted, MessageRefused
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus

NAMES = ("ada", "lin", "eve")
WIDE = BrokerSettings(sender_per_minute=100_000, pair_per_minute=100_000, inbox_soft=100_000, inbox_hard=100_000)

SENDERS = st.sampled_from(NAMES)
RECIPIENTS = st.sampled_from([*NAMES, "operator", "nobody", "*"])


class RoutingLife(RuleBasedStateMachine):
    """`sent` is the model: sender, key and recipients of each send that the broker was to take."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.bus = self.runner.run(self.open_bus())
        opened = Post.open(self.bus, Path(self.directory.name), *NAMES, limits=Limits(WIDE))
        self.post = self.runner.run(opened)
        self.sent: list[tuple[str, str, tuple[str, ...]]] = []
        self.refused = 0

    async def open_bus(self) -> Bus:
        return MemoryBus()

    def teardown(self) -> None:
        if hasattr(self, "post"):
            self.post.messages.close()
            self.runner.run(self.bus.aclose())
            self.runner.close()
            self.directory.cleanup()

    @rule(sender=SENDERS, to=RECIPIENTS, fail_at=st.none() | st.integers(0, 12), after=st.booleans())
    def send(self, sender: str, to: str, fail_at: int | None, *, after: bool) -> None:
        key = f"k-{len(self.sent)}-{self.refused}"
        self._append(sender, key, to)
        if to in {"nobody", sender}:
            self.refused += 1
        else:
            everyone = tuple(name for name in NAMES if name != sender)
            self.sent.append((sender, key, everyone if to == "*" else (to,)))
        self._handle(sender, fail_at, after=after)

    @rule(place=st.integers(0, 50), fail_at=st.none() | st.integers(0, 12))
    def repeat(self, place: int, fail_at: int | None) -> None:
        """A sender that did not hear of its send sends it again, after others."""
        if self.sent:
            sender, key, recipients = self.sent[place % len(self.sent)]
            self._append(sender, key, recipients[0] if len(recipients) == 1 else "*")
            self._handle(sender, fail_at, after=False)

    @invariant()
    def everything_arrived_once_and_in_order(self) -> None:
        if not hasattr(self, "post"):
            return
        for name in (*NAMES, "operator"):
            found = [(one.sender, one.body) for one in self.runner.run(inbox(self.bus, name))]
            expected = [(sender, key) for sender, key, recipients in self.sent if name in recipients]
            assert sorted(found) == sorted(expected)
            for peer in NAMES:
                assert [one for one in found if one[0] == peer] == [one for one in expected if one[0] == peer]

    @invariant()
    def every_sender_heard(self) -> None:
        if not hasattr(self, "post"):
            return
        accepted, refused = set(), set()
        for name in NAMES:
            for answer in self.runner.run(told(self.bus, streams.control(name))):
                match answer.type:
                    case MessageAccepted.TYPE:
                        accepted.add((name, answer.correlation_id))
                    case MessageRefused.TYPE:
                        refused.add((name, answer.correlation_id))
        assert accepted == {(sender, key) for sender, key, _ in self.sent}
        assert len(refused) == self.refused

    def _append(self, sender: str, key: str, to: str) -> None:
        self.runner.run(self.bus.append(streams.outbox(sender), send(to, key, key=key)))

    def _handle(self, sender: str, fail_at: int | None, *, after: bool) -> None:
        """What a broker does with the outbox; one that dies is followed by one that takes up what is pending."""
        failing = None if fail_at is None else FailingBus(self.bus, fail_at=fail_at, after=after)
        entries = self.runner.run(self.post.take(sender))
        try:
            self.runner.run(self.post.worker(sender, failing).handle(entries))
        except BusUnavailable:
            entries = self.runner.run(self.post.take(sender, again=True))
            if entries:
                self.runner.run(self.post.worker(sender).handle(entries))


class RoutingLifeOnRedis(RoutingLife):
    server: RedisServer

    async def open_bus(self) -> Bus:
        return await emptied(self.server)


def _run(machine: type[RoutingLife], *, examples: int) -> None:
    few = settings(
        max_examples=examples, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=few)


@pytest.mark.slow
def test_whatever_is_sent_arrives_once_or_is_refused() -> None:
    _run(RoutingLife, examples=12)


@pytest.mark.slow
def test_so_it_does_on_a_real_server(redis: RedisServer) -> None:
    RoutingLifeOnRedis.server = redis
    _run(RoutingLifeOnRedis, examples=4)
