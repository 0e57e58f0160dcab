"""`/settings`, `/settings/components`, `/palette` and `/retention`."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.test_docs_settings import SECTIONS
from tests.dashboard.opened import Opened, opened
from tests.dashboard.supervised import supervise
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import CommandDone
from hive_contracts.envelope import Envelope
from hive_dashboard.reference import Setting, sections
from hive_runtime.memory_bus import MemoryBus


def run(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path, **settings) as hive:
            await hive.sign_in()
            await scenario(hive)

    asyncio.run(main())


def setting(tmp_path: Path, section: str, key: str, **environ: str) -> Setting:
    found = {one.name: {item.key: item for item in one.settings} for one in sections(tmp_path, environ)}
    return found[section][key]


def test_every_setting_is_there_with_a_meaning(tmp_path: Path) -> None:
    found = {one.name: {item.key for item in one.settings} for one in sections(tmp_path, {})}
    assert found == {name: set(model.model_fields) for name, model in SECTIONS.items()}
    assert setting(tmp_path, "dashboard", "debug").meaning[1::2] == ("true", "/settings/components")


def test_the_file_wins_over_the_default_and_the_environment_over_the_file(tmp_path: Path) -> None:
    assert (setting(tmp_path, "broker", "batch").value, setting(tmp_path, "broker", "batch").origin) == ("100", "")
    (tmp_path / "hive.toml").write_text("[broker]\nbatch = 7\n")
    assert setting(tmp_path, "broker", "batch").value == "7"
    told = setting(tmp_path, "broker", "batch", HIVE_BROKER_BATCH="9")
    assert (told.value, told.origin) == ("9", "HIVE_BROKER_BATCH")


@pytest.mark.parametrize(("given", "shown"), [("true", "on"), ("1", "on"), ("No", "off"), ("perhaps", "perhaps")])
def test_a_switch_is_on_or_off_however_it_is_written(tmp_path: Path, given: str, shown: str) -> None:
    assert setting(tmp_path, "dashboard", "debug").value == "off"
    assert setting(tmp_path, "dashboard", "debug", HIVE_DASHBOARD_DEBUG=given).value == shown
    (tmp_path / "hive.toml").write_text("[dashboard]\nfronted = true\n")
    assert setting(tmp_path, "dashboard", "fronted").value == "on"
    assert setting(tmp_path, "retention", "control_days").value == "1"


@pytest.mark.parametrize(
    "address", ["redis://hive:hunter2@db:6379/0", "rediss://:hunter2@db", "sentinel://a:hunter2@b,c/x"]
)
def test_no_password_is_shown(tmp_path: Path, address: str) -> None:
    (tmp_path / "hive.toml").write_text(f'[redis]\nurl = "{address}"\n')
    assert "hunter2" not in setting(tmp_path, "redis", "url").value
    assert setting(tmp_path, "redis", "url").value.startswith(address.split("//", maxsplit=1)[0])


def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "hive.toml").write_text("[[[")
    assert setting(tmp_path, "broker", "batch").value == "100"


def test_the_page_marks_what_was_changed(tmp_path: Path) -> None:
    (tmp_path / "hive.toml").write_text("[broker]\nbatch = 7\n")

    async def scenario(hive: Opened) -> None:
        page = (await hive.browser.get("/settings")).text
        assert '<details class="panel settings" id="settings-broker" open>' in page
        assert '<details class="panel settings" id="settings-redis">' in page

    run(tmp_path, scenario)


def test_the_components_are_there_in_debug_mode_only(tmp_path: Path) -> None:
    async def hidden(hive: Opened) -> None:
        assert (await hive.browser.get("/settings/components")).status_code == 404
        assert 'href="/settings/components"' not in (await hive.browser.get("/settings")).text

    async def shown(hive: Opened) -> None:
        page = await hive.browser.get("/settings/components")
        assert (page.status_code, "Button" in page.text) == (200, True)

    run(tmp_path, hidden)
    run(tmp_path, shown, debug=True)


def test_the_palette_names_every_place_that_is_there(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.agent("ada")
        await hive.sees_agent("ada")
        page = (await hive.browser.get("/palette")).text
        places = re.findall(r'<li><a href="([^"]+)"', page)
        assert {"/", "/messages", "/agents/ada", "/agents/ada/stats"} <= set(places)
        for place in places:
            assert (await hive.browser.get(place)).status_code == 200, place

    run(tmp_path, scenario)


SWEPT = {
    "at": "2026-01-01T00:00:00Z",
    "seconds": 1.5,
    "removed": 12,
    "bytes_freed": 2048,
    "errors": 0,
    "stores": [{"name": "ada/events", "removed": 12, "kept": 2000, "bytes_freed": 2048}],
}


async def _sweep(hive: Opened, asked: list[Any]) -> None:
    """Be the supervisor for a sweep."""

    def answer(command: Envelope) -> CommandDone:
        asked.append(command.data["dry_run"])
        return CommandDone(command=command.type, result=SWEPT | {"dry_run": command.data["dry_run"]})

    await supervise(hive.scene.bus, answer)


def test_a_sweep_is_looked_at_before_it_is_done(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        assert "Not swept yet." in (await hive.browser.get("/retention")).text
        asked: list[bool] = []
        supervisor = asyncio.create_task(_sweep(hive, asked))
        try:
            page = (await hive.post("/retention", wish="look")).text
            assert "12 would be removed, 2.0 kB would be given back" in page
            assert "ada/<wbr>events" in page
            await hive.post("/retention", wish="sweep")
        finally:
            supervisor.cancel()
        assert asked == [True, False]
        assert (await hive.post("/retention", wish="all")).status_code == 422

    run(tmp_path, scenario)


def test_the_last_sweep_is_shown(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.scene.bus.hash_set(streams.RETENTION, {streams.REPORT_FIELD: json.dumps(SWEPT)})

        async def there() -> bool:
            return "12 were removed" in (await hive.browser.get("/retention")).text

        await eventually(there)

    run(tmp_path, scenario)
