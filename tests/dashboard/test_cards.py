"""What tool calls are drawn as, whatever a container gives as their input."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dashboard.test_turns import event

from hive_dashboard.cards import MAX_DRAWN_AT_ONCE, Edit, card_of, exit_of
from hive_dashboard.render import Renderer
from hive_dashboard.turns import row_of


def drawn(tool: str, given: dict[str, Any]) -> str:
    return Renderer().row(row_of(event(7, "turn.tool_call", call_id="c", name=tool, input=given)), "ada")


def test_an_edit_is_a_diff_that_says_how_much_it_changes() -> None:
    card = card_of("Edit", {"file_path": "a.py", "old_string": "x\ny", "new_string": "x\nz\nw", "replace_all": False})
    (edit,) = card.edits
    assert (card.kind, edit.path, edit.added, edit.removed, card.rest) == ("edit", "a.py", 2, 1, "")
    html = drawn("Edit", {"file_path": "a.py", "old_string": "x\ny", "new_string": "x\nz"})
    assert '<details class="diff diff-loose">' in html
    assert "+1</span>" in html
    assert "diff-removed" in html


def test_a_written_file_is_all_new() -> None:
    (edit,) = card_of("Write", {"file_path": "a", "content": "one\ntwo"}).edits
    assert (edit.added, edit.removed) == (2, 0)
    assert (edit.file.added, edit.file.removed) == (2, 0)


@pytest.mark.parametrize(("before", "after"), [("a\nb\nc", "a\nc\nd"), ("", "x"), ("x", ""), ("a\n" * 3000, "b\n")])
def test_the_count_of_lines_is_that_of_the_diff(before: str, after: str) -> None:
    edit = Edit("a", before, after)
    assert (edit.added, edit.removed) == (edit.file.added, edit.file.removed)


def test_a_large_edit_is_drawn_when_it_is_opened() -> None:
    html = drawn("Write", {"file_path": "big.py", "content": "line\n" * MAX_DRAWN_AT_ONCE})
    assert 'hx-get="/agents/ada/events/7-0"' in html
    assert '<a href="/agents/ada/events/7-0">Look at this edit</a>' in html
    assert f"+{MAX_DRAWN_AT_ONCE + 1}</span>" in html
    assert "diff-lines" not in html


def test_several_edits_of_a_file_are_one_call() -> None:
    edits = [{"old_string": "a", "new_string": "b"}, {"old_string": "c", "new_string": "d"}]
    assert len(card_of("MultiEdit", {"file_path": "x", "edits": edits}).edits) == 2


def test_a_command_stands_there_whole_with_what_it_is_for() -> None:
    card = card_of("Bash", {"command": "ls\npwd", "description": "look", "timeout": 5})
    assert (card.kind, card.command, card.gist, card.rest) == ("command", "ls\npwd", "look", '{\n  "timeout": 5\n}')


@pytest.mark.parametrize(
    ("text", "error", "found"),
    [
        ("Exit code 1\nno such file", True, ("1", "no such file")),
        ("exit status -9", True, ("-9", "")),
        ("Exit code 1\nsaid by a command that went well", False, ("", "Exit code 1\nsaid by a command that went well")),
        ("no such file", True, ("", "no such file")),
    ],
)
def test_the_exit_status_is_read_from_a_failed_result(text: str, error: object, found: tuple[str, str]) -> None:
    assert exit_of(text, error=bool(error)) == found


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("Edit", {"file_path": "a", "old_string": 1, "new_string": "b"}),
        ("Edit", {"old_string": "a", "new_string": "b"}),
        ("Write", {"file_path": ["a"], "content": "b"}),
        ("MultiEdit", {"file_path": "a", "edits": [{"old_string": "a", "new_string": "b", "more": 1}]}),
        ("MultiEdit", {"file_path": "a", "edits": "x"}),
        ("Bash", {"command": {"a": 1}}),
        ("Bash", {}),
        ("Read", {"file_path": "notes.md"}),
    ],
)
def test_what_has_another_shape_is_drawn_as_it_came(tool: str, given: dict[str, Any]) -> None:
    card = card_of(tool, given)
    assert card.kind == "other"
    for key in given:
        assert f'"{key}"' in card.rest


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5)
KEYS = st.sampled_from(["command", "description", "file_path", "content", "old_string", "new_string", "edits", "x"])


@given(st.sampled_from(["Bash", "Write", "Edit", "MultiEdit", "NotebookEdit", "Read"]), st.dictionaries(KEYS, VALUES))
def test_nothing_of_an_input_is_left_out(tool: str, given: dict[str, Any]) -> None:
    card = card_of(tool, given)
    shown = [card.command, card.rest, card.gist, *(t for e in card.edits for t in (e.path, e.before, e.after))]
    for key, value in given.items():
        assert f'"{key}"' in card.rest or value in shown or key == "description" or value in (True, False)


def test_an_edit_cannot_be_drawn_as_another_file_or_line() -> None:
    html = drawn("Edit", {"file_path": "a\u202eb<b>", "old_string": "x", "new_string": "y\u2028diff --git\x1b[2J"})
    assert "\u202e" not in html
    assert "<b>" not in html
    assert html.count('<details class="diff') == 1
