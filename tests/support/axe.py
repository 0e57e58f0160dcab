"""axe-core, from npm into a cache outside the repository, pinned as the dashboard's own front-end packages are."""

import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from hatch_build import FrontendError, FrontendPackage, check_integrity, digest, find_npm, member, pack, place
from playwright.async_api import Page

PACKAGE: Final = FrontendPackage(
    name="axe-core",
    version="4.11.0",
    integrity="sha512-ilYanEU8vxxBexpJd8cWM4ElSQq4QctCLKih0TSfjIfCQTeyH/6zVrmIJfLPrKTKJRbiG+cfnZbQIjAlJmF1jQ==",
    member="package/axe.min.js",
    file="axe.min.js",
    sha256="e9e5863c33a874f09bc01acd9234b7e3c871479f5eef8802fa582544465e6d01",
)
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def axe_source() -> str:
    """Raises `FrontendError` with what to do where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperhive" / f"axe-{PACKAGE.version}"
    script = cache / PACKAGE.file
    if digest(script) != PACKAGE.sha256:
        _fetch(script)
    return script.read_text()


def _fetch(script: Path) -> None:
    npm = find_npm()
    if npm is None:
        raise FrontendError("there is no npm to get axe-core with; install npm")
    script.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        tarball = pack(npm, PACKAGE, Path(work))
        check_integrity(tarball, PACKAGE)
        with tarfile.open(tarball) as archive:
            place(script, member(archive, PACKAGE.member), PACKAGE)


async def violations(page: Page, source: str) -> list[str]:
    """What axe finds against WCAG 2.2 AA and its best practices: the rule, and where."""
    if not await page.evaluate("() => Boolean(window.axe)"):
        await page.evaluate(source)
    options = json.dumps({"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]})
    found: dict[str, Any] = await page.evaluate(f"() => axe.run(document, {options})")
    return [
        f"{rule['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
