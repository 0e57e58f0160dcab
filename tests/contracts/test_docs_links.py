"""The documents: every link leads somewhere, every page is in the index, every command that is named exists."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import click
import pytest

from hive_cli.app import COMMANDS, HIDDEN, app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if not path.name.startswith("CHANGELOG")
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s`($])(?:\./)?hive(?: --data-dir \S+)? ([a-z][a-z-]*)([^\n`|;#]*)", re.MULTILINE)
OPTION = re.compile(r"(?<=\s)(--?[a-z][a-z-]*)")
NOT_VERBS = frozenset({"on", "of", "in", "is", "a", "the", "that", "to"})


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@lru_cache
def anchors(page: Path) -> frozenset[str]:
    """As the usual viewers make them of headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in re.findall(r"^#+ (.*)$", text, re.M))
    return frozenset(heading.replace(" ", "-") for heading in found)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: there is no such heading"


def test_every_page_is_in_the_index() -> None:
    linked = {
        (ROOT / "docs" / link.partition("#")[0]).resolve()
        for link in LINK.findall((ROOT / "docs" / "README.md").read_text())
    }
    missing = [ids(page) for page in ROOT.glob("docs/*.md") if page not in linked and page.name != "README.md"]
    assert missing == []


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Verb and the rest of the line, of every command in code."""
    for code in CODE.findall(page.read_text()):
        for verb, rest in COMMAND.findall(code):
            if verb not in NOT_VERBS:
                yield verb, rest


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_that_is_named_exists_with_its_options(page: Path) -> None:
    for verb, rest in commands(page):
        assert verb in COMMANDS or verb in HIDDEN, f"there is no `hive {verb}`"
        command = app.get_command(click.Context(app), verb)
        if isinstance(command, click.Group):
            part = rest.split()[0] if rest.split() else ""
            if part in command.commands:
                command = command.commands[part]
            else:
                assert not re.match(r"[a-z]+$", part), f"there is no `hive {verb} {part}`"
        assert command
        if command.context_settings.get("ignore_unknown_options"):
            continue
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", "", rest)
        assert set(OPTION.findall(plain)) <= known, f"`hive {verb}{rest}` has an option that is not there"


def test_every_decision_is_listed_once() -> None:
    listed = LINK.findall((ROOT / "docs" / "adr" / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in ROOT.glob("docs/adr/0*.md"))
