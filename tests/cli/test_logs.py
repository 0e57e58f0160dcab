import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hive_cli.__main__ import run
from hive_cli.commands.logs import follow_file, pretty

LINE = json.dumps({"event": "redis is away", "level": "warning", "timestamp": "2026-01-02T03:04:05Z", "stream": "s"})


@pytest.fixture
def hive(tmp_path: Path) -> Callable[..., int]:
    (tmp_path / "logs" / "agents").mkdir(parents=True)
    return lambda *arguments: run(["--data-dir", str(tmp_path), *arguments])


def test_logs_are_read_while_the_hive_is_down(
    hive: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs" / "broker.log").write_text(f"first\n{LINE}\n")
    assert hive("logs", "broker", "-n", "1") == 0
    out = capsys.readouterr().out
    assert "warning redis is away  stream=s" in out
    assert "first" not in out


def test_logs_of_an_agent_are_found_by_its_name(
    hive: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs" / "agents" / "ada.log").write_text(LINE + "\n")
    assert hive("logs", "ada", "--json") == 0
    assert capsys.readouterr().out == LINE + "\n"


def test_an_unknown_log_is_exit_3_and_names_the_known(
    hive: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs" / "broker.log").touch()
    assert hive("logs", "bob") == 3
    assert "there is no log of 'bob'; there are broker" in capsys.readouterr().err


def test_no_logs_at_all_say_how_to_start(hive: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert hive("logs", "broker") == 3
    assert "start a hive with `hive up`" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["plain text", '["a list"]', '{"no": "event"}'])
def test_a_line_of_another_shape_is_shown_as_it_is(line: str) -> None:
    assert pretty(line) == line


def test_following_goes_on_in_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n")
    file = path.open()
    file.seek(0, 2)
    with closing(follow_file(path, file)) as lines:
        writer = threading.Thread(target=_write_rotate_write, args=(path,))
        writer.start()
        assert [next(lines), next(lines)] == ["before\n", "after\n"]
    writer.join()


def _write_rotate_write(path: Path) -> None:
    with path.open("a") as file:
        file.write("bef")
        file.flush()
        file.write("ore\n")
    path.rename(path.with_suffix(".1"))
    path.write_text("after\n")
