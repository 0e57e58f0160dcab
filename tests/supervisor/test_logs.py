"""Logs of containers stay within their bounds, under whoever writes, and their last lines stay readable."""

import subprocess
from pathlib import Path

from tests.support.waiting import wait_until

from hive_supervisor.logs import LogBounds
from hive_supervisor.runtimes.log_tail import earlier, tail

KIB = 1024


def test_a_log_that_is_too_long_is_cut_and_its_newest_part_kept(tmp_path: Path) -> None:
    path = tmp_path / "ada.log"
    path.write_text("".join(f"line {number}\n" for number in range(10_000)))
    LogBounds(tmp_path, 16 * KIB).hold()
    assert path.stat().st_size == 0
    assert earlier(path).stat().st_size == 8 * KIB
    assert tail(path, 2) == ("line 9998", "line 9999")
    with path.open("a") as appending:
        appending.write("line 10000\n")
    assert tail(path, 2) == ("line 9999", "line 10000")
    LogBounds(tmp_path, 16 * KIB).hold()
    assert path.read_text() == "line 10000\n", "what is short stays"


def test_who_writes_all_the_time_goes_on_in_what_was_cut(tmp_path: Path) -> None:
    """As back-ends let containers write: the file is opened once, to append."""
    path = tmp_path / "ada.log"
    bounds = LogBounds(tmp_path, 256 * KIB)
    with path.open("ab") as log_file:
        writer = subprocess.Popen(["sh", "-c", "while :; do echo talking talking; done"], stdout=log_file)
    try:
        for _ in range(3):
            wait_until(lambda: path.stat().st_size > 128 * KIB, within_s=30)
            bounds.hold()
            assert earlier(path).stat().st_size == 128 * KIB
        wait_until(lambda: path.stat().st_size > 0)
        assert path.read_bytes()[:1] != b"\0", "no hole is left where it was cut"
    finally:
        writer.kill()
        writer.wait()


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 100_000)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ada.log").symlink_to(secret)
    LogBounds(tmp_path / "logs", 2).hold()
    assert secret.stat().st_size == 100_000
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["ada.log"]
