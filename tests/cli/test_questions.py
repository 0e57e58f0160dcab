"""`hive questions`, `answer`, `cancel-question`, in this process, against a real HTTP server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

NOW = "2026-01-02T03:04:05Z"
QUESTION = {
    "id": "q-1",
    "asker": "ada",
    "to": "operator",
    "question": "Which\x1b[31m one?",
    "options": ["A", "B"],
    "multi": False,
    "asked_at": NOW,
    "expires_at": NOW,
    "state": "open",
    "answer": "",
    "answerer": "",
    "closed_at": None,
}
LIST = ("GET", "/api/v1/questions")
Capture = pytest.CaptureFixture[str]
Hive = Callable[..., int]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


def test_questions_are_shown_with_their_options_and_how_to_answer(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers[LIST] = (200, {"questions": [QUESTION]})
    assert hive("questions") == 0
    shown = capsys.readouterr().out
    assert "ada asks" in shown
    assert "Which�[31m one?" in shown
    assert "  - B\n" in shown
    assert "hive answer q-1" in shown
    assert "waiting=true" in api.asked[0]["path"]


def test_all_questions_are_a_table_with_answers(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers[LIST] = (200, {"questions": [QUESTION | {"state": "answered", "answer": "B"}]})
    assert hive("questions", "--all") == 0
    assert "answered" in (shown := capsys.readouterr().out)
    assert "one? → B" in shown
    assert "waiting" not in api.asked[0]["path"]


def test_json_is_what_the_api_says(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers[LIST] = (200, {"questions": [QUESTION]})
    assert hive("questions", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"questions": [QUESTION]}


def test_no_question_says_where_the_older_ones_are(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers[LIST] = (200, {"questions": []})
    assert hive("questions") == 0
    assert "hive questions --all" in capsys.readouterr().out


def test_an_answer_and_a_cancel_are_sent(api: FakeApi, hive: Hive) -> None:
    for verb in ("answer", "cancel"):
        api.answers["POST", f"/api/v1/questions/q-1/{verb}"] = (200, QUESTION)
    assert hive("answer", "q-1", "B") == 0
    assert hive("cancel-question", "q-1") == 0
    assert [asked["body"] for asked in api.asked] == [{"answer": "B"}, {}]


def test_a_refused_answer_says_why_and_an_empty_one_is_not_sent(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.problem("POST", "/api/v1/questions/q-1/answer", 409, "q-1 was answered already, by operator: 'A'")
    assert hive("answer", "q-1", "B") == 4
    assert "answered already" in capsys.readouterr().err
    assert hive("answer", "q-1", " ") == 2
    assert len(api.asked) == 1
