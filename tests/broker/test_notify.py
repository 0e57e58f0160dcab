"""Facts that become messages from `system`: to whom, in which words, and never twice."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.broker.post import inbox, register, told_as
from tests.support.failing_bus import FailingBus

from hive_broker.crashes import Crashes
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.mail import Mail
from hive_broker.notify import NOTICES, Notifier, login_needed
from hive_contracts import streams
from hive_contracts.agents import (
    AgentFlooding,
    AgentNeedsLogin,
    AgentState,
    AgentStateChanged,
    ContainerCrashed,
    ContainerStarted,
    TurnState,
)
from hive_contracts.approvals import ApprovalKind, ApprovalResolved, ApprovalState, ApprovalView
from hive_contracts.drafts import DraftChanged, DraftEnded, DraftView
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.messages import MessageDelivered
from hive_contracts.names import MANAGER, OPERATOR
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.errors import BusUnavailable
from hive_runtime.records.messages import MessageWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
CRASH = ContainerCrashed(agent="ada", exit_status=3, uptime_seconds=61, log_tail=("first", "last\nwords"))


def fact(payload: Payload, *, key: str = "f1", age: timedelta = timedelta(0)) -> Envelope:
    return Envelope.of(payload, source="supervisor", id=key, time=datetime.now(UTC) - age)


@asynccontextmanager
async def notifier(bus: Bus, path: Path) -> AsyncIterator[Notifier]:
    """Of a broker that just started and knows nothing but what is on record."""
    messages = MessageWriter(path / "broker.sqlite")
    directory = Directory(bus)
    try:
        mail = Mail(bus, Known(bus, messages), directory)
        crashes = Crashes(bus, mail, window=timedelta(minutes=15), now=lambda: datetime.now(UTC))
        yield Notifier(bus, mail, directory, crashes)
    finally:
        messages.close()


async def take(bus: Bus, *, again: bool = False) -> list[Entry]:
    await bus.ensure_group(streams.EVENTS, streams.GROUP_NOTIFY)
    async with aclosing(bus.reader()) as reader:
        if again:
            return await reader.read_pending(streams.EVENTS, streams.GROUP_NOTIFY, "broker", after="0", count=99)
        return await reader.read_new(streams.EVENTS, streams.GROUP_NOTIFY, "broker", count=99, block_ms=0)


async def tell(bus: Bus, path: Path, *facts: Envelope) -> None:
    for envelope in facts:
        await bus.append(streams.EVENTS, envelope)
    async with notifier(bus, path) as it:
        await it.handle(await take(bus))
    assert await take(bus, again=True) == []


async def bodies(bus: Bus, name: str) -> list[str]:
    return [message.body for message in await inbox(bus, name)]


def in_hive(on_bus: OnBus, scenario: Callable[[Bus], Awaitable[None]]) -> None:
    async def on_this(bus: Bus) -> None:
        await register(bus, "ada", MANAGER)
        await ensure_principal(bus, OPERATOR)
        await scenario(bus)

    on_bus(on_this)


def test_the_manager_hears_of_a_crash_with_status_and_last_lines(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await tell(bus, tmp_path, fact(CRASH))
        (message,) = await inbox(bus, MANAGER)
        assert message.sender == "system"
        assert message.body == (
            "The container of ada ended with status 3 after 61 s; it is started again. Its log ends with:\n"
            "| first\n| last words"
        )
        assert await bodies(bus, OPERATOR) == []
        assert len(await told_as(bus, streams.EVENTS, MessageDelivered)) == 1

    in_hive(on_bus, scenario)


def test_who_took_too_much_memory_is_said_to_have(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await tell(bus, tmp_path, fact(ContainerCrashed(agent="ada", signal=9, oom=True)))
        (body,) = await bodies(bus, MANAGER)
        assert "ended by signal 9, for taking too much memory, after 0 s" in body

    in_hive(on_bus, scenario)


def test_of_the_managers_own_crash_the_operator_hears(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await tell(bus, tmp_path, fact(ContainerCrashed(agent=MANAGER, signal=9)))
        assert await bodies(bus, MANAGER) == []
        assert await bodies(bus, OPERATOR) == [
            "The container of hm1nd ended by signal 9 after 0 s; it is started again."
        ]

    in_hive(on_bus, scenario)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (AgentFlooding(agent="ada", reason="too many", pause_seconds=10), "as it floods: too many."),
        (
            AgentNeedsLogin(agent="ada", detail="run\n/login"),
            "it needs a login. Its messages wait",
        ),
    ],
)
def test_operator_and_manager_hear_of_floods_and_logins(
    payload: Payload, words: str, on_bus: OnBus, tmp_path: Path
) -> None:
    async def scenario(bus: Bus) -> None:
        await tell(bus, tmp_path, fact(payload))
        for name in (MANAGER, OPERATOR):
            (body,) = await bodies(bus, name)
            assert words in body
            assert "\n" not in body
        assert await bodies(bus, "ada") == []

    in_hive(on_bus, scenario)


def test_a_fact_told_twice_makes_one_message(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await tell(bus, tmp_path, fact(CRASH), fact(CRASH))
        await tell(bus, tmp_path, fact(CRASH))
        assert len(await bodies(bus, MANAGER)) == 1
        flood = AgentFlooding(agent="ada", reason="x", pause_seconds=1)
        await tell(bus, tmp_path, fact(flood, key="f2"), fact(flood, key="f2"), fact(flood, key="f3"))
        assert len(await bodies(bus, MANAGER)) == 3

    in_hive(on_bus, scenario)


@pytest.mark.slow
@pytest.mark.parametrize("calls", range(6))
def test_wherever_the_broker_dies_the_message_comes_once(calls: int, on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.append(streams.EVENTS, fact(AgentFlooding(agent="ada", reason="x", pause_seconds=1)))
        entries = await take(bus)
        try:
            async with notifier(FailingBus(bus, fail_at=calls), tmp_path) as first:
                await first.handle(entries)
        except BusUnavailable:
            async with notifier(bus, tmp_path) as second:
                await second.handle(await take(bus, again=True))
        for name in (MANAGER, OPERATOR):
            assert len(await bodies(bus, name)) == 1
        assert await take(bus, again=True) == []

    in_hive(on_bus, scenario)


def test_a_broker_that_knows_nobody_waits_for_the_registry(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.append(streams.EVENTS, fact(CRASH))
        async with notifier(bus, tmp_path) as it:
            entries = await take(bus)
            with pytest.raises(Exception, match="registry of agents is empty"):
                await it.handle(entries)
            await register(bus, "ada", MANAGER)
            await it.handle(await take(bus, again=True))
        assert len(await bodies(bus, MANAGER)) == 1

    on_bus(scenario)


def test_what_is_old_malformed_or_of_no_interest_is_only_acknowledged(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        odd = Envelope(source="x", type=ContainerCrashed.TYPE, data={"agent": 3})
        await tell(bus, tmp_path, odd, fact(ContainerStarted(agent="ada")), fact(CRASH, age=timedelta(days=2)))
        assert await bodies(bus, MANAGER) == []

    in_hive(on_bus, scenario)


def test_a_lacking_login_is_one_fact_an_hour() -> None:
    def says(state: TurnState) -> Envelope:
        account = AgentState(agent="eve", state=state, since=datetime.now(UTC), detail="no credentials")
        return Envelope.of(AgentStateChanged(state=account), source="ada")

    assert login_needed("ada", [says(TurnState.IDLE)], hour=5) == []
    (append,) = login_needed("ada", [says(TurnState.IDLE)] + [says(TurnState.NEEDS_LOGIN)] * 9, hour=5)
    assert (append.stream, append.envelope.id) == (streams.EVENTS, "ada:needs_login:5")
    assert append.envelope.payload(AgentNeedsLogin) == AgentNeedsLogin(agent="ada", detail="no credentials")


def approval(kind: ApprovalKind, state: ApprovalState, *, requester: str = MANAGER) -> ApprovalResolved:
    now = datetime.now(UTC)
    view = ApprovalView(
        id="a-1",
        kind=kind,
        agent="ada",
        requester=requester,
        state=state,
        commit="" if kind is ApprovalKind.PURGE else "c" * 40,
        pattern="git *" if kind is ApprovalKind.PERMISSION_PATTERN else "",
        requested_at=now,
        expires_at=now,
        note="so be it",
    )
    return ApprovalResolved(approval=view)


DRAFT = DraftView(name="lin", author=MANAGER, created_at=datetime.now(UTC), commit="c", committed_at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (approval(ApprovalKind.PURGE, ApprovalState.DEPLOYED), {MANAGER: "the purge of ada, was approved and nothing"}),
        (
            approval(ApprovalKind.SPAWN_COMMIT, ApprovalState.DEPLOYED),
            {MANAGER: "for ada, was approved and it is there"},
        ),
        (
            approval(ApprovalKind.APPLY_COMMIT, ApprovalState.CHANGES_REQUESTED),
            {MANAGER: "The operator says: so be it"},
        ),
        (approval(ApprovalKind.APPLY_COMMIT, ApprovalState.APPROVED), {}),
        (approval(ApprovalKind.APPLY_COMMIT, ApprovalState.DEPLOYED, requester=OPERATOR), {}),
        (
            approval(ApprovalKind.APPLY_COMMIT, ApprovalState.FAILED, requester=OPERATOR),
            {MANAGER: "what ran before runs again", OPERATOR: "what ran before runs again"},
        ),
        (
            approval(ApprovalKind.PERMISSION_PATTERN, ApprovalState.FAILED, requester="ada"),
            {"ada": "git * without asking", MANAGER: "but failed", OPERATOR: "but failed"},
        ),
        (DraftChanged(draft=DRAFT), {}),
        (DraftChanged(draft=DRAFT, taken_over=True), {MANAGER: "took over the draft of lin"}),
        (DraftEnded(draft=DRAFT, became=False), {MANAGER: "is discarded"}),
        (DraftEnded(draft=DRAFT, became=True), {}),
    ],
)
def test_who_asked_hears_what_became_of_it(payload: Payload, told: dict[str, str]) -> None:
    notice = NOTICES[payload.TYPE](fact(payload))
    assert set(notice.people) == set(told)
    assert all(words in notice.body for words in told.values())
