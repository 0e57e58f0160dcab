"""Notes are replaced by shorter ones, and whoever is killed when, no text is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_harness.notes import KEPT, MAX_BYTES, Notes, NotTaken, new_notes

OLD = "# Notes\n\n" + "- a line that says little\n" * 50
NEW = "# Notes\n\n- fifty lines that said little\n"


def earlier(state: Path) -> list[str]:
    return [path.read_text() for path in sorted((state / ".hive/notes").glob("*.md"))]


def write(state: Path, text: str) -> Notes:
    (state / "notes.md").write_text(text)
    return Notes(state)


def test_the_new_text_takes_the_place_and_the_old_one_is_kept(tmp_path: Path) -> None:
    notes = write(tmp_path, OLD)
    done = notes.replace(notes.read(), NEW)
    assert (tmp_path / "notes.md").read_text() == NEW
    assert (tmp_path / done.earlier).read_text() == OLD
    assert (done.before, done.after) == (len(OLD), len(NEW))
    assert notes.size() == len(NEW)


def test_the_newest_earlier_texts_stay(tmp_path: Path) -> None:
    (tmp_path / ".hive/notes").mkdir(parents=True)
    (tmp_path / ".hive/notes/my own.md").write_text("the agent's")
    for number in range(KEPT + 3):
        write(tmp_path, f"{OLD}{number}").replace(f"{OLD}{number}", NEW)
    kept = [text for text in earlier(tmp_path) if text.startswith("# Notes")]
    assert sorted(kept) == [f"{OLD}{number}" for number in range(3, KEPT + 3)]
    assert "the agent's" in earlier(tmp_path)


def test_what_the_agent_wrote_meanwhile_wins(tmp_path: Path) -> None:
    notes = write(tmp_path, OLD)
    read = notes.read()
    write(tmp_path, OLD + "- and this\n")
    with pytest.raises(NotTaken, match="was written"):
        notes.replace(read, NEW)
    assert (tmp_path / "notes.md").read_text() == OLD + "- and this\n"


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_BYTES + 1)])
def test_notes_that_no_model_can_rewrite_are_left_alone(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotTaken):
        write(tmp_path, text).read()


def test_notes_that_are_no_text_or_no_file_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_bytes(b"\xff\xfe")
    with pytest.raises(NotTaken, match="UTF-8"):
        Notes(tmp_path).read()
    (tmp_path / "notes.md").unlink()
    os.mkfifo(tmp_path / "notes.md")
    with pytest.raises(NotTaken):
        Notes(tmp_path).read()
    (tmp_path / "notes.md").unlink()
    secret = tmp_path.parent / "secret"
    secret.write_text("not for a model")
    (tmp_path / "notes.md").symlink_to(secret)
    with pytest.raises(NotTaken):
        Notes(tmp_path).read()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        NEW,
        f"<notes>\n{NEW}",
        "<notes>\n \n</notes>",
        f"Here they are:\n<notes>{NEW}</notes>",
        f"<notes>{NEW}</notes><notes>{NEW}</notes>",
        f"<notes>{OLD}</notes>",
        "<notes># Notes\n```\nmake\n</notes>",
        "<notes># Notes\x00</notes>",
        "<notes># Notes \ud800</notes>",
    ],
)
def test_an_answer_that_is_not_whole_or_not_smaller_is_not_taken(answer: str) -> None:
    with pytest.raises(NotTaken):
        new_notes(OLD, answer)


@given(st.text(), st.text())
def test_what_is_taken_is_smaller_text_that_is_not_empty(old: str, answer: str) -> None:
    try:
        new = new_notes(old, f"<notes>\n{answer}\n</notes>")
    except NotTaken:
        return
    assert new.strip()
    assert len(new.encode()) < len(old.encode())
    assert new.strip() in answer.replace("\r\n", "\n")


KILLED = """
import os, signal, sys
from pathlib import Path
from hive_harness import notes

def run(state, step):
    steps = 0

    def look(event, arguments):
        nonlocal steps
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.listdir"}:
            steps += 1
            if steps > step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    notes.Notes(state).replace(sys.argv[2], sys.argv[3])

for step in range(100):
    state = Path(sys.argv[1], str(step))
    state.mkdir()
    (state / "notes.md").write_text(sys.argv[2])
    if os.fork() == 0:
        run(state, step)
        os._exit(0)
    if os.wait()[1] == 0:
        break
"""


def test_killed_at_any_step_no_text_is_lost_and_the_next_try_succeeds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), OLD, NEW], check=True)
    states = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    for state in states:
        text = (state / "notes.md").read_text()
        assert text == OLD or (text == NEW and OLD in earlier(state)), state.name
        if text == OLD:
            Notes(state).replace(OLD, NEW)
        assert (state / "notes.md").read_text() == NEW
        assert earlier(state) == [OLD], "kept once"
    assert len(states) > 10
