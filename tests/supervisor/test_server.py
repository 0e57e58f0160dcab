"""Whether agents with user ids of their own reach the server's socket: tried as one of them, and told beforehand."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hive_supervisor.server import why_closed


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "redis"
    place.mkdir(mode=0o711)
    place.chmod(0o711)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "redis.sock"))
        server.listen()
        (place / "redis.sock").chmod(0o777)
        yield place / "redis.sock"


def another_user_reaches(path: Path) -> bool:
    """As a container does that was given the socket's folder, whatever is above it."""
    if (child := os.fork()) == 0:
        os.chdir(path.parent)
        os.setgroups([])
        os.setresgid(65_534, 65_534, 65_534)
        os.setresuid(65_534, 65_534, 65_534)
        with socket.socket(socket.AF_UNIX) as client:
            os._exit(0 if client.connect_ex(path.name) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user; run the tests as root")
@pytest.mark.parametrize(
    ("folder", "mode", "words"),
    [(0o711, 0o777, ""), (0o755, 0o770, "chmod o+w"), (0o750, 0o777, "chmod o+x"), (0o700, 0o700, "chmod o+x")],
)
def test_a_socket_that_is_closed_to_agents_is_told_with_what_to_do(
    listening: Path, folder: int, mode: int, words: str
) -> None:
    listening.chmod(mode)
    listening.parent.chmod(folder)
    found = why_closed(listening)
    assert words in found
    assert bool(found) != another_user_reaches(listening)


def test_what_is_not_there_is_not_told(tmp_path: Path) -> None:
    assert why_closed(tmp_path / "redis.sock") == ""
