"""An agent's model on its page, in the API and in its input line, whose other commands hang there too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.broker.post import inbox
from tests.dashboard.opened import Opened
from tests.dashboard.test_questions import in_a_hive

from hive_contracts.agents import ContainerStatus, ModelView
from hive_dashboard.slash import Slash, parse


@asynccontextmanager
async def supervised(hive: Opened) -> AsyncIterator[None]:
    supervisor = asyncio.create_task(hive.scene.answer_commands())
    try:
        yield
    finally:
        supervisor.cancel()
        await asyncio.wait([supervisor])


def model_of(hive: Opened) -> str:
    return hive.scene.records["ada"].model.name


async def type_in(hive: Opened, line: str) -> httpx.Response:
    """Into the input line of ada's page; the page that comes next."""
    answer = await hive.post("/send", to="ada", fixed="1", back="/agents/ada", nonce=line, body=line)
    return await hive.browser.get("/agents/ada") if answer.status_code == 303 else answer


def test_the_page_shows_which_model_is_active_queued_and_since_when(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        view = ModelView(active="haiku", queued="opus", last_switched=datetime.now(UTC))
        await hive.scene.state("ada", model=view)
        await hive.dashboard.parts.snapshots.refresh(states=True)
        page = (await hive.browser.get("/agents/ada")).text
        assert "<code>haiku</code>" in page
        assert "then opus" in page
        assert "switched" in page
        assert 'action="/agents/ada/model"' in page

    in_a_hive(tmp_path, scenario)


def test_the_form_and_the_api_override_it_and_take_the_override_away(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        async with supervised(hive):
            await hive.post("/agents/ada/model", model=" opus ")
            assert model_of(hive) == "opus"
            assert "ada uses opus from its next turn on." in (await hive.browser.get("/agents/ada")).text
            cleared = await hive.api.post("/api/v1/agents/ada/model", json={"model": None})
            assert cleared.json()["model"]["name"] == model_of(hive) == "haiku"
            await hive.post("/agents/ada/model", model="--help")
            assert "is not a model&#39;s name" in (await hive.browser.get("/agents/ada")).text
            assert (await hive.api.post("/api/v1/agents/ada/model", json={"model": "a b"})).status_code == 422
            assert (await hive.api.post("/api/v1/agents/eve/model", json={"model": "opus"})).status_code == 404
            assert model_of(hive) == "haiku"

    in_a_hive(tmp_path, scenario)


def test_a_slash_command_is_carried_out_and_never_sent(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        async with supervised(hive):
            assert "ada uses opus from its next turn on." in (await type_in(hive, "/model opus")).text
            assert model_of(hive) == "opus"
            helped = (await type_in(hive, "/help")).text
            for command in ("/model NAME", "/cancel", "/pause", "/resume", "/nap SECONDS", "/wake", "/new-session"):
                assert command in helped
            assert "a nap takes seconds" in (await type_in(hive, "/nap")).text
            assert "/pause takes nothing behind it" in (await type_in(hive, "/pause ada")).text
            unknown = await type_in(hive, "/destroy everything")
            assert unknown.status_code == 422
            assert "there is no command /destroy" in unknown.text
            assert ">\n/destroy everything</textarea>" in unknown.text, "what was typed is kept"
            await hive.scene.register(
                hive.scene.records["ada"].model_copy(update={"container": ContainerStatus.STOPPED})
            )
            await hive.dashboard.parts.snapshots.refresh(states=True)
            assert "nobody to tell" in (await type_in(hive, "/pause")).text
            assert await inbox(hive.scene.bus, "ada") == []

    in_a_hive(tmp_path, scenario)


def test_a_blank_before_the_slash_makes_it_a_message(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await type_in(hive, " /etc/hosts is odd")
        await hive.post("/send", to="ada", back="/", nonce="n", body="/model opus")
        assert [message.body for message in await inbox(hive.scene.bus, "ada")] == [" /etc/hosts is odd", "/model opus"]

    in_a_hive(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "slash"),
    [
        ("hello", None),
        (" /model x", None),
        ("/model x", Slash("model", "x")),
        ("/model   x ", Slash("model", "x")),
        ("/cancel", Slash("cancel")),
        ("/", Slash("")),
    ],
)
def test_only_a_line_that_begins_with_a_slash_is_a_command(text: str, slash: Slash | None) -> None:
    assert parse(text) == slash
