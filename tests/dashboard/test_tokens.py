"""Tokens: made once shown once, kept as hashes, revoked at once; and sessions, which can be ended one by one."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.dashboard.opened import Opened, client, opened

from hive_dashboard.auth import SIGN_IN_ATTEMPTS
from hive_dashboard.store import SessionStore
from hive_dashboard.store_tokens import TokenStore
from hive_runtime.memory_bus import MemoryBus


def in_a_hive(tmp_path: Path, scenario: Callable[[Opened], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), opened(MemoryBus(), tmp_path, broker=False) as hive:
            await scenario(hive)

    asyncio.run(main())


async def made(hive: Opened, **about: object) -> tuple[str, str]:
    answer = await hive.api.post("/api/v1/tokens", json={"name": "phone"} | about)
    assert answer.status_code == 201
    return answer.json()["token"]["id"], answer.json()["secret"]


def test_a_token_opens_the_api_until_it_is_revoked(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        token_id, secret = await made(hive)
        async with client(hive.dashboard, authorization=f"Bearer {secret}") as program:
            assert (await program.get("/api/v1/status")).status_code == 200
            (listed,) = (await program.get("/api/v1/tokens")).json()["tokens"]
            assert listed["used_at"]
            assert secret not in str(listed)
            assert (await hive.api.delete(f"/api/v1/tokens/{token_id}")).json()["valid"] is False
            refused = await program.get("/api/v1/status")
            assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")
        assert (await hive.api.delete("/api/v1/tokens/t-none")).status_code == 404

    in_a_hive(tmp_path, scenario)


def test_a_browser_signs_in_with_a_token_and_is_out_when_that_is_revoked(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        token_id, secret = await made(hive)
        for _ in range(2):  # unlike a link, more than once
            answer = await hive.browser.post("/sign-in", data={"token": secret})
            assert answer.status_code == 303
        assert (await hive.browser.get("/")).status_code == 200
        sessions = (await hive.api.get("/api/v1/sessions")).json()["sessions"]
        assert [one["token"] for one in sessions] == [token_id, token_id]
        await hive.api.delete(f"/api/v1/tokens/{token_id}")
        assert (await hive.browser.get("/")).status_code == 303
        assert (await hive.api.get("/api/v1/sessions")).json()["sessions"] == []

    in_a_hive(tmp_path, scenario)


def test_tokens_run_out_and_only_hashes_are_kept(tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    store = SessionStore(tmp_path / "dashboard.sqlite", session_s=10**7, clock=lambda: now)
    tokens = TokenStore(store.base, clock=lambda: now)
    token, secret = tokens.make("phone", days=1)
    session = store.sign_in_with_token(token.id)
    assert tokens.find(secret) == token.id
    assert store.is_valid(session)
    now += timedelta(days=1).total_seconds()
    assert tokens.find(secret) is None
    assert not store.is_valid(session)
    assert not tokens.get(token.id).valid
    store.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in kept
    assert session.encode() not in kept


def test_the_page_makes_shows_once_revokes_and_signs_out(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        await hive.sign_in()
        refused = await hive.post("/settings/access/tokens", name="x", days="soon")
        assert refused.status_code == 303
        assert "days are a number" in (await hive.browser.get("/settings/access")).text
        await hive.post("/settings/access/tokens", name="<b>phone</b>", days="90")
        page = (await hive.browser.get("/settings/access")).text
        secret = re.search(r"hive_[\w-]{43}", page)
        assert secret
        assert "&lt;b&gt;phone" in page
        again = (await hive.browser.get("/settings/access")).text
        assert secret[0] not in again
        token_id = re.search(r"t-[0-9a-f]{10}", again)
        assert token_id
        await hive.post(f"/settings/access/tokens/{token_id[0]}/revoke")
        async with client(hive.dashboard, authorization=f"Bearer {secret[0]}") as program:
            assert (await program.get("/api/v1/status")).status_code == 401
        (session,) = (await hive.api.get("/api/v1/sessions")).json()["sessions"]
        await hive.post(f"/settings/access/sessions/{session['id']}/end")
        assert (await hive.browser.get("/")).status_code == 303

    in_a_hive(tmp_path, scenario)


def test_who_guesses_is_slowed_down_and_keeps_nobody_out(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        _, secret = await made(hive)
        async with client(hive.dashboard) as guesser:
            for number in range(SIGN_IN_ATTEMPTS):
                headers = {"authorization": f"Bearer hive_{number}"}
                assert (await guesser.get("/api/v1/status", headers=headers)).status_code == 401
            slowed = await guesser.get("/api/v1/status", headers={"authorization": "Bearer hive_x"})
            assert (slowed.status_code, slowed.json()["code"]) == (429, "too_many_attempts")
            assert (await guesser.get("/sign-in?token=guess")).status_code == 429
        assert (await hive.api.get("/api/v1/status")).status_code == 200
        assert (await hive.browser.post("/sign-in", data={"token": secret})).status_code == 303

    in_a_hive(tmp_path, scenario)


def test_the_audit_log_says_which_token_did_it(tmp_path: Path) -> None:
    async def scenario(hive: Opened) -> None:
        token_id, secret = await made(hive)
        async with client(hive.dashboard, authorization=f"Bearer {secret}") as program:
            await program.post("/api/v1/sign-in-links")
        link, make = (await hive.api.get("/api/v1/audit")).json()["actions"]
        assert (link["who"], link["action"]) == (token_id, "sign-in-links")
        assert (make["who"], make["action"], make["target"]) == ("local", "token.create", "phone")

    in_a_hive(tmp_path, scenario)
