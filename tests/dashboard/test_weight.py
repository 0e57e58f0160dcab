"""What a browser loads for `/`, and what that costs: files, compressed, and the work of the server."""

import asyncio
import gzip
import re
from pathlib import Path

import pytest
from tests.dashboard.opened import opened

from hive_dashboard.render import STATIC
from hive_runtime.memory_bus import MemoryBus

MOST_BYTES = 60 * 1024


@pytest.mark.slow
def test_scripts_and_styles_of_the_first_page_are_small(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(MemoryBus(), tmp_path) as hive:
            await hive.sign_in()
            page = (await hive.browser.get("/")).text
            files = re.findall(r'(?:src|href)="/static/([^"?]+\.(?:js|css))', page)
            assert {"app.css", "app.js", "vendor/htmx.min.js"} <= set(files)
            assert sum(len(gzip.compress((STATIC / name).read_bytes())) for name in files) <= MOST_BYTES
            got = await hive.browser.get("/static/app.css")
            assert (got.headers["content-encoding"], got.text) == ("gzip", (STATIC / "app.css").read_text())

    asyncio.run(main())
