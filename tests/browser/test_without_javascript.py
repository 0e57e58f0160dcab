"""All that the operator decides, sends and cancels, in one whole hive, with JavaScript off."""

import json
import os
import re
import signal
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.support.chromium import WIDE
from tests.support.hive import Hive, hive
from tests.support.waiting import wait_until
from tests.system.test_approvals import commit, request, state
from tests.system.test_manager_tools import call

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

AGENTS = ("ada", "lin", "eve", "max", "zoe")
LIMITS = {
    "HIVE_BROKER_MAX_ATTEMPTS": "1",
    "HIVE_BROKER_MAX_HOPS": "1",
    "HIVE_BROKER_SENDER_PER_MINUTE": "10",
    "HIVE_SUPERVISOR_QUOTA_OUTBOX_PER_MINUTE": "60",
    "HIVE_SUPERVISOR_QUOTA_PAUSE_S": "1",
    "HIVE_SUPERVISOR_RESTART_CRASHES": "1",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Hive]:
    with hive(environment=LIMITS) as started:
        for name in AGENTS:
            started.cli("spawn", name)
        yield started


@pytest.fixture
def page(running: Hive, browser: Browser) -> Iterator[Page]:
    """Signed in, through the form."""
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    opened.goto(f"{running.address}/questions")
    opened.get_by_label("Link or token").fill(running.sign_in_link())
    opened.get_by_role("button", name="Sign in").click()
    expect(opened).to_have_url(f"{running.address}/questions")
    yield opened
    context.close()


def there(running: Hive, page: Page, kind: str, words: str = "") -> Locator:
    """An item of the queue, once it stands there."""
    return stands(running, page, page.locator(f".need-{kind}", has_text=words))


def stands(running: Hive, page: Page, wanted: Locator, *, within_s: float = 60) -> Locator:
    """The first of it on `/`, once there is one."""

    def found() -> bool:
        page.goto(running.address)
        return wanted.count() > 0

    wait_until(found, within_s=within_s)
    return wanted.first


def said(running: Hive, page: Page, words: str) -> None:
    """The queue's page says it, and nothing else is open."""
    expect(page.locator("#flash")).to_contain_text(words)
    expect(page).to_have_url(f"{running.address}/")


def ask(running: Hive, agent: str, question: str, **facts: object) -> None:
    running.send(agent, f"!call ask_operator {json.dumps({'question': question} | facts)}")


def test_questions_are_answered_and_cancelled(running: Hive, page: Page) -> None:
    ask(running, "ada", "red or blue?", options=["red", "blue"])
    ask(running, "ada", "which of these?", options=["one", "two", "three"], multi=True)
    ask(running, "ada", "why?")
    ask(running, "ada", "whatever?")
    colour = there(running, page, "question", "red or blue?")
    colour.get_by_label("blue").check()
    colour.get_by_role("button", name="Answer").click()
    said(running, page, "Answered")
    several = there(running, page, "question", "which of these?")
    several.get_by_label("one").check()
    several.get_by_label("three").check()
    several.get_by_role("button", name="Answer").click()
    words = there(running, page, "question", "why?")
    words.locator("textarea").fill("because of it")
    words.get_by_role("button", name="Answer").click()
    said(running, page, "Answered")
    there(running, page, "question", "whatever?").get_by_role("button", name="Cancel").click()
    said(running, page, "Cancelled")
    answers = {one["question"]: (one["state"], one["answer"]) for one in running.api("GET", "/questions")["questions"]}
    assert answers == {
        "red or blue?": ("answered", "blue"),
        "which of these?": ("answered", "one\nthree"),
        "why?": ("answered", "because of it"),
        "whatever?": ("cancelled", ""),
    }


def test_a_command_is_permitted_once_always_and_not(running: Hive, page: Page) -> None:
    running.cli("spawn", "tom", "--allow", "git *")
    for button in ("Once", "No"):
        running.send("tom", f"!bash echo {button} >>ran")
        there(running, page, "permission", f"echo {button}").get_by_role("button", name=button, exact=True).click()
        said(running, page, "Answered")
    wait_until(lambda: running.api("GET", "/agents/tom/state")["state"] == "idle")
    assert (running.data_dir / "agents" / "tom" / "state" / "ran").read_text() == "Once\n"
    running.send("tom", "!bash touch ./always")
    wish = there(running, page, "permission", "touch ./always")
    wish.get_by_role("button", name="Always touch *").click()
    said(running, page, "Answered")
    wait_until((running.data_dir / "agents" / "tom" / "state" / "always").exists)
    proposed = there(running, page, "approval", "touch *")
    proposed.get_by_role("button", name="Approve").click()
    said(running, page, "Approved")
    wait_until(lambda: "touch *" in running.api("GET", "/agents/tom/config")["text"], within_s=60)
    running.send("tom", "!bash touch ./more")
    wait_until((running.data_dir / "agents" / "tom" / "state" / "more").exists, within_s=60)


def test_requests_are_approved_denied_and_sent_back(running: Hive, page: Page) -> None:
    ids = [request(running, "lin", commit(running, "lin", f'description = "{word}"\n')) for word in ("a", "b", "c")]
    approve, deny, change = ids
    item = page.locator(f"#need-{deny}")
    there(running, page, "approval")
    item.get_by_text("Deny…").click()
    item.locator("textarea").fill("not this one")
    item.get_by_role("button", name="Deny", exact=True).click()
    said(running, page, "Denied")
    page.goto(f"{running.address}/approvals/{change}")
    page.locator("textarea[name=note]").fill("shorter, please")
    page.get_by_role("button", name="Request changes").click()
    page.goto(running.address)
    page.locator(f"#need-{approve}").get_by_role("button", name="Approve").click()
    wait_until(lambda: state(running, approve) == "deployed", within_s=60)
    assert [state(running, one) for one in (deny, change)] == ["denied", "changes_requested"]


def test_a_purge_is_approved_by_typing_the_name(running: Hive, page: Page) -> None:
    running.cli("spawn", "old")
    running.cli("destroy", "old", "--yes")
    call(running, "hm1nd", "request_purge", name="old")
    wish = there(running, page, "approval", "old")
    wish.get_by_text("Approve…").click()
    wish.get_by_label("Type old to wipe it").fill("old")
    wish.get_by_role("button", name="Approve", exact=True).click()
    said(running, page, "Approved")
    wait_until(lambda: "old" not in {agent["name"] for agent in running.api("GET", "/agents")["agents"]}, within_s=60)


def test_a_draft_is_taken_over_and_discarded(running: Hive, page: Page) -> None:
    call(running, "hm1nd", "request_spawn_draft", name="new")
    page.goto(running.address)
    page.get_by_role("button", name="Take over").click()
    expect(page).to_have_url(f"{running.address}/agents/new/config")
    page.get_by_text("Discard…").click()
    page.get_by_role("button", name="Discard").click()
    said(running, page, "The draft of new is discarded")


def test_what_was_given_up_is_sent_again_from_the_queue_and_from_its_list(running: Hive, page: Page) -> None:
    for _ in range(2):
        running.send("zoe", "!fail error")
    wait_until(lambda: len(running.api("GET", "/dead-letters")["dead_letters"]) == 2, within_s=60)
    there(running, page, "dead").get_by_role("button", name="Send again").first.click()
    said(running, page, "It is back in its recipient's inbox.")
    wait_until(lambda: len(running.api("GET", "/dead-letters")["dead_letters"]) == 2, within_s=60)
    page.goto(f"{running.address}/dead-letters")
    page.get_by_role("button", name="Send again").first.click()
    expect(page.locator("#flash")).to_contain_text("It is back in its recipient's inbox.")
    expect(page).to_have_url(f"{running.address}/dead-letters")


def test_a_crashed_agent_is_started_again_and_left_stopped(running: Hive, page: Page) -> None:
    os.kill(running.container_pid("max"), signal.SIGKILL)
    crashed = there(running, page, "crash", "max")
    crashed.get_by_role("button", name="Start max again").click()
    said(running, page, "starts.")
    wait_until(lambda: running.api("GET", "/agents/max")["container"] == "running", within_s=60)
    os.kill(running.container_pid("max"), signal.SIGKILL)
    there(running, page, "crash", "max").get_by_role("button", name="Leave it stopped").click()
    said(running, page, "max is stopped")
    assert running.api("GET", "/agents/max")["desired"] == "stopped"


def test_an_agent_at_its_providers_limit_tries_now_or_is_paused(running: Hive, page: Page) -> None:
    running.send("eve", "!fail rate_limited")
    there(running, page, "limits", "eve").get_by_role("button", name="Try eve now").click()
    said(running, page, "eve is awake.")
    there(running, page, "limits", "eve").get_by_role("button", name="Pause eve").click()
    said(running, page, "eve is paused")
    wait_until(lambda: running.api("GET", "/agents/eve/state")["state"] == "paused")


def test_an_agent_without_a_sign_in_is_answered_in_its_place(running: Hive, page: Page) -> None:
    running.cli("spawn", "bob")
    running.send("bob", "!fail auth")
    there(running, page, "login", "bob").get_by_role("button", name="Sign bob in").click()
    said(running, page, "there is nothing to sign in to")


def test_floods_loops_and_refusals_are_dismissed_or_answered(running: Hive, page: Page) -> None:
    running.cli("spawn", "flo")
    running.send("flo", "\n".join(["!send hm1nd x"] * 40))
    there(running, page, "refused", "flo").get_by_role("button", name="Dismiss").click()
    said(running, page, "Dismissed")
    flood = page.locator(".need-flood", has_text="flo")

    def flooded() -> bool:
        """The first look at an agent only learns how much it had sent by then."""
        running.send("flo", "\n".join(["!send hm1nd x"] * 70))
        try:
            stands(running, page, flood, within_s=15)
        except TimeoutError:
            return False
        return True

    wait_until(flooded, within_s=100)
    flood.get_by_text("Write…").click()
    flood.locator("textarea").fill("!say I stop")
    flood.get_by_role("button", name="Send").click()
    said(running, page, "Sent to flo")
    running.send("ada", "!send lin !send ada !send lin thanks")
    circle = there(running, page, "loop")
    circle.get_by_role("link", name="The conversation").click()
    expect(page.get_by_role("heading", name="Conversation")).to_be_visible()
    circle = there(running, page, "loop")
    circle.get_by_text("Write…").click()
    circle.locator("textarea").fill("That is enough.")
    circle.get_by_role("button", name="Send").click()
    said(running, page, "Sent to")
    there(running, page, "refused", "flo").get_by_role("button", name="Stop flo").click()
    said(running, page, "flo is stopped")


def test_messages_are_sent_replied_to_and_read_and_a_turn_is_cancelled(running: Hive, page: Page) -> None:
    page.goto(running.address)
    page.locator("#compose select[name=to]").select_option("ada")
    page.locator("#compose textarea").fill("hello without scripts")
    page.locator("#compose").get_by_role("button", name="Send").click()
    said(running, page, "Sent to ada.")
    thread = stands(running, page, page.locator("#inbox > li", has_text="echo: hello without scripts"))
    thread.get_by_text("Reply").first.click()
    thread.locator("textarea").fill("!sleep 120")
    thread.get_by_role("button", name="Send").click()
    said(running, page, "Sent to ada.")
    wait_until(lambda: running.api("GET", "/agents/ada/state")["state"] == "thinking")
    page.goto(f"{running.address}/agents/ada")
    page.get_by_role("button", name="Cancel turn").click()
    expect(page.locator("#flash")).to_contain_text("ada's turn is cancelled.")
    running.send("ada", "hello again")
    mark = page.locator("#inbox > li", has_text="echo: hello again").get_by_role("button", name="Mark read")
    stands(running, page, mark).click()
    said(running, page, "Marked as read.")

    def unmarked() -> bool:
        page.goto(running.address)
        return mark.count() == 0

    wait_until(unmarked)


def test_a_sweep_is_tried_and_run(running: Hive, page: Page) -> None:
    page.goto(f"{running.address}/retention")
    page.get_by_role("button", name="What would go now?").click()
    expect(page.get_by_role("heading", name="Would go now")).to_be_visible()
    page.get_by_role("button", name="Sweep now").click()
    expect(page.get_by_role("heading", name="The last sweep")).to_be_visible()
    expect(page.get_by_role("heading", name="Would go now")).to_have_count(0)


def test_an_agent_is_made_changed_stopped_destroyed_revived_and_purged(running: Hive, page: Page) -> None:
    page.goto(running.address)
    page.get_by_text("New agent").click()
    page.get_by_label("Name", exact=True).fill("tim")
    page.get_by_role("button", name="Make it").click()
    said(running, page, "tim is there and starts.")
    page.goto(f"{running.address}/agents/tim/config")
    page.get_by_text("Change it…").click()
    page.get_by_role("textbox", name="agent.toml").fill('recipients = ["hm1nd"]\n')
    page.get_by_role("button", name="Save and deploy").click()
    wait_until(lambda: running.api("GET", "/agents/tim")["config"]["recipients"] == ["hm1nd"], within_s=60)
    wait_until(lambda: running.api("GET", "/agents/tim")["container"] == "running", within_s=60)
    page.goto(f"{running.address}/agents/tim")
    page.get_by_text("Destroy…").click()
    page.get_by_role("button", name="Destroy tim").click()
    expect(page.locator("#flash")).to_contain_text("tim is destroyed")
    page.goto(running.address)
    page.get_by_role("button", name="Revive tim").click()
    expect(page.locator("#flash")).to_contain_text("tim is back")
    page.get_by_text("Stop…").click()
    page.get_by_role("button", name="Stop tim").click()
    expect(page.locator("#flash")).to_contain_text("tim is stopped")
    page.get_by_text("Purge…").click()
    page.get_by_label("Type tim to wipe it").fill("tim")
    page.get_by_role("button", name="Purge tim").click()
    said(running, page, "tim is gone")


def deploy(running: Hive, name: str, text: str) -> None:
    """The operator's own change, once it runs."""
    before = running.api("GET", f"/agents/{name}/config")["main"]
    change = {"before": before, "text": text, "description": "a change"}
    made = running.api("PUT", f"/agents/{name}/config", json=change)["approval"]
    wait_until(lambda: state(running, made) == "deployed", within_s=60)


def test_a_configuration_is_rolled_back(running: Hive, page: Page) -> None:
    running.cli("spawn", "rob")
    earlier = 'recipients = ["hm1nd"]\n'
    deploy(running, "rob", earlier)
    deploy(running, "rob", "recipients = []\n")
    page.goto(f"{running.address}/agents/rob/config")
    page.get_by_text("Roll back…").first.click()
    page.get_by_role("button", name="Roll back to").first.click()
    expect(page.locator("#flash")).to_contain_text("It is being deployed again.")
    wait_until(lambda: running.api("GET", "/agents/rob/config")["text"] == earlier, within_s=60)
    wait_until(lambda: running.api("GET", "/agents/rob")["container"] == "running", within_s=60)


def test_a_token_is_made_shown_once_used_and_revoked(running: Hive, page: Page) -> None:
    access = f"{running.address}/settings/access"
    page.goto(access)
    page.get_by_label("Name").fill("phone")
    page.get_by_label("Days").fill("30")
    page.get_by_role("button", name="Make a token").click()
    secret = re.search(r"is (\S+) — copy it", page.locator("#flash").inner_text())
    assert secret
    page.goto(access)
    expect(page.locator("main")).not_to_contain_text(secret[1])

    def status() -> int:
        bearer = {"authorization": f"Bearer {secret[1]}"}
        return httpx.get(f"{running.address}/api/v1/agents", headers=bearer, timeout=30).status_code

    assert status() == 200
    page.get_by_role("button", name="Revoke phone").click()
    expect(page.locator("#flash")).to_contain_text("phone lets nobody in any more.")
    expect(page.get_by_role("button", name="Revoke phone")).to_have_count(0)
    assert status() == 401


def test_settings_and_terminals_are_switched(running: Hive, page: Page) -> None:
    page.goto(f"{running.address}/settings")
    page.get_by_label("dark").check()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#flash")).to_contain_text("from now on")
    expect(page.locator("html")).to_have_attribute("data-scheme", "dark")
    page.goto(f"{running.address}/agents/ada/terminal")
    page.get_by_role("button", name="Turn").first.click()
    expect(page.locator("#flash")).to_contain_text("ada's terminal is on.")
    page.get_by_role("button", name="Turn").first.click()
    expect(page.locator("#flash")).to_contain_text("ada's terminal is off")


def test_the_way_out_closes_the_door(running: Hive, page: Page) -> None:
    page.goto(running.address)
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{running.address}/messages")
    assert "/sign-in" in page.url
    page.get_by_label("Link or token").fill("nothing of the kind")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
