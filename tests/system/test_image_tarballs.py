"""Roots from tarballs that nobody vouches for: what is bad is refused in a sentence, and nothing lands outside."""

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hive_contracts.errors import HiveError
from hive_supervisor.images import debian
from hive_supervisor.images.build import Progress, Wanted, build, unpack
from hive_supervisor.images.errors import BadTarball, CannotBuild
from hive_supervisor.images.store import ImageStore

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="roots are unpacked as root; run the tests as root"),
]
SILENT = Progress(step=lambda *_: None, detail=lambda _: None)


def entry(name: str, kind: bytes = tarfile.REGTYPE, *, to: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, to, mode
    return found


def python(version: str) -> tarfile.TarInfo:
    return entry("usr/bin/python3", tarfile.SYMTYPE, to=f"python{version}")


def tarball(path: Path, *entries: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for one in entries:
            one.size = len(content) if one.isreg() else 0
            archive.addfile(one, io.BytesIO(content) if one.isreg() else None)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    "hostile",
    [
        entry("../outside"),
        entry("a/../../outside"),
        entry("/outside"),
        entry("link", tarfile.LNKTYPE, to="/etc/passwd"),
        entry("link", tarfile.LNKTYPE, to="../outside"),
    ],
    ids=lambda one: f"{one.name} {one.linkname}",
)
def test_an_entry_that_leads_out_is_refused(tmp_path: Path, root: Path, hostile: tarfile.TarInfo) -> None:
    with pytest.raises(BadTarball, match="leads out of it"):
        unpack(tarball(tmp_path / "bad.tar.gz", entry("fine"), hostile), root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "root"]


def test_a_link_to_the_machine_leads_back_into_the_root(tmp_path: Path, root: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    links = [entry("a", tarfile.SYMTYPE, to=str(outside)), entry("b", tarfile.SYMTYPE, to="../outside")]
    made = tarball(tmp_path / "bad.tar.gz", *links, entry("a/evil"), entry("b/evil"))
    with pytest.raises(BadTarball):
        unpack(made, root)
    assert list(outside.iterdir()) == []


def test_devices_are_left_out_and_no_file_makes_its_runner_another(tmp_path: Path, root: Path) -> None:
    device = entry("disk", tarfile.BLKTYPE, mode=0o666)
    device.devmajor = 8
    unpack(tarball(tmp_path / "a.tar.gz", device, entry("pipe", tarfile.FIFOTYPE), entry("su", mode=0o6755)), root)
    assert [path.name for path in root.iterdir()] == ["su"]
    assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755


def test_what_is_no_tar_file_or_half_of_one_is_refused(tmp_path: Path, root: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no tar")
    with pytest.raises(BadTarball, match="no whole tar file"):
        unpack(text, root)
    made = tarball(tmp_path / "a.tar.gz", *(entry(f"f{number}") for number in range(3)), content=os.urandom(40_000))
    made.write_bytes(made.read_bytes()[:50_000])
    with pytest.raises(BadTarball, match="no whole tar file"):
        unpack(made, root)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((entry("etc", tarfile.DIRTYPE, mode=0o755),), "no Python 3"),
        ((python("3.9"),), "3.11 or newer"),
        ((entry("etc", tarfile.SYMTYPE, to="/etc"),), "is no directory in this root"),
        (
            (entry("opt", tarfile.SYMTYPE, to="/opt"), python("3.11")),
            "/opt",
        ),
    ],
    ids=["no python", "old python", "etc a link", "opt a link"],
)
def test_a_root_without_what_agents_need_is_refused_and_nothing_stays(
    tmp_path: Path, entries: tuple[tarfile.TarInfo, ...], said: str
) -> None:
    passwd = Path("/etc/passwd").read_bytes()
    store = ImageStore(tmp_path / "images", tmp_path / "agents")
    with pytest.raises(BadTarball, match=said):
        build(store, Wanted(debian.Release("-"), tarball=tarball(tmp_path / "a.tar.gz", *entries)), SILENT)
    assert list(store.directory.glob("[!.]*")) == []
    assert list(store.directory.glob(".*.partial")) == []
    assert Path("/etc/passwd").read_bytes() == passwd


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_too_small_is_said_before_anything_is_done(small_disk: Path) -> None:
    store = ImageStore(small_disk / "images", small_disk / "agents")
    with pytest.raises(CannotBuild, match=r"0\.0 GB free.*\[images\] dir"):
        build(store, Wanted(debian.Release("bookworm", "http://127.0.0.1:9/")), SILENT)
    assert list(store.directory.glob("[!.]*")) == []


def test_a_disk_that_fills_up_leaves_nothing_half_built(small_disk: Path, tmp_path: Path) -> None:
    store = ImageStore(small_disk / "images", small_disk / "agents")
    made = tarball(tmp_path / "a.tar.gz", entry("zeros"), content=bytes(20_000_000))
    assert made.stat().st_size < 100_000
    with pytest.raises(HiveError, match="No space left on device"):
        build(store, Wanted(debian.Release("-"), tarball=made), SILENT)
    assert list(store.directory.glob("[!.]*")) == []
    assert list(store.directory.glob(".*.partial")) == []


def test_a_missing_debootstrap_is_named_with_the_way_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match="apt install debootstrap"):
        build(ImageStore(tmp_path / "images", tmp_path / "agents"), Wanted(debian.Release("bookworm")), SILENT)


def test_a_mirror_that_does_not_answer_is_named_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ImageStore(tmp_path / "images", tmp_path / "agents")
    with pytest.raises(HiveError, match="debootstrap failed"):
        build(store, Wanted(debian.Release("bookworm", "http://127.0.0.1:9/")), SILENT)
    assert list(store.directory.glob("[!.]*")) == []
    assert list(store.directory.glob(".*.partial")) == []
