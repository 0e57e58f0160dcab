"""`hive approvals` and `hive approval` say what is asked for, of every kind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

ABOUT = {
    "id": "a-1",
    "agent": "lin",
    "requester": "hm1nd",
    "state": "pending",
    "commit": "c" * 40,
    "base": "",
    "description": "please",
    "pattern": "git *",
    "revives": False,
    "requested_at": "2026-01-02T03:04:05Z",
    "note": "",
    "error": "",
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Callable[..., int]:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "spawn"}, "hm1nd asks for a new agent lin: please"),
        ({"kind": "spawn_commit", "revives": True}, "lin to come back, with what is kept of it"),
        ({"kind": "apply_commit"}, "another configuration of lin"),
        ({"kind": "permission_pattern"}, "lin to run git * without asking"),
        ({"kind": "purge", "commit": ""}, "the end of lin, with all that it has"),
    ],
)
def test_every_kind_is_said_in_words(
    api: FakeApi,
    hive: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    words: str,
) -> None:
    about = ABOUT | changes
    api.answers["GET", "/api/v1/approvals"] = (200, {"approvals": [about]})
    api.answers["GET", "/api/v1/approvals/a-1"] = (200, {"approval": about, "diff": ""})
    assert hive("approvals") == 0
    assert str(changes["kind"]).replace("_", " ") in capsys.readouterr().out
    assert hive("approval", "a-1") == 0
    told = capsys.readouterr().out
    assert words in told
    assert ("commit " in told) == bool(about["commit"])
