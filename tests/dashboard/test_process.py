"""What the tests' own dashboard process says when it does not come up."""

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.dashboard.process import dashboard_process, free_port
from tests.support.redis_server import RedisServer


@pytest.mark.slow
def test_a_dashboard_that_ends_at_its_start_is_told_with_its_last_words(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "hive.toml").write_text('[dashboard]\nsession_days = "many"\n')
    with dashboard_process(redis, tmp_path, free_port()) as process:

        async def main() -> None:
            async with httpx.AsyncClient(base_url=process.address) as http:
                await process.answers(http, "/healthz", 200)

        with pytest.raises(AssertionError, match=r"(?s)the dashboard ended with .*session_days"):
            asyncio.run(main())
