"""Diffs taken apart and drawn: nothing that an agent writes can make a line, a file or a change that is not there."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_dashboard.changed_words import changed_words, paired
from hive_dashboard.diff import FOLD_LINES, MAX_DRAWN, DiffFile, LineKind, edit_of, files_of
from hive_dashboard.render import STATIC, Renderer
from hive_dashboard.syntax import LEXERS, coloured

DIFF = """\
diff --git a/agent.toml b/agent.toml
index 1..2 100644
--- a/agent.toml
+++ b/agent.toml
@@ -1,2 +1,2 @@
-model = "haiku"
+model = "opus"
 # same
@@ -9 +9,2 @@ [limits]
 pids = 100
+cpus = 2
\\ No newline at end of file
diff --git a/seed/notes.md b/seed/notes.md
new file mode 100644
--- /dev/null
+++ b/seed/notes.md
@@ -0,0 +1 @@
+++ looks like a header
"""

HEAD = "diff --git a/f.toml b/f.toml\n--- a/f.toml\n+++ b/f.toml\n@@ -1 +1,99 @@\n"


def kinds(file: DiffFile) -> list[str]:
    return [line.kind.value for line in file.lines]


def draw(file: DiffFile) -> str:
    return str(Renderer().environment.get_template("parts/diff.html").module.file_diff(file))  # type: ignore[attr-defined]


def test_a_diff_is_taken_apart_by_file_and_line() -> None:
    first, second = files_of(DIFF)
    assert (first.path, first.added, first.removed, first.status) == ("agent.toml", 2, 1, "")
    assert kinds(first) == ["hunk", "removed", "added", "same", "hunk", "same", "added", "note"]
    assert [(line.old, line.new) for line in first.lines][1:7] == [
        (1, None), (None, 1), (2, 2), (None, None), (9, 9), (None, 10),
    ]  # fmt: skip
    assert (second.path, second.added, second.removed, second.status) == ("seed/notes.md", 1, 0, "new")
    assert second.lines[-1].text == "++ looks like a header"
    assert files_of("") == []


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_no_strange_line_end_draws_a_line_of_its_own(end: str) -> None:
    (file,) = files_of(f"{HEAD}+harmless{end}-removed{end}diff --git a/x b/x{end}@@ -1 +1 @@\n")
    assert kinds(file) == ["hunk", "added"]
    assert end not in file.lines[1].text
    assert draw(file).count('class="diff-line ') == 2


NAMES = ["a b/agent.toml", "x b/x", 'quo"te.toml', "ünïcode.md", "deep/er/agent.toml", "- b", "日本/語.toml", "a\tb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_called_what_git_calls_it(tmp_path: Path, name: str) -> None:
    (first,) = files_of(_git_diff(tmp_path, {}, {name: "one\n"}))
    assert first.path == name.replace("\t", "\t")
    assert first.status == "new"


def test_what_git_says_of_renamed_deleted_and_binary_files_is_shown(tmp_path: Path) -> None:
    body = "".join(f"line {number}\n" for number in range(20))
    before = {"ü.md": body, "gone.md": "x\n", "run.sh": "y\n"}
    after = {"new name.md": body + "z\n", "bytes.bin": "\0\1\2", "run.sh": "y\n"}
    files = {file.path: file for file in files_of(_git_diff(tmp_path, before, after, executable="run.sh"))}
    assert (files["new name.md"].was, files["new name.md"].status) == ("ü.md", "renamed")
    assert files["gone.md"].status == "deleted"
    assert files["bytes.bin"].status == "new, binary"
    assert [line.text for line in files["run.sh"].lines] == ["old mode 100644", "new mode 100755"]
    assert "ü.md → new name.md" in draw(files["new name.md"])


def test_more_than_a_page_holds_is_named_and_drawn_alone() -> None:
    long = HEAD.replace("f.toml", "long.toml") + "+a = 1\n" * MAX_DRAWN
    short, second = files_of(f"{HEAD}+b = 1\n{long}")
    assert (short.drawn, second.drawn, short.is_long, second.is_long) == (True, False, False, True)
    assert second.added == MAX_DRAWN
    assert "too many to draw" in draw(second)
    (alone,) = files_of(f"{HEAD}+b = 1\n{long}", only="long.toml")
    assert alone.drawn
    assert draw(alone).count("diff-added") == MAX_DRAWN
    assert FOLD_LINES < MAX_DRAWN


def test_an_edit_is_drawn_without_numbers() -> None:
    file = edit_of("/state/a.py", "def f():\n    return 1\n", "def f():\n    return 2\n")
    assert (file.path, file.added, file.removed) == ("/state/a.py", 1, 1)
    assert 'data-n="' not in draw(file)
    assert edit_of("new", "", "a\nb").added == 2
    assert kinds(edit_of("same", "a", "a")) == []
    assert edit_of("long", "a\n" * 3000, "b\n").removed == 3001


def test_changed_words_are_marked_in_a_line_that_is_still_the_same_line() -> None:
    removed, added = changed_words('model = "haiku"', 'model = "opus"')
    assert ([tuple(one) for one in removed], [tuple(one) for one in added]) == ([(9, 14)], [(9, 13)])
    assert changed_words("a " * 500, "a " * 501) == ([], [])
    (file,) = files_of(f'{HEAD}-model = "haiku"\n+model = "opus"\n')
    marked = [piece.text for line in file.lines for piece in line.pieces if "diff-word" in piece.css]
    assert marked == ["haiku", "opus"]


def test_a_line_is_compared_with_the_one_that_it_became() -> None:
    old = ["description = 'reviews'", "model = 'haiku'", "gone = 1"]
    new = ["# who reviews", "description = 'reviews all'", "other = [2, 3, 4]", "model = 'opus'"]
    assert list(paired(old, new)) == [(0, 1), (1, 3)]
    assert list(paired(old * 20, new)) == []
    assert list(paired([], new)) == list(paired(old, [])) == []


def test_markup_in_a_diff_is_text() -> None:
    (file,) = files_of(f'{HEAD}+model = "<script>alert(1)</script>" # <b>\n'.replace("f.toml", "<img>.toml"))
    html = draw(file)
    assert "&lt;script&gt;" in html or "&lt;" in html
    assert not re.search(r"<(script|img|b)\b", html)


lines = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=60), max_size=20)


@settings(deadline=None)
@given(lines, lines, st.sampled_from(sorted(LEXERS)))
def test_whatever_was_edited_its_pieces_are_its_lines(old: list[str], new: list[str], suffix: str) -> None:
    file = edit_of(f"f.{suffix}", "\n".join(old), "\n".join(new))
    for line in file.lines:
        assert "".join(piece.text for piece in line.pieces) == line.text
        assert "\n" not in line.text
    after = [line.text for line in file.lines if line.kind in (LineKind.SAME, LineKind.ADDED)]
    assert len(after) <= len(new)


@settings(deadline=None)
@given(lines, st.sampled_from(sorted(LEXERS)))
def test_colours_lie_in_their_lines_in_order_and_apart(text: list[str], suffix: str) -> None:
    for line, stretches in zip(text, coloured(f"f.{suffix}", text), strict=True):
        edges = [edge for one in stretches for edge in (one.start, one.end)]
        assert edges == sorted(edges)
        assert all(one.start < one.end <= len(line) for one in stretches)


def test_what_is_large_or_unknown_stays_plain() -> None:
    assert coloured("f.toml", ["a = 1"])[0]
    assert coloured("f.unknown", ["a = 1"]) == [[]]
    assert coloured("f.toml", ["a = 1", "b = '" + "x" * 2000 + "'"]) == [[], []]
    assert not any(coloured("f.toml", ["a = 'xxxxxxxxxxxxxxxxxxxxxxxxx'"] * 3000))


def test_every_colour_can_be_read_on_every_ground() -> None:
    tokens = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\)", (STATIC / "diff.css").read_text()))
    inks = [name for name in tokens if name.startswith("syn-") or name == "diff-ink"]
    grounds = ["diff-bg", "diff-add", "diff-del", "diff-add-word", "diff-del-word"]
    pairs = [(ink, ground) for ink in inks for ground in grounds]
    pairs += [("diff-number", ground) for ground in grounds[:3]]
    pairs += [("diff-add-ink", "diff-add"), ("diff-del-ink", "diff-del")]
    pairs += [("diff-add-ink", "diff-bg"), ("diff-del-ink", "diff-bg")]
    assert len(inks) == 7
    for ink, ground in pairs:
        for one, other in zip(tokens[ink].split(", "), tokens[ground].split(", "), strict=True):
            assert _contrast(one, other) >= 4.5, (ink, ground, one, other)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's."""
    low, high = sorted(_luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _git_diff(folder: Path, before: dict[str, str], after: dict[str, str], *, executable: str = "") -> str:
    """What the supervisor stores for two such trees."""
    for name, files in (("a", before), ("b", after)):
        for path, text in files.items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    (folder / "a").mkdir(exist_ok=True)
    if executable:
        (folder / "b" / executable).chmod(0o755)
    shas = list(_committed(folder, ("a", "b")))
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--full-index")
    return _git(folder, "diff", *options, *shas)


def _committed(folder: Path, trees: tuple[str, ...]) -> Iterator[str]:
    _git(folder, "init", "--quiet", "--bare", "repo.git")
    for tree in trees:
        work = f"--work-tree={folder / tree}"
        _git(folder, work, "add", "--all", ".")
        yield _git(folder, "write-tree").strip()


def _git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    where = () if arguments[0] == "init" else (f"--git-dir={folder / 'repo.git'}",)
    done = subprocess.run(
        ["git", *where, *arguments], cwd=folder, env=environment, capture_output=True, check=True, timeout=30
    )
    return done.stdout.decode(errors="replace")
