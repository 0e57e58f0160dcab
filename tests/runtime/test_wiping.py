"""What a hostile agent may leave behind, and that all of it goes and nothing else."""

import contextlib
import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hive_contracts.errors import Unavailable
from hive_runtime.wiping import wipe

DEEP = 1100
"""Deeper than Python nests calls, and than a process may have files open."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must be there afterwards."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("not the agent's")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "ada"
    made.mkdir()
    return made


def dig(top: Path, depth: int) -> None:
    """Folders in each other; the path to the last is longer than any that the kernel takes."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 20, dir_fd=here)
        there = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_links_go_and_what_they_lead_to_stays(tree: Path, outside: Path) -> None:
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "file")
    (tree / "up").symlink_to("..")
    (tree / "round").symlink_to(tree)
    os.link(outside / "file", tree / "hard")
    wipe(tree)
    assert not tree.exists()
    assert (outside / "file").read_text() == "not the agent's"


def test_a_link_in_its_own_place_goes_alone(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "ada").symlink_to(outside)
    wipe(tmp_path / "ada")
    assert not os.path.lexists(tmp_path / "ada")
    assert (outside / "file").exists()


@pytest.mark.slow
def test_trees_go_however_deep_they_are(tree: Path) -> None:
    dig(tree, DEEP)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        wipe(tree)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not tree.exists()


def test_odd_names_and_kinds_go(tree: Path) -> None:
    for name in ("-rf", "a\nb", os.fsdecode(b"\xff\xfe"), "*", " ", "\\", "x" * 255, ".wiped-0", ".wiped-1"):
        inner = tree / name / "inner"
        inner.mkdir(parents=True)
        (inner / "file").touch()
    os.mkfifo(tree / "fifo")
    (tree / ".wiped-2").touch()
    if os.geteuid() == 0:
        os.mknod(tree / "device", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    wipe(tree)
    assert not tree.exists()


def test_folders_that_their_owner_closed_go(tree: Path) -> None:
    """Of an ordinary user's, where the hive runs as that."""
    closed = tree / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "65534", tree.parent], check=True)
    closed.chmod(0)
    closed.parent.chmod(0o500)
    if (child := os.fork()) == 0:
        os.chdir(tree.parent)
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        with contextlib.suppress(Unavailable):
            wipe(Path(tree.name))
        os._exit(0)
    os.waitpid(child, 0)
    assert not tree.exists()


def test_it_may_be_done_again(tree: Path) -> None:
    wipe(tree)
    wipe(tree)
    assert not tree.exists()


@pytest.fixture
def mounted(tree: Path, outside: Path) -> Iterator[Path]:
    """Somebody else's folder, mounted in the tree."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount; run the tests as root")
    point = tree / "a b\tü" / "there"
    point.mkdir(parents=True)
    (tree / "first").touch()
    subprocess.run(["mount", "--bind", outside, point], check=True)
    yield point
    subprocess.run(["umount", "--lazy", point], check=False)


def test_what_is_mounted_in_it_is_left_alone_and_named(tree: Path, outside: Path, mounted: Path) -> None:
    with pytest.raises(Unavailable, match=r"is mounted in it; unmount that") as refused:
        wipe(tree)
    assert str(mounted) in str(refused.value)
    assert (outside / "file").exists()
    assert (tree / "first").exists(), "all or nothing"
    subprocess.run(["umount", mounted], check=True)
    wipe(tree)
    assert not tree.exists()
    assert (outside / "file").exists()
