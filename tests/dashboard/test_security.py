"""Who gets in, and what no other site can make a browser do."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.dashboard.opened import ADDRESS, Opened, client, opened

from hive_dashboard.auth import SIGN_IN_ATTEMPTS, read_api_token
from hive_dashboard.pages.shell import local_path
from hive_dashboard.store import LINK_LIFETIME_S, SessionStore
from hive_runtime.errors import SettingsError
from hive_runtime.memory_bus import MemoryBus

PAGES = ["/", "/agents/hm1nd", "/messages", "/messages/m-1"]


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path, broker=False, **settings) as hive:
            await hive.scene.agent("hm1nd")
            await hive.sees_agent("hm1nd")
            await scenario(hive)

    asyncio.run(main())


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_sign_in_first_and_back_after(tmp_path: Path, path: str) -> None:
    async def scenario(hive: Opened) -> None:
        answer = await hive.browser.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/sign-in?next={path}"
        htmx = await hive.browser.get(path, headers={"hx-request": "true"})
        assert (htmx.status_code, htmx.headers["hx-redirect"]) == (401, "/sign-in")

    in_a_hive(tmp_path, scenario)


def test_a_link_signs_in_once(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        url = (await hive.api.post("/api/v1/sign-in-links")).json()["url"]
        first = await hive.browser.get(url)
        assert (first.status_code, first.headers["location"]) == (303, "/")
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert (await hive.browser.get("/")).status_code == 200
        async with client(hive.dashboard) as other:
            assert (await other.get(url)).status_code == 401
            assert (await other.get("/")).status_code == 303

    in_a_hive(tmp_path, scenario)


def test_a_pasted_link_or_its_token_signs_in_by_form(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        for shorten in (False, True):
            url = (await hive.api.post("/api/v1/sign-in-links")).json()["url"]
            token = url.partition("token=")[2] if shorten else url
            async with client(hive.dashboard, origin=ADDRESS) as browser:
                answer = await browser.post("/sign-in", data={"token": token, "next": "/agents/hm1nd"})
                assert answer.headers["location"] == "/agents/hm1nd"

    in_a_hive(tmp_path, scenario)


def test_signing_out_ends_the_session_on_the_server(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        cookies = httpx.Cookies(hive.browser.cookies)
        assert (await hive.post("/sign-out")).headers["location"] == "/sign-in"
        async with client(hive.dashboard) as thief:
            thief.cookies = cookies
            assert (await thief.get("/")).status_code == 303

    in_a_hive(tmp_path, scenario)


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        statuses = [
            (await hive.browser.get(f"/sign-in?token=guess{number}")).status_code
            for number in range(SIGN_IN_ATTEMPTS + 1)
        ]
        assert statuses == [401] * SIGN_IN_ATTEMPTS + [429]

    in_a_hive(tmp_path, scenario)


def test_links_and_sessions_run_out_and_only_hashes_are_kept(tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    path = tmp_path / "dashboard.sqlite"
    store = SessionStore(path, session_s=1000, clock=lambda: now)
    link, late = store.new_link(), store.new_link()
    session = store.sign_in(link)
    assert session is not None
    assert store.is_valid(session)
    now += LINK_LIFETIME_S
    assert store.sign_in(late) is None
    now += 1000
    assert not store.is_valid(session)
    store.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert link.encode() not in content
    assert session.encode() not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["/send", "/sign-out", "/agents", "/agents/hm1nd/stop", "/messages/m-1/read"])
def test_a_post_without_our_token_is_refused(tmp_path: Path, path: str) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        for token in ({}, {"csrf": "0" * 64}):
            answer = await hive.browser.post(path, data={"name": "x"} | token, headers={"origin": ADDRESS})
            assert answer.status_code == 403
        assert (await hive.browser.get("/")).status_code == 200

    in_a_hive(tmp_path, scenario)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:7001", "https://127.0.0.1.evil"])
def test_a_post_from_another_origin_is_refused_even_with_our_token(tmp_path: Path, origin: str) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        data = {"csrf": await hive.csrf(), "to": "hm1nd", "body": "hi"}
        assert (await hive.browser.post("/send", data=data, headers={"origin": origin})).status_code == 403
        headers = {"sec-fetch-site": "cross-site"}
        assert (await hive.browser.post("/send", data=data, headers=headers)).status_code == 403

    in_a_hive(tmp_path, scenario)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7000", 200),
        ("localhost:9", 200),
        ("[::1]:7000", 200),
        ("hive.lan", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil@127.0.0.1", 200),
        ("", 421),
        ("[", 421),
    ],
)
def test_only_our_own_names_are_answered(tmp_path: Path, host: str, status: int) -> None:
    async def scenario(hive: Opened) -> None:
        assert (await hive.browser.get("/healthz", headers={"host": host})).status_code == status

    in_a_hive(tmp_path, scenario, allowed_hosts=("hive.lan",))


@pytest.mark.parametrize("path", ["/", "/sign-in", "/static/app.css", "/api/v1/status", "/nothing", "/healthz"])
def test_every_answer_carries_the_headers_that_bind_a_browser(tmp_path: Path, path: str) -> None:
    async def scenario(hive: Opened) -> None:
        headers = (await hive.browser.get(path)).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "cache-control" in headers

    in_a_hive(tmp_path, scenario)


def test_pages_hold_no_inline_script_style_or_handler(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        for path in ("/", "/agents/hm1nd", "/messages", "/sign-in", "/nothing"):
            page = (await hive.browser.get(path)).text
            for script in page.split("<script")[1:]:
                assert script.startswith((' defer src="/static/',))
            assert "<style" not in page
            assert " style=" not in page
            assert " onclick=" not in page
            assert "javascript:" not in page

    in_a_hive(tmp_path, scenario)


def test_the_api_wants_a_token_or_a_session(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        status = "/api/v1/status"
        assert (await hive.browser.get(status)).status_code == 401
        for wrong in ("Bearer ", "Bearer wrong", "Basic abc", "Bearer \u00e9"):
            raw = {b"authorization": wrong.encode()}
            assert (await hive.browser.get(status, headers=raw)).status_code == 401
        assert (await hive.api.get(status)).status_code == 200
        await hive.sign_in()
        assert (await hive.browser.get(status)).status_code == 200
        assert (await hive.browser.post("/api/v1/sign-in-links")).status_code == 403
        headers = {"x-csrf-token": await hive.csrf(), "origin": ADDRESS}
        assert (await hive.browser.post("/api/v1/sign-in-links", headers=headers)).status_code == 201

    in_a_hive(tmp_path, scenario)


def test_a_request_too_long_or_of_unknown_length_is_refused(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        long = await hive.api.post("/api/v1/messages", content=b"x" * 70_000)
        assert long.status_code == 413
        endless = await hive.api.post("/api/v1/messages", headers={"transfer-encoding": "chunked"}, content=b"{}")
        assert endless.status_code == 411

    in_a_hive(tmp_path, scenario)


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb"])
def test_nobody_is_sent_to_another_site(path: str) -> None:
    assert local_path(path) == "/"


def test_the_api_token_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "api-token"
    assert read_api_token(path) == read_api_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("\n")
    with pytest.raises(SettingsError):
        read_api_token(path)
