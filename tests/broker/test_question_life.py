"""The life of questions as a state machine: whatever happens in whatever order, each asker learns one end, once."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.broker.post import emptied
from tests.broker.threads_rig import NAMES, Rig, rigged
from tests.support.failing_bus import FailingBus
from tests.support.redis_server import RedisServer

from hive_contracts.envelope import Payload
from hive_contracts.ids import question_id
from hive_contracts.questions import (
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionState,
    ThreadAccepted,
    ThreadRefused,
)
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus

EVERYBODY = (*NAMES, "operator")


@dataclass(slots=True)
class Asked:
    """What the model knows of a question. `told` is what its asker must have been told; None while it is open."""

    asker: str
    to: str
    expires_at: int | None
    state: QuestionState = QuestionState.OPEN
    told: tuple[str, str] | None = None


class QuestionLife(RuleBasedStateMachine):
    """`crash` makes the next request or tick fail at a step, whereupon the broker is started again and repeats it."""

    questions = Bundle("questions")

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.bus_of_all = self.runner.run(self.open_bus())
        self.rig: Rig = self.runner.run(rigged(self.bus_of_all, Path(self.directory.name)))
        self.asked: dict[str, Asked] = {}
        self.number = 0
        self.fail_at: int | None = None

    async def open_bus(self) -> Bus:
        return MemoryBus()

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.close()
            self.runner.run(self.bus_of_all.aclose())
            self.runner.close()
            self.directory.cleanup()

    @rule(
        target=questions, who=st.sampled_from(NAMES), to=st.sampled_from(EVERYBODY), ttl=st.sampled_from([None, 5, 60])
    )
    def ask(self, who: str, to: str, ttl: int | None) -> object:
        key = f"ask{self.number}"
        answer = self.request(who, AskQuestion(question="Which?", to=to, ttl_seconds=ttl), key)
        if to == who:
            assert isinstance(answer, ThreadRefused)
            return multiple()
        assert isinstance(answer, ThreadAccepted)
        assert answer.id == question_id(who, key)
        expires_at = None if ttl is None else self.rig.time.now + ttl * 1000
        self.asked[answer.id] = Asked(who, to, expires_at)
        return answer.id

    @rule(question=questions, who=st.sampled_from(EVERYBODY))
    def answer(self, question: str, who: str) -> None:
        known = self.asked[question]
        answer = self.request(who, AnswerQuestion(id=question, answer=f"from {who}"), f"answer{self.number}")
        if who in {known.to, "operator"} and self.is_open(known):
            assert isinstance(answer, ThreadAccepted)
            known.state, known.told = QuestionState.ANSWERED, (f"from {who}", who)
        else:
            assert isinstance(answer, ThreadRefused)

    @rule(question=questions, who=st.sampled_from(EVERYBODY))
    def cancel(self, question: str, who: str) -> None:
        known = self.asked[question]
        answer = self.request(who, CancelQuestion(id=question), f"cancel{self.number}")
        if who in {known.asker, "operator"} and self.is_open(known):
            assert isinstance(answer, ThreadAccepted)
            known.state = QuestionState.CANCELLED
            known.told = None if who == known.asker else ("[cancelled]", who)
        else:
            assert isinstance(answer, ThreadRefused)

    @rule(seconds=st.sampled_from([1, 4, 5, 55, 60]))
    def time_passes(self, seconds: int) -> None:
        self.rig.time.pass_by(seconds)

    @rule(question=questions)
    def answer_at_the_last_moment(self, question: str) -> None:
        """Which is too late; and before the scheduler has noticed."""
        known = self.asked[question]
        if known.expires_at is not None and self.is_open(known):
            self.rig.time.now = known.expires_at
            self.answer(question, known.to)

    @rule(step=st.integers(0, 6))
    def crash_soon(self, step: int) -> None:
        self.fail_at = step

    @rule()
    def restart(self) -> None:
        self.rig.restart()

    @invariant()
    def each_asker_knows_each_end_once(self) -> None:
        if not hasattr(self, "rig"):
            return
        self.tick()
        for known in self.asked.values():
            if known.state is QuestionState.OPEN and not self.is_open(known):
                known.state, known.told = QuestionState.EXPIRED, ("[expired]", "system")
        for question, known in self.asked.items():
            recorded = self.rig.records.get(question)
            assert recorded
            assert recorded.state is known.state
        for name in NAMES:
            assert sorted(self.ends(name)) == sorted(self.expected(name))

    def is_open(self, known: Asked) -> bool:
        in_time = known.expires_at is None or known.expires_at > self.rig.time.now
        return known.state is QuestionState.OPEN and in_time

    def expected(self, name: str) -> list[tuple[str, str, str]]:
        mine = ((question, known) for question, known in self.asked.items() if known.asker == name)
        return [(question, *known.told) for question, known in mine if known.told]

    def ends(self, name: str) -> list[tuple[str, str, str]]:
        mail = [message.about for message in self.runner.run(self.rig.inbox(name)) if message.sender == "system"]
        return [(about.data["id"], about.data["answer"], about.data["answerer"]) for about in mail if about]

    def request(self, who: str, payload: Payload, key: str) -> object:
        self.number += 1
        return self.runner.run(self._request(who, payload, key))

    async def _request(self, who: str, payload: Payload, key: str) -> object:
        await self.rig.post(who, payload, key=key)
        try:
            await self.rig.handle(who, await self.rig.take(who), self.bus())
        except BusUnavailable:
            self.rig.restart()
            await self.rig.handle(who, await self.rig.take(who, again=True))
        return await self.rig.answer_to(who, key)

    def tick(self) -> None:
        try:
            self.runner.run(self.rig.tick(self.bus()))
        except BusUnavailable:
            self.rig.restart()
            self.runner.run(self.rig.tick())

    def bus(self) -> FailingBus | None:
        fail_at, self.fail_at = self.fail_at, None
        return None if fail_at is None else FailingBus(self.rig.bus, fail_at=fail_at, after=fail_at % 2 == 0)


TestQuestionLife = pytest.mark.slow(QuestionLife.TestCase)
TestQuestionLife.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


class QuestionLifeOnRedis(QuestionLife):
    server: RedisServer

    async def open_bus(self) -> Bus:
        return await emptied(self.server)


@pytest.mark.slow
def test_questions_live_alike_on_a_real_server(redis: RedisServer) -> None:
    QuestionLifeOnRedis.server = redis
    few = settings(max_examples=5, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(QuestionLifeOnRedis, settings=few)
