"""The conformance suite of `Bus`: every implementation behaves like this."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery, ensure_principal
from hive_runtime.consumer import Consumer
from hive_runtime.errors import LeaseLost, NoGroup

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def envelope(text: str = "x") -> Envelope:
    return Envelope(source="test", type="test.event", data={"text": text})


def test_a_group_hands_an_entry_out_once_and_keeps_it_pending_until_acked(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        entry_id = await bus.append("s", envelope("one"))
        (entry,) = await reader.read_new("s", "g", "c", count=10, block_ms=0)
        assert (entry.id, entry.redelivered) == (entry_id, False)
        assert Envelope.decode(entry.fields).data == {"text": "one"}
        assert await reader.read_new("s", "g", "c", count=10, block_ms=0) == []
        (again,) = await reader.read_pending("s", "g", "c", after="0", count=10)
        assert (again.id, again.redelivered) == (entry_id, True)
        await bus.write(Batch(acks=[Ack("s", "g", [entry_id], delete=True)]))
        assert await reader.read_pending("s", "g", "c", after="0", count=10) == []
        assert await bus.depth("s") == 0
        await reader.aclose()

    on_bus(scenario)


def test_pending_entries_belong_to_their_consumer(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        await bus.append("s", envelope())
        await reader.read_new("s", "g", "mine", count=1, block_ms=0)
        assert await reader.read_pending("s", "g", "other", after="0", count=10) == []
        await reader.aclose()

    on_bus(scenario)


def test_a_touched_entry_stays_pending_and_what_is_not_pending_is_left_alone(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        ids = [await bus.append("s", envelope(text)) for text in ("held", "acked", "new")]
        await reader.read_new("s", "g", "c", count=2, block_ms=0)
        await bus.write(Batch(acks=[Ack("s", "g", ids[1:2])]))
        await bus.touch("s", "g", "c", [*ids, "0-1"])
        await bus.touch("s", "g", "c", [])
        assert [entry.id for entry in await reader.read_pending("s", "g", "c", after="0", count=10)] == ids[:1]
        assert [entry.id for entry in await reader.read_new("s", "g", "c", count=10, block_ms=0)] == ids[2:]
        await reader.aclose()

    on_bus(scenario)


def test_a_stream_is_read_when_its_group_has_had_and_acknowledged_all(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        assert not await bus.is_read("s", "g")
        await bus.ensure_group("s", "g")
        assert await bus.is_read("s", "g")
        entry_id = await bus.append("s", envelope())
        assert not await bus.is_read("s", "g")
        reader = bus.reader()
        await reader.read_new("s", "g", "c", count=10, block_ms=0)
        await reader.aclose()
        assert not await bus.is_read("s", "g")
        await bus.write(Batch(acks=[Ack("s", "g", [entry_id])]))
        assert await bus.is_read("s", "g")
        assert not await bus.is_read("s", "another")

    on_bus(scenario)


def test_a_blocking_read_wakes_when_something_comes(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        waiting = asyncio.ensure_future(reader.read_new("s", "g", "c", count=1, block_ms=20_000))
        await bus.append("s", envelope("late"))
        (entry,) = await asyncio.wait_for(waiting, 10)
        assert Envelope.decode(entry.fields).data == {"text": "late"}
        await reader.aclose()

    on_bus(scenario)


def test_an_entry_trimmed_while_pending_comes_back_without_fields(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        await bus.ensure_group("s", "other")
        reader = bus.reader()
        entry_id = await bus.append("s", envelope())
        await reader.read_new("s", "g", "c", count=1, block_ms=0)
        await bus.write(Batch(acks=[Ack("s", "other", [entry_id], delete=True)]))
        (tombstone,) = await reader.read_pending("s", "g", "c", after="0", count=10)
        assert (tombstone.id, dict(tombstone.fields)) == (entry_id, {})
        await reader.aclose()

    on_bus(scenario)


def test_a_stream_is_cleared_as_a_whole_or_up_to_an_entry(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        ids = [await bus.append("s", envelope(str(number))) for number in range(4)]
        await bus.clear("s", through=ids[1])
        reader = bus.reader()
        left = await reader.read_after({"s": "0-0"}, count=10, block_ms=0)
        assert [entry.id for entry in left] == ids[2:]
        await bus.clear("nothing", through=ids[3])
        await bus.clear("s")
        assert await bus.depth("s") == 0
        await reader.aclose()

    on_bus(scenario)


def test_a_missing_group_is_its_own_error(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        reader = bus.reader()
        with pytest.raises(NoGroup):
            await reader.read_new("nowhere", "g", "c", count=1, block_ms=0)
        with pytest.raises(NoGroup):
            await reader.read_pending("nowhere", "g", "c", after="0", count=1)
        await reader.aclose()

    on_bus(scenario)


def test_a_group_reads_from_the_start_and_making_it_twice_changes_nothing(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.append("s", envelope("before the group"))
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        assert len(await reader.read_new("s", "g", "c", count=10, block_ms=0)) == 1
        await bus.ensure_group("s", "g")
        assert await reader.read_new("s", "g", "c", count=10, block_ms=0) == []
        await reader.aclose()

    on_bus(scenario)


def test_a_group_that_is_rewound_hands_everything_out_again_in_order(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        ids = [await bus.append("s", envelope(str(number))) for number in range(5)]
        await reader.read_new("s", "g", "c", count=4, block_ms=0)
        await bus.write(Batch(acks=[Ack("s", "g", ids[:2])]))
        assert await bus.rewind("s", "g")
        assert await reader.read_pending("s", "g", "c", after="0", count=10) == []
        again = await reader.read_new("s", "g", "c", count=10, block_ms=0)
        assert [(entry.id, entry.redelivered) for entry in again] == [(entry_id, False) for entry_id in ids]
        await reader.aclose()

    on_bus(scenario)


def test_a_group_is_rewound_to_an_entry_and_never_forward(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        ids = [await bus.append("s", envelope(str(number))) for number in range(4)]
        assert not await bus.rewind("s", "g", to=ids[3])
        assert not await bus.rewind("s", "g")
        await reader.read_new("s", "g", "c", count=10, block_ms=0)
        await bus.write(Batch(acks=[Ack("s", "g", ids)]))
        assert not await bus.rewind("s", "g", to=ids[3])
        assert await bus.rewind("s", "g", to=ids[1])
        assert [entry.id for entry in await reader.read_new("s", "g", "c", count=10, block_ms=0)] == ids[2:]
        assert not await bus.rewind("s", "g", to=ids[3])
        assert len(await reader.read_pending("s", "g", "c", after="0", count=10)) == 2
        await reader.aclose()

    on_bus(scenario)


def test_a_pending_entry_is_not_lost_by_rewinding_behind_it(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        reader = bus.reader()
        ids = [await bus.append("s", envelope(str(number))) for number in range(4)]
        await reader.read_new("s", "g", "c", count=10, block_ms=0)
        await bus.write(Batch(acks=[Ack("s", "g", [ids[0], ids[2], ids[3]])]))
        assert await bus.rewind("s", "g", to=ids[2])
        assert [entry.id for entry in await reader.read_new("s", "g", "c", count=10, block_ms=0)] == ids[1:]
        await bus.write(Batch(acks=[Ack("s", "g", ids)]))
        await reader.aclose()

    on_bus(scenario)


def test_rewinding_makes_a_missing_group(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        assert not await bus.rewind("s", "g")
        entry_id = await bus.append("s", envelope())
        reader = bus.reader()
        assert [entry.id for entry in await reader.read_new("s", "g", "c", count=9, block_ms=0)] == [entry_id]
        await reader.aclose()

    on_bus(scenario)


def test_a_waiting_read_goes_on_with_a_group_that_is_rewound(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        consumer = Consumer(bus, "s", "g", "c")
        entry_id = await bus.append("s", envelope())
        assert [entry.id for entry in await consumer.read()] == [entry_id]
        waiting = asyncio.ensure_future(consumer.read())
        await asyncio.sleep(0)
        await bus.rewind("s", "g")
        assert [entry.id for entry in await asyncio.wait_for(waiting, 20)] == [entry_id]
        await consumer.aclose()

    on_bus(scenario)


def test_a_delivery_happens_once_per_key(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        one, two = Delivery("ada", "k1", envelope("one")), Delivery("ada", "k2", envelope("two"))
        assert await bus.deliver([one, two]) == [True, True]
        assert await bus.deliver([one]) == [False]
        assert await bus.deliver([Delivery("lin", "k1", envelope())]) == [True]
        assert await bus.depth(streams.inbox("ada")) == 2
        assert await bus.deliver([]) == []

    on_bus(scenario)


def test_only_the_lease_holder_acks(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await ensure_principal(bus, "ada")
        await bus.deliver([Delivery("ada", "k", envelope())])
        reader = bus.reader()
        (entry,) = await reader.read_new(streams.inbox("ada"), "harness", "ada", count=1, block_ms=0)
        await bus.hash_set(streams.state("ada"), {streams.LEASE_FIELD: "new owner"})
        with pytest.raises(LeaseLost):
            await bus.ack_leased("ada", "former owner", [entry.id])
        assert await bus.depth(streams.inbox("ada")) == 1
        await bus.ack_leased("ada", "new owner", [entry.id])
        assert await bus.depth(streams.inbox("ada")) == 0
        await reader.aclose()

    on_bus(scenario)


def test_a_lease_that_an_emptied_server_lost_is_taken_by_who_acks(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await ensure_principal(bus, "ada")
        await bus.ack_leased("ada", "owner", ["1-0"])
        assert await bus.hash_all(streams.state("ada")) == {streams.LEASE_FIELD: "owner"}
        with pytest.raises(LeaseLost):
            await bus.ack_leased("ada", "another", ["1-0"])

    on_bus(scenario)


def test_a_batch_writes_in_order(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.write(Batch([Append("a", envelope("1")), Append("b", envelope("2")), Append("a", envelope("3"))]))
        reader = bus.reader()
        entries = await reader.read_after({"a": "0-0", "b": "0-0"}, count=10, block_ms=0)
        found = {(entry.stream, Envelope.decode(entry.fields).data["text"]) for entry in entries}
        assert found == {("a", "1"), ("a", "3"), ("b", "2")}
        assert await bus.last_id("a") == [entry.id for entry in entries if entry.stream == "a"][-1]
        assert await bus.last_id("empty") == "0-0"
        await reader.aclose()

    on_bus(scenario)


def test_hashes_keep_fields(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.hash_set("h", {"a": "1", "b": "2"})
        await bus.hash_set("h", {"a": "3"})
        await bus.hash_delete("h", ["b", "never there"])
        assert await bus.hash_all("h") == {"a": "3"}
        assert await bus.hash_all("nothing") == {}

    on_bus(scenario)
