"""Whom an agent may write to by its config, and what one hears who writes to an agent that is not there."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, register, send, told_as
from tests.broker.threads_rig import Rig, with_rig

from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.messages import MessageAccepted, MessageRefused
from hive_contracts.names import MANAGER, OPERATOR
from hive_contracts.questions import AskQuestion, ThreadAccepted, ThreadRefused
from hive_runtime.bus import Bus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def in_post(on_bus: OnBus, tmp_path: Path, scenario: Callable[[Post], Awaitable[None]]) -> None:
    """In a hive of ada, who may write to lin only, of lin, eve and the manager."""

    async def on_this(bus: Bus) -> None:
        await register(bus, "ada", recipients=("lin",))
        post = await Post.open(bus, tmp_path, "lin", "eve", MANAGER)
        try:
            await scenario(post)
        finally:
            post.messages.close()

    on_bus(on_this)


async def answers(post: Post, kind: type[MessageAccepted] | type[MessageRefused]) -> list[str]:
    found = await told_as(post.bus, streams.control("ada"), kind)
    return [fact.to for fact in found]


def test_only_those_of_its_config_the_manager_and_the_operator(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", *(send(to) for to in ("lin", "eve", MANAGER, OPERATOR)))
        assert await answers(post, MessageAccepted) == ["lin", MANAGER, OPERATOR]
        (refused,) = await told_as(post.bus, streams.control("ada"), MessageRefused)
        assert (refused.to, refused.code) == ("eve", "refused")
        assert refused.reason == "your config does not let you write to eve; you may write to hm1nd, lin, operator"
        assert await inbox(post.bus, "eve") == []

    in_post(on_bus, tmp_path, scenario)


def test_a_broadcast_reaches_those_it_may_write_to(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("*"))
        reached = [name for name in ("lin", "eve", MANAGER) if await inbox(post.bus, name)]
        assert reached == ["lin", MANAGER]

    in_post(on_bus, tmp_path, scenario)


def test_everybody_else_may_write_to_it_and_the_manager_to_everybody(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        await register(post.bus, MANAGER, recipients=("lin",))  # a mistake that would leave the hive without a manager
        await post.directory.refresh()
        for sender, to in (("eve", "ada"), (OPERATOR, "ada"), (MANAGER, "eve")):
            await post.post(sender, send(to))
        assert len(await inbox(post.bus, "ada")) == 2
        assert len(await inbox(post.bus, "eve")) == 1

    in_post(on_bus, tmp_path, scenario)


def test_an_empty_list_leaves_the_operator_and_the_manager(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        await register(post.bus, "ada", recipients=())
        await post.directory.refresh()
        await post.post("ada", *(send(to) for to in ("lin", MANAGER, OPERATOR)))
        assert await answers(post, MessageAccepted) == [MANAGER, OPERATOR]

    in_post(on_bus, tmp_path, scenario)


def test_questions_keep_to_the_list_too(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await register(rig.bus, "ada", recipients=("lin",))
        await register(rig.bus, "eve")
        await rig.directory.refresh()
        assert isinstance(await rig.ask_for("ada", AskQuestion(to="lin", question="?")), ThreadAccepted)
        assert isinstance(await rig.ask_for("ada", AskQuestion(to=OPERATOR, question="?")), ThreadAccepted)
        refused = await rig.ask_for("ada", AskQuestion(to="eve", question="?"))
        assert isinstance(refused, ThreadRefused)
        assert "does not let you write to eve" in refused.reason

    with_rig(tmp_path, scenario)


@pytest.mark.parametrize("desired", [Desired.DESTROYED, Desired.PURGED])
def test_who_is_destroyed_takes_no_messages(desired: Desired, on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(post: Post) -> None:
        await register(post.bus, "eve", desired=desired)
        await post.directory.refresh()
        await post.post("lin", send("eve"), send("*"))
        (refused,) = await told_as(post.bus, streams.control("lin"), MessageRefused)
        assert (refused.code, refused.reason[:17]) == ("unknown_recipient", "eve was destroyed")
        assert await inbox(post.bus, "eve") == []

    in_post(on_bus, tmp_path, scenario)
