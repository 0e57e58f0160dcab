"""From an outbox to inboxes: who is believed, what is refused, and that nothing happens twice."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, register, send, told, told_as
from tests.support.failing_bus import FailingBus

from hive_broker.directory import Directory
from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MAX_BODY_BYTES, MessageAccepted, MessageDelivered, MessageRefused, MessageState
from hive_runtime.bus import Bus, Entry
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
Scenario = Callable[[Post], Awaitable[None]]


@pytest.fixture
def with_post(on_bus: OnBus, tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario in a hive of ada, lin and eve."""

    def run(scenario: Scenario) -> None:
        async def on_this(bus: Bus) -> None:
            post = await Post.open(bus, tmp_path, "ada", "lin", "eve")
            try:
                await scenario(post)
            finally:
                post.messages.close()

        on_bus(on_this)

    return run


WithPost = Callable[[Scenario], None]


def test_a_message_is_stamped_delivered_recorded_and_answered(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", "hello", key="k1"))
        new_id = message_id("ada", "k1", "lin")
        (message,) = await inbox(post.bus, "lin")
        assert (message.id, message.sender, message.recipient, message.body) == (new_id, "ada", "lin", "hello")
        assert (message.trace_id, message.hop) == (new_id, 0)
        (answer,) = await told(post.bus, streams.control("ada"))
        assert (answer.type, answer.correlation_id) == (MessageAccepted.TYPE, "k1")
        assert answer.payload(MessageAccepted).message_id == new_id
        events = await told(post.bus, streams.EVENTS)
        assert [event.type for event in events] == [MessageAccepted.TYPE, MessageDelivered.TYPE]
        view = post.records.get(new_id)
        assert view
        assert [step.state for step in view.steps] == [MessageState.ACCEPTED, MessageState.DELIVERED]
        assert await post.bus.depth(streams.outbox("ada")) == 0

    with_post(scenario)


def test_the_sender_is_whose_stream_it_is(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        lie = send("lin").model_copy(update={"source": "operator", "subject": "operator", "hop": -9, "trace_id": "t"})
        data = lie.data | {"sender": "operator", "message": {"sender": "operator"}, "hop": -9, "trace_id": "t"}
        await post.post("eve", lie.model_copy(update={"data": data}))
        (message,) = await inbox(post.bus, "lin")
        assert (message.sender, message.hop, message.trace_id) == ("eve", 0, message.id)

    with_post(scenario)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "body", "code", "says"),
    [
        ("bob", "x", "unknown_recipient", "nobody called 'bob' here; there are eve, lin, operator"),
        ("system", "x", "unknown_recipient", "nobody called"),
        ("lin}:inbox", "x", "unknown_recipient", "nobody called"),
        ("x" * 5000, "x", "unknown_recipient", "nobody called"),
        ("lin", " \n", "invalid_body", "empty"),
        ("lin", "x" * (MAX_BODY_BYTES + 1), "body_too_long", str(MAX_BODY_BYTES)),
        ("ada", "x", "refused", "yourself"),
    ],
)
def test_what_cannot_be_delivered_is_refused_and_nothing_stored(
    with_post: WithPost, to: str, body: str, code: str, says: str
) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send(to, body, key="k"), send("lin", "good"))
        refusal, accepted = await told(post.bus, streams.control("ada"))
        fact = refusal.payload(MessageRefused)
        assert (refusal.type, refusal.correlation_id, fact.code) == (MessageRefused.TYPE, "k", code)
        assert says in fact.reason
        assert accepted.type == MessageAccepted.TYPE
        assert [message.body for message in await inbox(post.bus, "lin")] == ["good"]
        assert [view.body for view in post.records.recent()] == ["good"]
        assert refusal.id in {event.id for event in await told(post.bus, streams.EVENTS)}
        assert await post.bus.depth(streams.outbox("ada")) == 0

    with_post(scenario)


def test_two_refusals_are_two_facts_however_long_their_keys(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("bob", key="k" * 127 + "1"), send("bob", key="k" * 127 + "2"))
        assert len({envelope.id for envelope in await told(post.bus, streams.control("ada"))}) == 2

    with_post(scenario)


RUBBISH = [
    {"nonsense": "1"},
    {},
    send("lin").encode() | {"data": "no json"},
    send("lin").encode() | {"data": "[1]"},
    send("lin").encode() | {"data": '{"to": 7, "body": "x"}'},
    send("lin").encode() | {"data": '{"to": "lin"}'},
    send("lin").encode() | {"data": "[" * 100_000},
    send("lin").encode() | {"id": "k" * 129},
    send("lin").encode() | {"type": "message.delivered"},
    send("lin").encode() | {"type": "from.the.future"},
    send("lin").encode() | {"hop": "9" * 5000},
    send("lin").encode() | {"time": "yesterday"},
]


def test_rubbish_is_skipped_and_disturbs_nothing(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        for text in ("before", "after"):
            await post.bus.append(streams.outbox("eve"), send("lin", text))
        first, last = await post.take("eve")
        rubbish = [Entry(first.stream, f"{number}-1", fields) for number, fields in enumerate(RUBBISH, start=1)]
        await post.worker("eve").handle([first, *rubbish, last])
        assert [message.body for message in await inbox(post.bus, "lin")] == ["before", "after"]
        assert len(await told(post.bus, streams.control("eve"))) == 2
        assert await post.take("eve", again=True) == []

    with_post(scenario)


ODD = [
    {"to": "lin", "body": "half \ud800 pair"},
    {"to": "\ud800", "body": "x"},
    {"to": "lin\0", "body": "x"},
    {"to": "lin", "body": "nul \0 inside"},
    {"to": "lin", "body": "x", "in_reply_to": "\udfff", "cause": "\0"},
    {"to": "lin", "body": "x", "in_reply_to": "m" * 100_000},
]


@pytest.mark.slow
@pytest.mark.parametrize("data", ODD)
@pytest.mark.parametrize("entry_id", ["1-1", f"{2**64 - 1}-{2**64 - 1}"])
def test_no_entry_of_an_agents_making_stops_the_broker(
    with_post: WithPost, data: dict[str, str], entry_id: str
) -> None:
    """Ids too: an agent may choose them in its own outbox."""

    async def scenario(post: Post) -> None:
        envelope = send("lin", "good", key="good")
        odd = Envelope(source="eve", type="message.send", data=data).encode()
        await post.worker("eve").handle(
            [Entry(streams.outbox("eve"), entry_id, odd), Entry(streams.outbox("eve"), "2-2", envelope.encode())]
        )
        assert [message.body for message in await inbox(post.bus, "lin")][-1] == "good"

    with_post(scenario)


def test_the_same_key_delivers_once_and_is_answered_alike(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        for _ in range(2):
            await post.post("ada", send("lin", key="k"))
        await post.post("ada", send("lin", key="k"), send("lin", key="k"))
        assert len(await inbox(post.bus, "lin")) == 1
        answers = await told(post.bus, streams.control("ada"))
        assert len(answers) == 4
        assert {(answer.id, answer.correlation_id) for answer in answers} == {(answers[0].id, "k")}
        assert {event.id for event in await told(post.bus, streams.EVENTS)} == {
            f"{message_id('ada', 'k', 'lin')}:accepted",
            f"{message_id('ada', 'k', 'lin')}:delivered",
        }

    with_post(scenario)


def test_a_send_that_one_batch_holds_twice_is_told(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", key="k"), send("lin", key="k"))
        assert len(await inbox(post.bus, "lin")) == 1
        assert f"{message_id('ada', 'k', 'lin')}:delivered" in {e.id for e in await told(post.bus, streams.EVENTS)}

    with_post(scenario)


@pytest.mark.parametrize("to", ["lin", "*"])
def test_another_text_under_a_used_key_is_refused_and_says_nothing_new(with_post: WithPost, to: str) -> None:
    """What was recorded under a key stays what it was, in the inbox, in the store and in what is told."""

    async def scenario(post: Post) -> None:
        await post.post("ada", send(to, "first", key="k"), send(to, "second", key="k"))
        await post.post("ada", send(to, "third", key="k"))
        refused = await told_as(post.bus, streams.control("ada"), MessageRefused)
        assert [refusal.code for refusal in refused] == ["key_reused", "key_reused"]
        assert [message.body for message in await inbox(post.bus, "lin")] == ["first"]
        bodies = {fact.message.body for fact in await told_as(post.bus, streams.EVENTS, MessageDelivered)}
        assert bodies == {"first"}
        assert {view.body for view in post.records.recent()} == {"first"}

    with_post(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "reply lost"])
def test_a_crash_at_any_step_delivers_once_and_answers_with_one_id(with_post: WithPost, *, after: bool) -> None:
    async def scenario(post: Post) -> None:
        crashes = 0
        while await _crash_at(post, crashes, after=after):
            crashes += 1
        assert crashes >= 9

    with_post(scenario)


async def _crash_at(post: Post, step: int, *, after: bool) -> bool:
    """Whether there was a step of this number to fail at. Three sends: one good, one refused, one to a newcomer."""
    new, key = f"new-{after}-{step}".lower(), f"{after}-{step}"
    await register(post.bus, new)
    for envelope in (send("lin", key=key), send("ada", key=key), send(new, key=key)):
        await post.bus.append(streams.outbox("ada"), envelope)
    bus = FailingBus(post.bus, fail_at=step, after=after)
    directory = Directory(bus)
    worker = Post(bus, post.messages, directory, post.path).worker("ada")
    entries = await post.take("ada")
    try:
        await worker.handle(entries)
    except BusUnavailable:
        await worker.handle(entries)
    assert await post.take("ada", again=True) == []
    assert await post.bus.depth(streams.outbox("ada")) == 0
    for to in ("lin", new):
        delivered = [m.id for m in await inbox(post.bus, to)]
        assert delivered.count(message_id("ada", key, to)) == 1
    answers = {(e.type, e.id) for e in await told(post.bus, streams.control("ada")) if e.correlation_id == key}
    assert sorted(kind for kind, _ in answers) == ["message.accepted", "message.accepted", "message.refused"]
    return bus.failed


def test_a_crash_leaves_the_entry_for_the_next_broker(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.bus.append(streams.outbox("ada"), send("lin", key="k"))
        with pytest.raises(BusUnavailable):
            await post.worker("ada", FailingBus(post.bus, fail_at=2)).handle(await post.take("ada"))
        await post.worker("ada").handle(await post.take("ada", again=True))
        assert len(await inbox(post.bus, "lin")) == 1
        assert await post.take("ada", again=True) == []

    with_post(scenario)


def test_a_key_used_again_after_its_message_was_swept_brings_no_message_back(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", key="k"))
        with post.messages.store.transaction() as db:
            db.execute("DELETE FROM messages")  # as retention does, once it is acked
        await post.post("ada", send("lin", key="k"))
        assert len(await inbox(post.bus, "lin")) == 1
        assert post.records.recent() == []
        assert len(await told_as(post.bus, streams.control("ada"), MessageAccepted)) == 2

    with_post(scenario)


def test_a_key_used_again_after_the_inbox_forgot_it_delivers_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        post = await Post.open(bus, tmp_path, "ada", "lin")
        await post.post("ada", send("lin", key="k"))
        bus._keys.clear()  # a day later
        await post.post("ada", send("lin", key="k"))
        assert len(await inbox(post.bus, "lin")) == 1
        post.messages.close()

    asyncio.run(scenario())


def test_nothing_is_refused_that_its_recipient_has(with_post: WithPost) -> None:
    """A broker died after it delivered; the next would refuse, but its sender must not believe that."""

    async def scenario(post: Post) -> None:
        await post.bus.append(streams.outbox("ada"), send("lin", key="k"))
        with pytest.raises(BusUnavailable):
            await post.worker("ada", FailingBus(post.bus, fail_at=2)).handle(await post.take("ada"))
        assert len(await inbox(post.bus, "lin")) == 1
        for number in range(post.limits.inbox_hard):
            await post.bus.append(streams.inbox("lin"), send("lin", str(number)))
        await post.worker("ada").handle(await post.take("ada", again=True))
        assert {answer.type for answer in await told(post.bus, streams.control("ada"))} == {MessageAccepted.TYPE}
        assert {e.type for e in await told(post.bus, streams.EVENTS)} == {MessageAccepted.TYPE, MessageDelivered.TYPE}

    with_post(scenario)


def test_a_reply_to_what_is_not_on_record_yet_carries_the_trace_on(with_post: WithPost) -> None:
    """Recording lags behind, and another broker may have delivered: the key beside the inbox knows."""

    async def scenario(post: Post) -> None:
        await post.bus.append(streams.outbox("ada"), send("lin", key="k"))
        await post.worker("ada").handle(await post.take("ada"))
        (first,) = await inbox(post.bus, "lin")
        await post.bus.append(streams.outbox("lin"), send("ada", reply=first.id))
        await post.worker("lin").handle(await post.take("lin"))
        (reply,) = await inbox(post.bus, "ada")
        assert (reply.trace_id, reply.hop, reply.in_reply_to) == (first.id, 1, first.id)
        assert post.records.recent() == []

    with_post(scenario)


def test_a_reply_carries_the_trace_on_and_counts_hops(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", send("ada", key="start"))
        (start,) = await inbox(post.bus, "ada")
        await post.post("ada", send("lin", cause=start.id))
        (onward,) = await inbox(post.bus, "lin")
        assert (onward.trace_id, onward.hop, onward.in_reply_to) == (start.id, 1, None)
        await post.post("lin", send("ada", reply=onward.id))
        reply = (await inbox(post.bus, "ada"))[-1]
        assert (reply.trace_id, reply.hop, reply.in_reply_to) == (start.id, 2, onward.id)

    with_post(scenario)


@pytest.mark.parametrize("how", ["reply", "cause"])
def test_nobody_joins_a_trace_of_a_message_it_did_not_receive(with_post: WithPost, how: str) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", send("ada"))
        (secret,) = await inbox(post.bus, "ada")
        for claimed in (secret.id, "m-unknown", ""):
            await post.post("eve", send("lin", reply=claimed) if how == "reply" else send("lin", cause=claimed))
        await post.post("lin", send("eve", key="mine"))
        mine = message_id("lin", "mine", "eve")
        await post.post("eve", send("operator", reply=secret.id, cause=mine))
        (onward,) = await inbox(post.bus, "operator")
        assert (onward.trace_id, onward.in_reply_to) == (mine, None)
        for message in await inbox(post.bus, "lin"):
            assert (message.trace_id, message.hop, message.in_reply_to) == (message.id, 0, None)

    with_post(scenario)


def test_the_sender_learns_that_the_recipient_is_stopped(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await register(post.bus, "lin", desired=Desired.STOPPED)
        await post.directory.refresh()
        await post.post("ada", send("lin"))
        (accepted,) = await told_as(post.bus, streams.control("ada"), MessageAccepted)
        assert accepted.note == "lin is stopped; the message waits in its inbox until it is started"
        assert len(await inbox(post.bus, "lin")) == 1

    with_post(scenario)


def test_a_new_agent_is_found_on_demand(with_post: WithPost) -> None:
    async def scenario(post: Post) -> None:
        await register(post.bus, "newcomer")
        assert "newcomer" not in post.directory.principals()
        await post.post("ada", send("newcomer"))
        assert len(await inbox(post.bus, "newcomer")) == 1

    with_post(scenario)


def test_an_empty_registry_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        post = await Post.open(bus, tmp_path, "ada", "lin")
        await bus.flush()
        await post.directory.refresh()
        assert post.directory.principals() == {"ada", "lin", "operator"}
        await register(bus, "lin")
        await post.directory.refresh()
        assert post.directory.principals() == {"lin", "operator"}
        await bus.hash_set(streams.AGENTS, {"broken": "{"})
        await post.directory.refresh()
        assert post.directory.principals() == {"lin", "operator"}
        post.messages.close()

    asyncio.run(scenario())
