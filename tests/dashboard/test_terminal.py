"""Who gets a terminal, and that it is off until it is turned on. What it does is in tests/browser/test_terminal.py."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.opened import ADDRESS, Opened, opened
from tests.support.waiting import until

from hive_contracts import streams
from hive_contracts.agents import ContainerStatus
from hive_contracts.envelope import Envelope
from hive_contracts.terminal import KEYS_LENGTH, TerminalShown, TerminalTyped, decoded, encoded
from hive_dashboard.terminal_sweep import SCREEN_SWEEPS, TerminalSweep
from hive_runtime.memory_bus import MemoryBus

SOCKET = "/agents/hm1nd/terminal/socket"
HOST = ADDRESS.removeprefix("http://")
NONE: Mapping[str, str | None] = {}


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path, broker=False) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            await hive.sign_in()
            await scenario(hive)

    asyncio.run(main())


async def knock(hive: Opened, headers: Mapping[str, str | None] = NONE, *, path: str = SOCKET) -> str:
    """What a WebSocket is answered at first: `websocket.accept`, or `websocket.close`."""
    cookies = "; ".join(f"{name}={value}" for name, value in hive.browser.cookies.items())
    given: dict[str, str | None] = {"host": HOST, "origin": ADDRESS, "cookie": cookies, **headers}
    sent: list[dict[str, Any]] = []
    coming: list[dict[str, Any]] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value is not None],
        "client": ("127.0.0.1", 1),
        "subprotocols": [],
    }
    await hive.dashboard.app(scope, receive, send)
    return str(sent[0]["type"])


async def turn_on(hive: Opened) -> None:
    await hive.post("/agents/hm1nd/terminal", on="yes")


def test_it_is_off_until_the_operator_turns_it_on_and_off_again(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        page = await hive.browser.get("/agents/hm1nd/terminal")
        assert (page.status_code, "terminal is off" in page.text, "xterm" in page.text) == (403, True, False)
        assert await knock(hive) == "websocket.close"
        await turn_on(hive)
        page = await hive.browser.get("/agents/hm1nd/terminal")
        assert (page.status_code, "xterm.js" in page.text) == (200, True)
        assert await knock(hive) == "websocket.accept"
        await hive.scene.register(hive.scene.records["hm1nd"].model_copy(update={"container": ContainerStatus.STOPPED}))
        await hive.dashboard.parts.snapshots.refresh()
        await hive.post("/agents/hm1nd/terminal", on="")
        assert (await hive.browser.get("/agents/hm1nd/terminal")).status_code == 403
        assert await knock(hive) == "websocket.close"
        assert (await hive.browser.get("/agents/nobody/terminal")).status_code == 404
        assert await knock(hive, path="/agents/nobody/terminal/socket") == "websocket.close"

    in_a_hive(tmp_path, scenario)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": None},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:7001"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"cookie": ""},
        {"cookie": "hive_session_7000=guess"},
    ],
)
def test_another_site_or_a_stranger_gets_no_socket(tmp_path: Path, headers: dict[str, str | None]) -> None:
    async def scenario(hive: Opened) -> None:
        await turn_on(hive)
        assert await knock(hive) == "websocket.accept"
        assert await knock(hive, headers) == "websocket.close"

    in_a_hive(tmp_path, scenario)


def test_an_agent_made_later_under_its_name_has_it_off(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await turn_on(hive)
        later = datetime.now(UTC) + timedelta(seconds=5)
        await hive.scene.register(hive.scene.records["hm1nd"].model_copy(update={"created_at": later}))
        await hive.dashboard.parts.snapshots.refresh()
        assert (await hive.browser.get("/agents/hm1nd/terminal")).status_code == 403

    in_a_hive(tmp_path, scenario)


def test_only_this_page_lets_styles_in_and_only_by_a_word_that_changes(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await turn_on(hive)
        policies = [
            (await hive.browser.get("/agents/hm1nd/terminal")).headers["content-security-policy"] for _ in range(2)
        ]
        assert policies[0] != policies[1]
        for policy in policies:
            assert "unsafe" not in policy
            assert "style-src 'self' 'nonce-" in policy
        assert "nonce" not in (await hive.browser.get("/")).headers["content-security-policy"]

    in_a_hive(tmp_path, scenario)


def test_its_streams_are_bounded_and_hold_what_was_typed_and_shown() -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        for number in range(KEYS_LENGTH + 5):
            typed = TerminalTyped(session="s", data=encoded(str(number).encode()))
            await bus.append(streams.keys("ada"), Envelope.of(typed, source="operator"), at_most=KEYS_LENGTH)
        assert await bus.depth(streams.keys("ada")) == KEYS_LENGTH
        (oldest,) = await bus.reader().read_after({streams.keys("ada"): "0-0"}, count=1, block_ms=0)
        assert decoded(Envelope.decode(oldest.fields).payload(TerminalTyped).data) == b"5"
        await bus.clear(streams.keys("ada"))
        assert await bus.depth(streams.keys("ada")) == 0
        assert "secret" not in repr(TerminalShown(session="s", data=encoded(b"secret")))

    asyncio.run(scenario())


def test_what_is_left_of_a_terminal_goes_at_a_later_sweep(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await turn_on(hive)
        parts, bus = hive.dashboard.parts, hive.dashboard.parts.bus
        sweep = TerminalSweep(bus, parts.terminals, parts.snapshots)
        keys, screen = streams.keys("hm1nd"), streams.screen("hm1nd")
        typed, shown = TerminalTyped(session="s", data=encoded(b"x")), TerminalShown(session="s", data=encoded(b"x"))
        await sweep.sweep()
        for number in range(SCREEN_SWEEPS + 1):
            await bus.append(keys, Envelope.of(typed, source="operator"))
            if number == 0:
                await bus.append(screen, Envelope.of(shown, source="hm1nd"))
            await sweep.sweep()
            assert await bus.depth(keys) == 1  # the one that came since the sweep before
            assert await bus.depth(screen) == (number < SCREEN_SWEEPS)
        await sweep.sweep()
        assert await bus.depth(keys) == 0

    in_a_hive(tmp_path, scenario)


def test_turning_it_on_and_each_use_are_on_record(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await turn_on(hive)
        await knock(hive)
        await until(lambda: len(hive.dashboard.parts.audit.recent(target="hm1nd")) == 2)
        ended, on = hive.dashboard.parts.audit.recent(target="hm1nd")
        assert (on.action, on.outcome) == ("terminal.on", "done")
        assert (ended.action, ended.outcome) == ("terminal.session", "done")
        assert "how large its window is" in ended.reason

    in_a_hive(tmp_path, scenario)
