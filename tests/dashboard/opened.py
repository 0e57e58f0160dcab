"""A dashboard in the test's own loop, over any bus, with a client and a scene around it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.dashboard.scene import Scene, brokered
from tests.support.waiting import eventually, until

from hive_dashboard.config import DashboardSettings
from hive_dashboard.service import Dashboard
from hive_runtime.bus import Bus

ADDRESS = "http://127.0.0.1:7000"


@dataclass(slots=True)
class Opened:
    """`api` carries the token; `browser` carries cookies, and is signed in after `sign_in`."""

    dashboard: Dashboard
    scene: Scene
    api: httpx.AsyncClient
    browser: httpx.AsyncClient

    async def sign_in(self) -> None:
        answer = await self.api.post("/api/v1/sign-in-links")
        assert (await self.browser.get(answer.json()["url"])).status_code == 303

    async def csrf(self, path: str = "/messages") -> str:
        found = re.search(r'name="csrf" value="(\w+)"', (await self.browser.get(path)).text)
        assert found
        return found[1]

    async def post(self, path: str, **fields: str) -> httpx.Response:
        """As a form of the page without JavaScript."""
        data = {"csrf": await self.csrf()} | fields
        return await self.browser.post(path, data=data, headers={"origin": ADDRESS})

    async def sees_agent(self, name: str) -> None:
        await until(lambda: self.dashboard.parts.snapshots.current.agent(name))

    async def message(self, message_id: str, state: str) -> dict[str, Any]:
        """The message, once it is in `state`."""
        found: dict[str, Any] = {}

        async def there() -> bool:
            answer = await self.api.get(f"/api/v1/messages/{message_id}")
            found.update(answer.json())
            return answer.status_code == 200 and found["message"]["state"] == state

        await eventually(there)
        return found


def client(dashboard: Dashboard, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=dashboard.app)
    return httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers)


@asynccontextmanager
async def opened(bus: Bus, data_dir: Path, *, broker: bool = True, **settings: Any) -> AsyncIterator[Opened]:
    """The dashboard with its background work, beside a real broker unless that is not wanted."""
    dashboard = Dashboard(DashboardSettings(**settings), data_dir, bus)
    token = (data_dir / "secrets" / "api-token").read_text().strip()
    async with client(dashboard, authorization=f"Bearer {token}") as api, client(dashboard) as browser:
        work = asyncio.create_task(dashboard.work())
        try:
            if broker:
                async with brokered(bus, data_dir) as scene:
                    yield Opened(dashboard, scene, api, browser)
            else:
                yield Opened(dashboard, Scene(bus), api, browser)
        finally:
            work.cancel()
            await asyncio.wait([work])
            dashboard.close()
