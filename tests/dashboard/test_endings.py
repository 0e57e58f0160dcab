"""Destroy, revive and purge, with the buttons of an agent's page and without JavaScript."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.dashboard.opened import Opened, opened

from hive_contracts import streams
from hive_contracts.agents import Desired, Operation, ServiceBeat
from hive_contracts.names import MANAGER
from hive_dashboard.kept import kept_of
from hive_runtime.memory_bus import MemoryBus


def play(tmp_path: Path, story: Any, *, desired: Desired = Desired.RUNNING) -> list[dict[str, Any]]:
    """The commands that the supervisor was given."""
    given: list[dict[str, Any]] = []

    async def main() -> None:
        async with opened(MemoryBus(), tmp_path, command_timeout_s=10) as hive:
            await hive.scene.agent("ada", desired=desired)
            await hive.sees_agent("ada")
            await hive.sign_in()
            command = hive.dashboard.parts.commands.command

            async def noted(payload: Any, **options: Any) -> dict[str, Any]:
                given.append({"type": payload.TYPE} | payload.model_dump(mode="json"))
                return {}

            hive.dashboard.parts.commands.command = noted  # type: ignore[method-assign]
            await story(hive)
            hive.dashboard.parts.commands.command = command  # type: ignore[method-assign]

    asyncio.run(main())
    return given


def test_the_page_says_what_goes_before_it_destroys(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        page = (await hive.browser.get("/agents/ada")).text
        assert 'action="/agents/ada/destroy"' in page
        assert "Kept until you purge it" in page
        assert "Wiped, for ever" not in page, "not while it runs"
        assert (await hive.post("/agents/ada/destroy")).headers["location"] == "/agents/ada"
        assert "What it has is kept" in (await hive.browser.get("/agents/ada")).text

    (given,) = play(tmp_path, story)
    assert (given["type"], given["name"], given["purge"]) == ("agent.destroy", "ada", False)


def test_a_purge_wants_the_name_typed_and_no_other(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        assert "Wiped, for ever" in (await hive.browser.get("/agents/ada")).text
        assert (await hive.post("/agents/ada/purge", sure="eve")).headers["location"] == "/agents/ada"
        assert "nothing was done" in (await hive.browser.get("/agents/ada")).text
        assert (await hive.post("/agents/ada/purge", sure="ada")).headers["location"] == "/"

    (given,) = play(tmp_path, story, desired=Desired.STOPPED)
    assert (given["type"], given["purge"]) == ("agent.destroy", True)


def test_what_is_kept_is_listed_with_size_and_age_and_can_be_revived(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        state = tmp_path / "agents" / "ada" / "state"
        state.mkdir(parents=True)
        (state / "notes.md").write_bytes(b"x" * 5_000)
        home = (await hive.browser.get("/")).text
        assert "Kept state" in home
        assert "5.0 kB" in home
        page = (await hive.browser.get("/agents/ada")).text
        assert "5.0 kB kept since it was destroyed" in page
        assert 'action="/agents/ada/destroy"' not in page
        await hive.post("/agents/ada/revive")

    (given,) = play(tmp_path, story, desired=Desired.DESTROYED)
    assert (given["type"], given["name"]) == ("agent.spawn", "ada")


def test_without_the_token_of_the_page_nothing_is_destroyed(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        for verb in ("destroy", "purge", "revive"):
            answer = await hive.browser.post(f"/agents/ada/{verb}", data={"sure": "ada"})
            assert answer.status_code == 403

    assert play(tmp_path, story) == []


def test_links_of_a_hostile_agent_are_not_followed_when_its_files_are_measured(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "large").write_bytes(b"x" * 100_000)
        state = tmp_path / "agents" / "ada"
        state.mkdir(parents=True)
        (state / "folder").symlink_to(outside)
        (state / "file").symlink_to(outside / "large")
        (found,) = kept_of(hive.dashboard.parts.snapshots.current.agents, tmp_path)
        assert found.size < 1_000

    play(tmp_path, story, desired=Desired.DESTROYED)


def test_the_manager_has_no_such_buttons(tmp_path: Path) -> None:
    async def story(hive: Opened) -> None:
        await hive.scene.agent(MANAGER, role="manager")
        await hive.sees_agent(MANAGER)
        page = (await hive.browser.get(f"/agents/{MANAGER}")).text
        assert f"/agents/{MANAGER}/destroy" not in page
        assert f"/agents/{MANAGER}/purge" not in page

    play(tmp_path, story)


def test_what_is_under_way_is_shown_with_its_step_and_ends_with_the_supervisor(tmp_path: Path) -> None:
    """A killed one leaves it in the registry."""

    async def story(hive: Opened) -> None:
        doing = Operation(verb="rebuild", since=datetime.now(UTC), step="makes its container")
        await hive.scene.agent("lin", operation=doing)
        beat = ServiceBeat(service="supervisor", pid=1, version="1", started_at=datetime.now(UTC), at=datetime.now(UTC))
        for at, shown in ((beat.at, True), (beat.at - timedelta(minutes=1), False)):
            text = beat.model_copy(update={"at": at}).model_dump_json()
            await hive.scene.bus.hash_set(streams.SERVICES, {"supervisor": text})
            await hive.dashboard.parts.snapshots.refresh()
            assert ("rebuild: makes its container" in (await hive.browser.get("/agents/lin")).text) == shown

    play(tmp_path, story)
