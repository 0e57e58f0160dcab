"""From a draft of the manager's to an agent that answers, and from a change back to what ran before, in a browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, expect
from tests.support.chromium import PHONE, WIDE, signed_in
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until
from tests.system.test_approvals import commit, request, state
from tests.system.test_manager_tools import call, results, tell

ARTIFACTS: Final = Path(__file__).parents[2] / "artifacts"
NOTES: Final = "Look at the tests first."

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive() as started:
        yield started


def drafted(running: Hive, name: str) -> str:
    """The manager drafts, edits and commits from inside its container; the commit."""
    path = json.loads(call(running, "hm1nd", "request_spawn_draft", name=name))["path"]
    git = f"git -C {path}"
    tell(
        running,
        "hm1nd",
        f"""!bash mkdir -p {path}/seed && echo '{NOTES}' > {path}/seed/first.md"""
        f""" && echo 'recipients = ["hm1nd"]' >> {path}/agent.toml && {git} add -A"""
        f""" && {git} commit -qm 'Give it notes' && {git} rev-parse HEAD > sha""",
    )
    return (running.data_dir / "agents" / "hm1nd" / "state" / "sha").read_text().strip()


def test_the_manager_drafts_the_operator_approves_and_the_new_agent_answers(running: Hive, browser: Browser) -> None:
    page, complaints = signed_in(browser, running.sign_in_link(), WIDE)
    page.evaluate("window.notReloaded = true")
    sha = drafted(running, "scout")
    draft = page.locator("#draft-scout")
    expect(draft).to_contain_text("hm1nd")
    told = call(running, "hm1nd", "request_spawn_commit", name="scout", commit_ref=sha[:12], description="It looks.")
    identity = told.split()[0]
    expect(draft).to_contain_text("Give it notes")
    expect(page.locator("#nav-pending .pill")).to_have_text("1")
    assert page.evaluate("window.notReloaded") is True
    page.screenshot(path=ARTIFACTS / "drafts-wide.png", full_page=True)

    page.goto(f"{running.address}/approvals/{identity}")
    expect(page.locator("h1")).to_have_text("Make scout")
    expect(page.locator(".diff-path")).to_have_text(["agent.toml", "seed/first.md"])
    page.get_by_text("as usual for a new agent").click()
    expect(page.locator(".rights").last).to_contain_text("may now write to hm1nd")
    expect(page.locator(".diff-added", has_text=NOTES)).to_be_visible()
    expect(page.locator(".effects")).to_contain_text("Its /state begins with the 1 file under seed/.")
    page.screenshot(path=ARTIFACTS / "approval-spawn-wide.png", full_page=True)
    page.get_by_label("A note for hm1nd").fill("welcome")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#verdict .chip-approval-deployed")).to_be_visible(timeout=90_000)
    page.get_by_role("link", name="What scout runs with").click()
    expect(page.locator(".diff-line", has_text="recipients")).to_be_visible()
    page.screenshot(path=ARTIFACTS / "config-wide.png", full_page=True)

    page.goto(f"{running.address}/agents/scout")
    running.send("scout", "!bash cat first.md")
    expect(page.get_by_text(NOTES).first).to_be_visible(timeout=30_000)
    running.send("scout", "are you there?")
    wait_until(lambda: "echo: are you there?" in running.answers(), within_s=30)
    assert results(running, "scout")[0].strip() == NOTES
    assert running.api("GET", "/drafts")["drafts"] == []
    page.context.close()
    assert complaints == []


def model_of(running: Hive, name: str) -> object:
    return running.api("GET", f"/agents/{name}")["config"]["model"]


def test_a_change_is_seen_by_two_and_rolled_back_from_a_phone(running: Hive, browser: Browser) -> None:
    running.cli("spawn", "ada")
    identity = request(running, "ada", commit(running, "ada", 'model = "opus"\n'))
    phone, complaints = signed_in(browser, running.sign_in_link(), PHONE, dark=True)
    phone.goto(f"{running.address}/approvals/{identity}")
    phone.get_by_label("A note for hm1nd").fill("half a thou")
    running.cli("approve", identity)
    expect(phone.locator("#verdict .chip-approval-deployed")).to_be_visible(timeout=90_000)
    expect(phone.get_by_role("button", name="Deny")).to_have_count(0)
    assert model_of(running, "ada") == "opus"

    phone.goto(f"{running.address}/agents/ada/config")
    phone.get_by_text("Change it").click()
    written = phone.get_by_role("textbox", name="agent.toml")
    written.fill('model = "opus"\nmodle = 1\n')
    phone.get_by_role("button", name="Save and deploy").click()
    expect(phone.locator(".problems")).to_contain_text("line 2 modle: no such key")
    expect(written).to_have_value('model = "opus"\nmodle = 1\n')
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    phone.screenshot(path=ARTIFACTS / "config-phone.png", full_page=True)
    written.fill('model = "sonnet"\n')
    phone.get_by_role("button", name="Save and deploy").click()
    expect(phone.locator("#verdict .chip-approval-deployed")).to_be_visible(timeout=90_000)
    assert model_of(running, "ada") == "sonnet"

    phone.goto(f"{running.address}/agents/ada/config")
    earlier = phone.locator(".draft", has_text="change")
    earlier.get_by_text("Roll back…").click()
    earlier.get_by_role("button", name="Roll back to").click()
    expect(phone.locator("#verdict .chip-approval-deployed")).to_be_visible(timeout=90_000)
    assert model_of(running, "ada") == "opus"
    phone.screenshot(path=ARTIFACTS / "rolled-back-phone.png", full_page=True)
    phone.context.close()
    assert [said for said in complaints if "422" not in said] == []


def test_without_javascript_a_page_is_decided_on_and_a_stale_one_refused(running: Hive, browser: Browser) -> None:
    identity = request(running, "ada", commit(running, "ada", 'effort = "low"\n'))
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    page, stale = context.new_page(), context.new_page()
    page.goto(running.sign_in_link())
    for one in (page, stale):
        one.goto(f"{running.address}/approvals/{identity}")
    page.get_by_role("link", name="last approved").or_(page.get_by_role("link", name="what runs")).first.click()
    expect(page.locator(".diff-added", has_text='effort = "low"')).to_be_visible()
    page.get_by_label("A note for hm1nd").fill("cheap is fine")
    page.get_by_role("button", name="Deny").dblclick()
    expect(page.locator("#verdict")).to_contain_text("cheap is fine")
    assert state(running, identity) == "denied"

    stale.get_by_role("button", name="Approve").click()
    expect(stale.locator("#flash")).to_contain_text(f"{identity} is denied already; nothing was changed")
    expect(stale.locator("#verdict")).to_contain_text("denied")
    context.close()
