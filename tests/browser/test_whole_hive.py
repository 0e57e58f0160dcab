"""A person, a browser and a whole hive: sign in, write, watch the answer arrive without a reload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, ViewportSize, expect
from tests.support.chromium import PHONE, WIDE, signed_in
from tests.support.hive import Hive, hive

ARTIFACTS: Final = Path(__file__).parents[2] / "artifacts"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        started.cli("spawn", "ada")
        yield started


@pytest.mark.parametrize(("name", "viewport"), [("wide", WIDE), ("phone", PHONE)])
def test_what_i_send_is_answered_in_the_open_page(
    running: Hive, browser: Browser, name: str, viewport: ViewportSize
) -> None:
    link = running.sign_in_link()
    page, complaints = signed_in(browser, link, viewport)
    page.evaluate("window.notReloaded = true")
    page.locator("select[name=to]").first.select_option("ada")
    page.locator("textarea[name=body]").first.fill(f"hello from the {name} window")
    page.get_by_role("button", name="Send").first.click()
    expect(page.get_by_text(f"echo: hello from the {name} window").first).to_be_visible(timeout=20_000)
    assert page.evaluate("window.notReloaded") is True
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"whole-hive-{name}.png")
    page.context.close()
    assert complaints == []


def test_a_turn_appears_in_the_agents_page_while_it_runs(running: Hive, browser: Browser) -> None:
    page, complaints = signed_in(browser, running.sign_in_link(), WIDE, dark=True)
    page.goto(f"{running.address}/agents/ada")
    running.send("ada", "!say first thought\n!bash echo worked\n!sleep 2\n!say last thought")
    expect(page.get_by_text("first thought").last).to_be_visible(timeout=20_000)
    expect(page.get_by_text("thinking").first).to_be_visible()
    expect(page.get_by_text("last thought").last).to_be_visible(timeout=20_000)
    expect(page.get_by_text("idle").first).to_be_visible(timeout=20_000)
    page.screenshot(path=ARTIFACTS / "whole-hive-agent.png")
    page.context.close()
    assert complaints == []


def test_the_dashboard_is_closed_to_whoever_has_no_link(running: Hive, browser: Browser) -> None:
    page = browser.new_context(viewport=WIDE).new_page()
    page.goto(f"{running.address}/agents/ada")
    assert "/sign-in" in page.url
    page.context.close()


def test_a_link_works_once(running: Hive, browser: Browser) -> None:
    link = running.sign_in_link()
    first, _ = signed_in(browser, link, WIDE)
    assert first.url.rstrip("/") == running.address
    second, _ = signed_in(browser, link, WIDE)
    assert "/sign-in" in second.url
    first.context.close()
    second.context.close()
