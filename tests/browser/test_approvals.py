"""The operator sees a request come, looks at its diff and approves it, in an open page and without a reload."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize, expect
from tests.support.chromium import PHONE, WIDE, signed_in
from tests.support.hive import Hive, hive
from tests.system.test_approvals import commit, request

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        started.cli("spawn", "ada")
        yield started


@pytest.mark.parametrize(("viewport", "model"), [(WIDE, "opus"), (PHONE, "sonnet")])
def test_a_request_is_seen_and_approved(running: Hive, browser: Browser, viewport: ViewportSize, model: str) -> None:
    page, complaints = signed_in(browser, running.sign_in_link(), viewport)
    page.evaluate("window.notReloaded = true")
    approval = request(running, "ada", commit(running, "ada", f'model = "{model}"\n'))
    row = page.locator(f"#needs #need-{approval}")
    expect(row).to_be_visible(timeout=20_000)
    expect(page.locator("#nav-pending .pill")).to_have_text("1")
    assert page.evaluate("window.notReloaded") is True
    row.get_by_role("link", name="Look at what changes").click()
    expect(page.locator(".diff-added .diff-text", has_text=f'model = "{model}"')).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_label("A note for hm1nd").fill("fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".chip-approval-deployed")).to_be_visible(timeout=60_000)
    expect(page.locator("#nav-pending .pill")).to_be_hidden()
    assert running.api("GET", "/agents/ada")["config"]["model"] == model
    page.context.close()
    assert complaints == []
