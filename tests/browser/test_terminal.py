"""The operator's terminal in a real agent's container, in a real browser."""

import os
import re
import signal

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.support.chromium import PHONE, WIDE, signed_in
from tests.support.hive import Hive, hive
from tests.support.processes import command_line
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


SIZE = re.compile(r"^\d+ (\d+)\s*$", re.MULTILINE)
ENDED = re.compile(r"^Closed: .*(started anew|start it first)")


def redis_of(running: Hive) -> int:
    """The process of its Redis."""
    return next(pid for pid in running.processes() if "valkey-server" in command_line(pid).split(" ")[0])


def rows(page: Page) -> str:
    """What the terminal shows."""
    return str(page.locator(".xterm-rows").inner_text().replace("\xa0", " "))


def types(page: Page, line: str, *, sees: str) -> None:
    page.keyboard.type(f"{line}\n")
    wait_until(lambda: sees in rows(page), within_s=20)


def columns(page: Page) -> int:
    """As a program in it sees them."""
    seen = len(SIZE.findall(rows(page)))
    page.keyboard.type("stty size\n")
    wait_until(lambda: len(SIZE.findall(rows(page))) > seen)
    return int(SIZE.findall(rows(page))[-1])


def test_a_terminal_is_turned_on_used_left_and_found_again(browser: Browser) -> None:
    with hive(environment={"HIVE_HARNESS_TERMINAL_IDLE_S": "600"}) as running:
        page, complaints = signed_in(browser, running.sign_in_link(), WIDE)
        address = f"{running.address}/agents/hm1nd/terminal"
        off = page.goto(address)
        assert off is not None
        assert off.status == 403
        expect(page.get_by_role("heading", name="hm1nd's terminal is off")).to_be_visible()
        refused = page.evaluate(
            "address => new Promise(done => { const s = new WebSocket(address);"
            " s.onopen = () => done('open'); s.onerror = () => done('refused'); })",
            address.replace("http", "ws") + "/socket",
        )
        assert refused == "refused"
        complaints.clear()  # the browser tells of the 403s above

        page.get_by_role("button", name="Turn it on for hm1nd").click()
        expect(page.locator("#terminal-said")).to_have_text("Connected.")
        types(page, "echo h''i there; id -u", sees="hi there")
        types(page, "left=behind; pwd", sees="/state")
        page.keyboard.insert_text("echo ünï''code 🐝")
        page.keyboard.press("Enter")
        wait_until(lambda: "ünïcode 🐝" in rows(page), within_s=20)
        page.set_viewport_size(PHONE)
        page.locator("#terminal").click()
        wait_until(lambda: columns(page) < 60)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.set_viewport_size(WIDE)

        page.reload()
        expect(page.locator("#terminal-said")).to_have_text("Connected.")
        wait_until(lambda: "hi there" in rows(page), within_s=20)
        types(page, "echo st''ill $left", sees="still behind")
        types(
            page,
            "printf '\\033]0;owned\\007\\033]8;;javascript:alert(1)\\033\\\\lin''k\\033]8;;\\033\\\\\\n'",
            sees="link",
        )
        assert "owned" not in page.title()
        assert complaints == []

        actions = running.api("GET", "/audit?target=hm1nd")["actions"]
        assert [one["action"] for one in actions] == ["terminal.session", "terminal.session", "terminal.on"]
        assert [one["outcome"] for one in actions] == ["asked", "done", "done"]
        assert "the browser left" in actions[1]["reason"]

        page.get_by_role("button", name="Turn off").click()
        expect(page.get_by_role("heading", name="hm1nd's terminal is off")).to_be_visible()
        page.context.close()


def test_a_terminal_goes_on_when_redis_and_the_dashboard_are_killed(browser: Browser) -> None:
    with hive(environment={"HIVE_HARNESS_TERMINAL_IDLE_S": "600"}) as running:
        page, _ = signed_in(browser, running.sign_in_link(), WIDE)
        page.goto(f"{running.address}/agents/hm1nd/terminal")
        page.get_by_role("button", name="Turn it on for hm1nd").click()
        said = page.locator("#terminal-said")
        expect(said).to_have_text("Connected.")
        types(page, "kept=safe; echo be''gun", sees="begun")
        for number, word in enumerate(("redis", "dashboard")):
            page.evaluate(
                "() => { const said = document.getElementById('terminal-said'); window.told = [];"
                " new MutationObserver(() => window.told.push(said.textContent)).observe(said, { childList: true }); }"
            )
            os.kill(redis_of(running) if word == "redis" else running.pid("dashboard"), signal.SIGKILL)
            page.wait_for_function("() => window.told.some((words) => words.includes('Reconnecting'))", timeout=30_000)
            expect(said).to_have_text("Connected.", timeout=60_000)
            page.locator("#terminal").click()
            types(page, f"echo st''ill {number} $kept", sees=f"still {number} safe")

        os.kill(running.process_of("hive_harness", agent="hm1nd"), signal.SIGKILL)
        expect(said).to_have_text(ENDED, timeout=60_000)
        wait_until(lambda: running.api("GET", "/agents/hm1nd")["container"] == "running", within_s=60)
        page.get_by_role("button", name="Open again").click()
        expect(said).to_have_text("Connected.", timeout=60_000)
        types(page, "echo an''ew $kept.", sees="anew .")
        page.context.close()


def test_a_terminal_in_which_nobody_types_is_closed_and_can_be_opened_again(browser: Browser) -> None:
    with hive(environment={"HIVE_HARNESS_TERMINAL_IDLE_S": "2"}) as running:
        page, complaints = signed_in(browser, running.sign_in_link(), WIDE)
        page.goto(f"{running.address}/agents/hm1nd/terminal")
        page.get_by_role("button", name="Turn it on for hm1nd").click()
        expect(page.locator("#terminal-said")).to_have_text("Closed: nobody typed for 2 s.", timeout=30_000)
        page.get_by_role("button", name="Open again").click()
        expect(page.locator("#terminal-said")).to_have_text("Connected.")
        page.context.close()
        assert [line for line in complaints if "403" not in line] == []
