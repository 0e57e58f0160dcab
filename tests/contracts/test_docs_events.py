"""`docs/events.md` and the contracts say the same, in both directions."""

import inspect
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from hive_contracts import streams
from hive_contracts.agents import HiveInfo, ServiceBeat
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.registry import CARRIED

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def _sections() -> dict[str, str]:
    """Heading of any level → what stands under it, up to the next heading."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    headings = [heading.strip("`") for heading in parts[1::2]]
    assert len(headings) == len(set(headings)), "a heading stands twice"
    return dict(zip(headings, parts[2::2], strict=True))


SECTIONS = _sections()


def _table(text: str) -> dict[str, list[str]]:
    """First cell, a code word → the other cells."""
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("| `")]
    assert len({row[0] for row in rows}) == len(rows), "a row stands twice"
    return {row[0].strip("`"): row[1:] for row in rows}


def _within(annotation: Any) -> Iterator[type[BaseModel | StrEnum]]:
    """The models and word lists that a field's type is made of."""
    for part in get_args(annotation):
        yield from _within(part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | StrEnum):
        yield annotation
        if issubclass(annotation, BaseModel):
            for field in annotation.model_fields.values():
                yield from _within(field.annotation)


PARTS = {
    part.__name__: part
    for root in (*(kind for kind, _ in CARRIED), ServiceBeat, HiveInfo)
    for part in _within(root)
    if not (issubclass(part, Payload) and part in {kind for kind, _ in CARRIED})
}
SHAPES = {name: part for name, part in PARTS.items() if issubclass(part, BaseModel)}
WORDS = {name: part for name, part in PARTS.items() if issubclass(part, StrEnum)}


def _check_fields(model: type[BaseModel], text: str) -> None:
    rows = _table(text)
    assert list(rows) == list(model.model_fields)
    for name, cells in rows.items():
        assert len(cells) == 2, name
        assert all(cells), f"{name} lacks its type or meaning"
        for part in _within(model.model_fields[name].annotation):
            if part.__name__ in cells[0]:
                break
        else:
            assert not list(_within(model.model_fields[name].annotation)), f"{name} does not name its type"


@pytest.mark.parametrize(("kind", "carriers"), CARRIED, ids=[kind.TYPE for kind, _ in CARRIED])
def test_every_payload_has_its_place(kind: type[Payload], carriers: tuple[str, ...]) -> None:
    text = SECTIONS[kind.TYPE]
    sentence, streams_line = text.strip().split("\n\n")[:2]
    assert sentence.endswith(".")
    assert streams_line == "Streams: " + ", ".join(f"`{name}`" for name in carriers)
    _check_fields(kind, text)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_its_fields(name: str) -> None:
    model = SHAPES[name]
    assert issubclass(model, BaseModel)
    _check_fields(model, SECTIONS[name])


@pytest.mark.parametrize("name", WORDS)
def test_every_word_has_its_meaning(name: str) -> None:
    rows = _table(SECTIONS[name])
    words = WORDS[name]
    assert issubclass(words, StrEnum)
    assert list(rows) == [word.value for word in words]
    assert all(cells[0] for cells in rows.values())


def test_the_envelope_has_its_fields() -> None:
    assert sorted(_table(SECTIONS["The envelope"])) == sorted(Envelope.model_fields)


def test_every_key_of_the_streams_has_its_row() -> None:
    keys = {value for value in vars(streams).values() if isinstance(value, str) and value.startswith("hive:")}
    words = {"name": "<a>", "key": "<key>"}
    for _, key in inspect.getmembers(streams, inspect.isfunction):
        keys.add(key(*(words[parameter] for parameter in inspect.signature(key).parameters)))
    rows = _table(SECTIONS["Streams and keys"])
    assert set(rows) == keys
    assert all(len(cells) == 4 and all(cells) for cells in rows.values())


def test_the_page_names_nothing_that_is_not_there() -> None:
    known = {kind.TYPE for kind, _ in CARRIED} | set(PARTS)
    titles = {"Events, commands and streams", "The envelope", "Evolution", "Streams and keys", "Shapes", "Words"}
    titles |= {
        "Messages",
        "Questions and reminders",
        "Approvals",
        "Commands and their answers",
        "Agents and containers",
        "Turns",
    }
    assert set(SECTIONS) - titles == known
    anchors = set(re.findall(r"\]\(#([a-z]+)\)", PAGE.read_text()))
    assert anchors <= {name.lower() for name in PARTS}
