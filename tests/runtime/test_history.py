"""Going through an agent's events: windows that begin and end with turns, places in the middle, and words."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_contracts.envelope import Envelope
from hive_runtime.records import history
from hive_runtime.records.events import EventWriter, RecordedEvent
from hive_runtime.records.history import WINDOW_EVENTS, WINDOW_OVER, History, Window
from hive_runtime.store import read_only

KINDS = st.sampled_from(["turn.started", "turn.text", "turn.ended"])


def write(path: Path, events: list[tuple[str, str, dict[str, Any]]], *, first: int = 1) -> History:
    """(type, turn, further data) of each."""
    with closing(EventWriter(path)) as writer:
        told = [
            (f"{number}-0", Envelope(source="ada", type=kind, data={"turn_id": turn, "seq": number} | data))
            for number, (kind, turn, data) in enumerate(events, start=first)
        ]
        writer.record(told, position=f"{first + len(events)}-0")
    return History(path)


def turns(number: int, length: int) -> list[tuple[str, str, dict[str, Any]]]:
    kinds = ["turn.started", *["turn.text"] * (length - 2), "turn.ended"]
    return [(kind, f"t-{turn}", {"text": f"{turn}.{n}"}) for turn in range(number) for n, kind in enumerate(kinds)]


def ids(window: Window) -> list[int]:
    return [int(event.id.partition("-")[0]) for event in window.events]


def back(store: History) -> Iterator[Window]:
    window = store.newest()
    while window.events:
        yield window
        window = store.before(window.events[0].id)


@pytest.fixture
def store(tmp_path: Path) -> History:
    """70 turns of 7 events."""
    return write(tmp_path / "events.sqlite", turns(70, 7))


def test_windows_back_to_the_beginning_hold_every_event_once_and_only_whole_turns(store: History) -> None:
    windows = list(back(store))
    assert [number for window in reversed(windows) for number in ids(window)] == list(range(1, 491))
    assert all(window.events[0].type == "turn.started" for window in windows)
    assert all(window.events[-1].type == "turn.ended" for window in windows)
    assert [window.older for window in windows] == [True] * (len(windows) - 1) + [False]
    assert not any(window.goes_on for window in windows)


def test_windows_forwards_do_the_same(store: History) -> None:
    window = store.after("7-0")
    found = ids(window)
    while window.newer:
        window = store.after(window.events[-1].id)
        found += ids(window)
    assert found == list(range(8, 491))


def test_what_is_left_out_neither_ends_a_window_within_a_turn_nor_is_found(tmp_path: Path) -> None:
    state = ("state.changed", "", {"text": "state"})
    write(tmp_path / "events.sqlite", [one for event in turns(70, 7) for one in (event, state)])
    store = History(tmp_path / "events.sqlite", without={"state.changed"})
    windows = list(back(store))
    assert sum(len(window.events) for window in windows) == 490
    assert all(window.events[0].type == "turn.started" for window in windows)
    assert all(window.events[-1].type == "turn.ended" for window in windows)
    assert [window.older for window in windows] == [True] * (len(windows) - 1) + [False]
    around = store.around(windows[0].events[3].id)
    assert around.events[0].type == "turn.started"
    assert not any(event.type == "state.changed" for event in around.events)
    assert store.find("state").events == []


def test_a_turn_that_is_longer_than_a_window_is_cut_and_said_to_go_on(tmp_path: Path) -> None:
    store = write(tmp_path / "events.sqlite", turns(1, 500))
    newest = store.newest()
    assert len(newest.events) == WINDOW_EVENTS + WINDOW_OVER
    before = store.before(newest.events[0].id)
    assert (before.goes_on, newest.goes_on) == (True, False)
    assert store.after("1-0").goes_on


def test_a_window_is_bounded_in_characters(tmp_path: Path) -> None:
    store = write(tmp_path / "events.sqlite", [("turn.text", "t", {"text": "x" * 16_000}) for _ in range(60)])
    assert 10 < len(store.newest().events) < 20
    huge = write(tmp_path / "huge.sqlite", [("turn.text", "t", {"text": "x" * 200_000})] * 3)
    assert len(huge.newest().events) == 1


def test_a_place_is_shown_from_the_beginning_of_its_turn(store: History) -> None:
    window = store.around("10-0")
    assert ids(window)[0] == 8
    assert 10 in ids(window)
    assert window.older
    assert not store.around("3-0").older
    assert store.beginning("t-1") == "8-0"
    assert store.beginning("never") == ""


def test_what_is_not_there_is_an_empty_window(store: History, tmp_path: Path) -> None:
    for one in (store.before("9999-9"), store.after("x"), store.around("' OR 1"), History(tmp_path / "no").newest()):
        assert one.events == []
    assert History(tmp_path / "no").find("x").events == []


@pytest.mark.parametrize("words", ['say "hi"', "back\\slash", "100 %", "a_b", "two\nlines", "Grüße", "x' OR '1'='1"])
def test_words_are_found_as_they_are(tmp_path: Path, words: str) -> None:
    others = [("turn.text", "t", {"text": text}) for text in ("say hi", "axb", "100", "", "two lines")]
    there = ("turn.tool_call", "t", {"call_id": "c", "name": "Bash", "input": {"command": f"echo {words}!"}})
    store = write(tmp_path / "events.sqlite", [*others, there])
    assert [event.id for event in store.find(words).events] == ["6-0"]
    assert [event.id for event in store.find(words.upper() if words.isascii() else words).events] == ["6-0"]


def test_the_names_of_keys_are_no_words(store: History) -> None:
    assert store.find("turn_id").events == []


def test_a_search_goes_on_where_the_one_before_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SEARCHED_EVENTS", 100)
    monkeypatch.setattr(history, "FOUND_EVENTS", 5)
    store = write(tmp_path / "events.sqlite", turns(70, 7))
    found: list[RecordedEvent] = []
    step = store.find(".3")
    found += step.events
    steps = 1
    while step.further:
        step = store.find(".3", before=step.further)
        found += step.events
        steps += 1
    assert [event.data["text"] for event in found] == [f"{turn}.3" for turn in range(69, -1, -1)]
    assert steps >= 70 / 5


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["turn.started", "turn.text", "turn.ended"]), st.sampled_from("abc")), max_size=60
    )
)
def test_whatever_is_recorded_nothing_is_left_out_or_shown_twice(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "events.sqlite"
    store = write(path, [(kind, turn, {}) for kind, turn in events])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "WINDOW_OVER", 3)
        patch.setattr(history._take, "__kwdefaults__", {"at_least": 4})
        found: list[int] = []
        window = store.newest(at_least=4)
        while window.events:
            found = ids(window) + found
            window = store.before(window.events[0].id)
    assert found == list(range(1, len(events) + 1))


class Steps:
    """Counts what sqlite's machine does, which no other work on this one changes."""

    def __init__(self) -> None:
        self.number = 0

    @contextmanager
    def read_only(self, path: Path) -> Iterator[sqlite3.Connection | None]:
        with read_only(path) as db:
            if db is not None:
                db.set_progress_handler(self._step, 1)
            yield db

    def _step(self) -> int:
        self.number += 1
        return 0


LOOKS: dict[str, Callable[[History], object]] = {
    "newest": lambda store: store.newest(),
    "before": lambda store: store.before("900-0"),
    "after": lambda store: store.after("500-0"),
    "around": lambda store: store.around("750-0"),
    "beginning": lambda store: store.beginning("t-100"),
    "find": lambda store: store.find("nowhere"),
}


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_costs_the_same_however_long_the_history_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[History], object]
) -> None:
    monkeypatch.setattr(history, "SEARCHED_EVENTS", 500)
    short, long = write(tmp_path / "short.sqlite", turns(143, 7)), write(tmp_path / "long.sqlite", turns(2_000, 7))
    spent = []
    for store in (short, long):
        steps = Steps()
        monkeypatch.setattr(history, "read_only", steps.read_only)
        look(store)
        spent.append(steps.number)
    assert 0 < spent[1] <= spent[0] * 1.05 + 50
