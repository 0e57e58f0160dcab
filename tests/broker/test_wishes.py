"""What a manager may ask of the supervisor, and that nobody else may."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from tests.broker.post import register, told, told_as

from hive_broker.directory import Directory
from hive_broker.wishes import WishWorker
from hive_contracts import streams
from hive_contracts.agents import CommandFailed, DestroyAgent, RestartAgent, StartAgent, StopAgent
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.models import SetModel
from hive_contracts.names import MANAGER
from hive_contracts.wishes import WISHES, GetLogs, ListAgents
from hive_runtime.bus import Bus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


async def wish(bus: Bus, who: str, *payloads: Payload | Envelope, again: bool = False) -> None:
    """Put them into `who`'s outbox and let the broker handle it; `again`: it dies before it can acknowledge."""
    for payload in payloads:
        envelope = payload if isinstance(payload, Envelope) else Envelope.of(payload, source="somebody else", id="k1")
        await bus.append(streams.outbox(who), envelope)
    directory = Directory(bus)
    await directory.refresh()
    async with aclosing(bus.reader()) as reader:
        entries = await reader.read_new(streams.outbox(who), streams.GROUP_BROKER, "broker", count=99, block_ms=0)
    worker = WishWorker(who, bus=bus, directory=directory)
    if again:
        await worker.handle(entries)
    await worker.handle(entries)


@pytest.mark.parametrize("payload", [StartAgent(name="ada"), ListAgents(), GetLogs(name="ada", lines=3)])
def test_the_managers_wish_becomes_a_command_that_says_whose_it_is(on_bus: OnBus, payload: Payload) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, MANAGER, "ada")
        await wish(bus, MANAGER, payload)
        (command,) = await told(bus, streams.COMMANDS_SUPERVISOR)
        assert (command.type, command.source, command.correlation_id) == (payload.TYPE, f"agent/{MANAGER}", "k1")
        assert command.payload(type(payload)) == payload
        assert await bus.depth(streams.outbox(MANAGER)) == 0

    on_bus(scenario)


def test_passed_on_twice_it_is_the_same_command(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, MANAGER, "ada")
        await wish(bus, MANAGER, RestartAgent(name="ada"), again=True)
        first, second = await told(bus, streams.COMMANDS_SUPERVISOR)
        assert first.id == second.id

    on_bus(scenario)


@pytest.mark.parametrize(
    ("who", "payload", "reason"),
    [
        ("ada", StopAgent(name="lin"), "only the hive's manager"),
        ("ada", ListAgents(), "only the hive's manager"),
        (MANAGER, StopAgent(name=MANAGER), "to yourself"),
        (MANAGER, RestartAgent(name=MANAGER), "to yourself"),
        (MANAGER, Envelope(id="k1", source=MANAGER, type=StopAgent.TYPE, data={"name": "../x"}), "not valid"),
    ],
)
def test_what_is_not_allowed_is_answered_and_goes_nowhere(
    on_bus: OnBus, who: str, payload: Payload | Envelope, reason: str
) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, MANAGER, "ada", "lin")
        await wish(bus, who, payload)
        assert await told(bus, streams.COMMANDS_SUPERVISOR) == []
        (refused,) = await told_as(bus, streams.control(who), CommandFailed)
        assert reason in refused.reason

    on_bus(scenario)


def test_what_is_the_operators_is_no_wish() -> None:
    assert not {DestroyAgent.TYPE, SetModel.TYPE, "agent.spawn"} & {kind.TYPE for kind in WISHES}
    assert WishWorker.kinds == {kind.TYPE for kind in WISHES}
