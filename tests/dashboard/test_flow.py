"""Which messages the flow shows, and whom a message that begins with a name is for."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.dashboard.opened import opened
from tests.support.waiting import eventually

from hive_contracts.messages import Message, MessageKind, MessageState, MessageView, kinds_of
from hive_dashboard.pages.messages import Written, addressed
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import REACH, MessageReader, MessageWriter

NAMES = {"ada", "hm1nd"}


@pytest.mark.parametrize(
    ("body", "to", "rest"),
    [
        ("@ada look", "ada", "look"),
        ("  @ada: look\nhere", "ada", "look\nhere"),
        ("@everyone stop", "*", "stop"),
        ("@nobody look", "hm1nd", "@nobody look"),
        ("@ada", "hm1nd", "@ada"),
        ("ask @ada", "hm1nd", "ask @ada"),
        ("@adage", "hm1nd", "@adage"),
    ],
)
def test_a_name_at_the_beginning_picks_the_recipient(body: str, to: str, rest: str) -> None:
    found = addressed(Written(to="hm1nd", body=body), NAMES)
    assert (found.to, found.body) == (to, rest)


def test_a_reply_goes_where_it_goes() -> None:
    assert addressed(Written(to="hm1nd", body="@ada look", fixed="1"), NAMES).to == "hm1nd"


def message(number: int, sender: str, recipient: str, **facts: bool) -> Message:
    ids = {"id": f"m-{number}", "trace_id": f"t-{number}"}
    return Message(**ids, sender=sender, recipient=recipient, body="x", sent_at=datetime.now(UTC), **facts)


def recorded(path: Path, *messages: Message) -> MessageReader:
    writer = MessageWriter(path / "broker.sqlite")
    writer.record([(one, 1_000) for one in messages])
    writer.close()
    return MessageReader(path / "broker.sqlite")


ALL = (
    message(1, "operator", "ada"),
    message(2, "ada", "eve"),
    message(3, "system", "eve"),
    message(4, "system", "operator"),
    message(5, "ada", "eve", urgent=True),
    message(6, "ada", "eve", broadcast=True),
)


@pytest.mark.parametrize("kind", list(MessageKind))
def test_the_store_finds_of_a_kind_what_the_open_page_would_let_in(tmp_path: Path, kind: MessageKind) -> None:
    found = recorded(tmp_path, *ALL).recent(kind=kind)
    views = [MessageView(**one.model_dump(exclude={"about"}), state=MessageState.DELIVERED) for one in reversed(ALL)]
    assert [one.id for one in found] == [view.id for view in views if kind in kinds_of(view)]
    assert found


def test_of_an_agent_both_sides_are_found_and_paged(tmp_path: Path) -> None:
    reader = recorded(tmp_path, *ALL)
    assert [one.id for one in reader.recent(agent="ada", limit=2)] == ["m-6", "m-5"]
    assert [one.id for one in reader.recent(agent="ada", before="m-5")] == ["m-2", "m-1"]
    assert [one.id for one in reader.recent(agent="eve", kind=MessageKind.SYSTEM)] == ["m-3"]


@pytest.mark.slow
def test_a_rare_kind_is_looked_for_among_the_newest_only(tmp_path: Path) -> None:
    many = [message(number, "ada", "eve") for number in range(10, REACH + 20)]
    reader = recorded(tmp_path, message(1, "ada", "eve", urgent=True), *many)
    assert reader.recent(kind=MessageKind.URGENT) == []


def test_the_page_is_narrowed_by_its_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            for name in ("ada", "eve"):
                await hive.scene.agent(name)
                await hive.sees_agent(name)
            await hive.scene.send("operator", "ada", "one for ada")
            await hive.scene.send("ada", "eve", "one for eve")
            await hive.sign_in()

            async def both() -> bool:
                page = (await hive.browser.get("/messages")).text
                return "one for ada" in page and "one for eve" in page

            await eventually(both)
            for path in ("/", "/messages"):
                page = (await hive.browser.get(f"{path}?kind=agents")).text
                assert ("one for ada" in page, "one for eve" in page) == (False, True)
                assert '<option value="agents" selected>' in page
                assert (await hive.browser.get(f"{path}?kind=none")).status_code == 422

    asyncio.run(main())
