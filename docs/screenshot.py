"""Makes the README's screenshot from a demo hive: `.venv/bin/python -m docs.screenshot`, from the top folder."""

from pathlib import Path
from typing import Final

from playwright.sync_api import expect
from tests.support.chromium import chromium, signed_in
from tests.support.hive import hive

PICTURE: Final = Path(__file__).parent / "images" / "dashboard.png"


def main() -> None:
    with hive("--demo") as running, chromium() as browser:
        page, _ = signed_in(browser, running.sign_in_link(), {"width": 1280, "height": 800}, dark=True)
        expect(page.get_by_role("button", name="Mark read")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("a better name?").first).to_be_visible(timeout=30_000)
        page.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()
