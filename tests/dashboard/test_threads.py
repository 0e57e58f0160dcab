"""The operator's inbox as conversations."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.dashboard.opened import opened
from tests.support.waiting import until

from hive_contracts.messages import MessageState, MessageView
from hive_dashboard.threads import threads_of
from hive_runtime.memory_bus import MemoryBus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def written(number: int, sender: str, recipient: str, *, trace: str = "t", read: bool = True) -> MessageView:
    return MessageView(
        id=f"m-{number}",
        sender=sender,
        recipient=recipient,
        body=str(number),
        state=MessageState.ACKED if read else MessageState.DELIVERED,
        sent_at=NOW + timedelta(minutes=number),
        trace_id=trace,
    )


def test_letters_of_a_conversation_stand_together_and_the_newest_conversation_first() -> None:
    found = threads_of(
        [
            written(1, "ada", "operator", trace="a"),
            written(2, "eve", "operator", trace="b"),
            written(3, "operator", "ada", trace="a"),
        ]
    )
    assert [(thread.trace_id, len(thread.letters)) for thread in found] == [("a", 2), ("b", 1)]
    assert found[0].received.id == "m-1"


def test_what_the_operator_only_sent_is_no_conversation_of_the_inbox() -> None:
    assert threads_of([written(1, "operator", "ada")]) == ()


def test_everything_from_the_first_unread_letter_on_stands_open_else_the_newest() -> None:
    read = [written(number, "ada", "operator") for number in range(3)]
    assert threads_of(read)[0].shown == 2
    assert threads_of([*read, written(3, "ada", "operator", read=False), written(4, "operator", "ada")])[0].shown == 3


def test_people_are_those_who_wrote() -> None:
    (thread,) = threads_of(
        [written(1, "ada", "operator"), written(2, "operator", "ada"), written(3, "eve", "operator")]
    )
    assert thread.people == ("ada", "eve")


def test_an_answer_marks_the_whole_conversation_as_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            await hive.sign_in()
            await hive.post("/send", to="hm1nd", body="begin", back="/")
            entry_id, message = await hive.scene.take("hm1nd")
            await (await hive.scene.begin("hm1nd", message)).end(entry_id)
            for word in ("one", "two"):
                await hive.scene.send("hm1nd", "operator", word, cause=message.id)

            def unread() -> Sequence[MessageView]:
                threads = hive.dashboard.parts.snapshots.current.threads
                return threads[0].unread if threads else ()

            await until(lambda: len(unread()) == 2)
            one, two = unread()
            page = (await hive.browser.get("/")).text
            assert page.count('class="letter"') == 1
            await hive.post("/send", to="hm1nd", body="thanks", in_reply_to=two.id, back="/")
            for letter in (one, two):
                await hive.message(letter.id, "acked")

    asyncio.run(main())
