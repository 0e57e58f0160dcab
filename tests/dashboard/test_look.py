"""How a browser wants its pages; what a cookie may say of it."""

import asyncio
from pathlib import Path

import pytest
from tests.dashboard.opened import Opened, opened

from hive_dashboard.look import LEET, Keys, Look, Scheme, Theme, look_in, look_of
from hive_dashboard.render import Renderer, heading
from hive_runtime.memory_bus import MemoryBus

CHOSEN = Look(Scheme.DARK, Theme.VIBEC0RE, Keys.OFF)


def test_a_cookie_says_what_was_chosen() -> None:
    assert look_in(CHOSEN.cookie()) == CHOSEN


@pytest.mark.parametrize(
    "cookie", ["", "scheme=<script>", "scheme", "%00=%ff", "theme=plain&theme=vibec0re", "x" * 9999]
)
def test_whatever_else_a_cookie_says_is_as_if_it_were_not_there(cookie: str) -> None:
    assert look_in(cookie) == Look()


def test_a_form_may_leave_things_out() -> None:
    assert look_of({"theme": "vibec0re"}) == Look(theme=Theme.VIBEC0RE)


def test_headings_are_spelt_so_for_the_eye_only() -> None:
    assert heading("Kept state", Look()) == "Kept state"
    drawn = heading("Kept state", CHOSEN)
    assert "K3PT ST4T3" in drawn
    assert '<span class="sr">Kept state</span>' in drawn


def test_every_heading_that_may_be_spelt_so_is_one_of_a_page() -> None:
    environment = Renderer().environment
    assert environment.loader
    pages = "".join(environment.loader.get_source(environment, name)[0] for name in environment.list_templates())
    assert {words for words in LEET if f'{{{{ "{words}" | heading(' not in pages} == set()


def run(scenario: object, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.sign_in()
            await scenario(hive)  # type: ignore[operator]

    asyncio.run(main())


def test_the_choice_holds_for_every_page_of_this_browser_and_no_other(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        done = await hive.post("/settings/look", scheme="dark", theme="vibec0re", keys="off")
        assert (done.status_code, done.headers["location"]) == (303, "/settings")
        for path in ("/", "/settings", "/no-such-page"):
            page = (await hive.browser.get(path)).text
            assert 'data-scheme="dark" data-theme="vibec0re" data-keys="off"' in page
        hive.browser.cookies.clear()
        assert 'data-theme="plain"' in (await hive.browser.get("/sign-in")).text

    run(scenario, tmp_path)


def test_the_choice_needs_the_form_of_the_page(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        refused = await hive.browser.post(
            "/settings/look", data={"theme": "vibec0re"}, headers={"origin": str(hive.browser.base_url).rstrip("/")}
        )
        assert refused.status_code == 403

    run(scenario, tmp_path)
