"""The archive: what was written comes back as it was, and anything else is refused whole, with nothing changed."""

import gzip
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hive_cli.backup import archive
from hive_cli.backup.archive import Header, Manifest
from hive_cli.backup.restore import check, check_target, restore
from hive_cli.paths import DataDir
from hive_cli.stack import lock
from hive_contracts.errors import HiveError, Refused
from hive_contracts.stores import HIVE_STORES
from hive_runtime.records.approvals import ApprovalWriter

Members = list[tuple[tarfile.TarInfo, bytes]]
HEADER = Header(hyperhive_backup=1, id="0123456789abcdef", made_at="2026-01-01T00:00:00+00:00")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A small whole backup without streams."""
    (tmp_path / "made").mkdir()
    ApprovalWriter(tmp_path / "made" / "approvals.sqlite").close()
    target = tmp_path / "good.tar.gz"
    with archive.writing(target, HEADER) as writer:
        writer.add_bytes(archive.STREAMS, b"")
        writer.add_file("stores/approvals.sqlite", tmp_path / "made" / "approvals.sqlite")
        writer.add_bytes("harness/ada/harness.json", b'{"cost_usd": 2.5}')
        writer.end(agents=["ada"], stores={"approvals.sqlite": HIVE_STORES["approvals.sqlite"]})
    return target


def unpack(path: Path) -> Manifest:
    return check(path)


def members(path: Path) -> Members:
    with tarfile.open(path) as tar:
        return [(info, (tar.extractfile(info) or io.BytesIO()).read()) for info in tar]


def rewrite(path: Path, found: Members) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in found:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def refused(path: Path, tmp_path: Path) -> str:
    """Why `restore` refuses it; asserts that nothing is left where it was to be."""
    data = DataDir(tmp_path / "target" / "hive")
    with pytest.raises(Refused) as raised:
        restore(path, data, redis=None, passphrase=None, tell=lambda number, text: None)
    assert not data.root.exists()
    assert not list((tmp_path / "target").glob("*")) and not list((tmp_path / "target").glob(".*"))
    return str(raised.value)


def test_what_was_written_comes_back(good: Path, tmp_path: Path) -> None:
    manifest = unpack(good)
    assert manifest.agents == ["ada"]
    assert set(manifest.members) == {
        "header.json",
        "streams.bin",
        "stores/approvals.sqlite",
        "harness/ada/harness.json",
    }
    assert good.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_restored_hive_has_its_stores_and_every_agent_paused(good: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "deep" / "down" / "hive")
    restore(good, data, redis=None, passphrase=None, tell=lambda number, text: None)
    with closing(sqlite3.connect(data.root / "approvals.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (HIVE_STORES["approvals.sqlite"],)
    for place in ("state", "harness"):
        kept = json.loads((data.root / "agents" / "ada" / place / "harness.json").read_text())
        assert kept["paused"] is True
    assert kept["cost_usd"] == 2.5
    assert not (data.root / "unpacked").exists()
    assert lock.running_pid(data) is None


def test_an_archive_that_ends_early_is_refused_wherever_it_ends(good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    for size in (0, 1, 9, 20, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        good.write_bytes(whole[:size])
        refused(good, tmp_path)


def test_an_archive_without_its_last_members_is_refused(good: Path, tmp_path: Path) -> None:
    found = members(good)
    for kept in range(1, len(found)):
        rewrite(good, found[:kept])
        assert "cut short" in refused(good, tmp_path)


def test_a_changed_byte_anywhere_is_refused(good: Path, tmp_path: Path) -> None:
    whole = bytearray(gzip.decompress(good.read_bytes()))
    for info, _ in members(good):
        if info.size:
            changed = bytearray(whole)
            changed[info.offset_data + info.size // 2] ^= 1
            good.write_bytes(gzip.compress(bytes(changed), 1))
            refused(good, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04" + os.urandom(500), gzip.compress(b"no tar at all" * 100)],
    ids=["empty", "text", "zip", "gzip of no tar"],
)
def test_a_file_of_something_else_is_named_as_such(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    assert "is no backup of hyperhive" in refused(path, tmp_path)


def test_somebody_elses_tar_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(Path(__file__), "README")
    assert "is no backup of hyperhive" in refused(path, tmp_path)


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    assert "there is no file" in refused(tmp_path / "none", tmp_path)


def _named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b"x" if kind == tarfile.REGTYPE else b""


@pytest.mark.parametrize(
    "member",
    [
        _named("../evil"),
        _named("/etc/passwd"),
        _named("harness/ada/../../../evil"),
        _named("harness/../evil"),
        _named("harness/ada/.hidden"),
        _named("stores/other.sqlite"),
        _named("configs/Ada.bundle"),
        _named("hive.toml", tarfile.SYMTYPE, "/etc/passwd"),
        _named("hive.toml", tarfile.LNKTYPE, "/etc/passwd"),
        _named("hive.toml", tarfile.FIFOTYPE),
        _named("hive.toml", tarfile.CHRTYPE),
        _named("harness", tarfile.DIRTYPE),
        _named("streams.bin"),
        _named("hive.toml"),
    ],
    ids=lambda member: f"{member[0].name} {member[0].type!r}",
)
def test_a_member_that_no_backup_has_is_refused(
    member: tuple[tarfile.TarInfo, bytes], good: Path, tmp_path: Path
) -> None:
    found = members(good)
    rewrite(good, [*found[:-1], member, found[-1]])
    refused(good, tmp_path)
    assert not (tmp_path / "evil").exists()


def test_what_follows_the_manifest_is_refused(good: Path, tmp_path: Path) -> None:
    rewrite(good, [*members(good), _named("hive.toml")])
    refused(good, tmp_path)


def _changed(path: Path, name: str, change: Callable[[dict[str, object]], object]) -> None:
    """The member as JSON, changed, with a manifest that goes with it."""
    found = members(path)
    texts = {info.name: content for info, content in found}
    document = json.loads(texts[name])
    change(document)
    texts[name] = json.dumps(document).encode()
    rewrite(path, [(info, texts[info.name]) for info, _ in found])


def test_a_newer_format_says_upgrade(good: Path, tmp_path: Path) -> None:
    _changed(good, "header.json", lambda header: header.update(hyperhive_backup=2, hyperhive="9.0.0"))
    reason = refused(good, tmp_path)
    assert "newer than this one" in reason
    assert "9.0.0" in reason


def test_a_newer_schema_says_upgrade(good: Path, tmp_path: Path) -> None:
    _changed(good, "manifest.json", lambda manifest: manifest.update(stores={"approvals.sqlite": 99}))
    assert "has schema 99" in refused(good, tmp_path)


def test_a_store_that_is_named_and_not_there_is_refused(good: Path, tmp_path: Path) -> None:
    _changed(good, "manifest.json", lambda manifest: manifest.update(stores={"broker.sqlite": 1}))
    assert "does not hold it" in refused(good, tmp_path)


def test_streams_that_are_not_a_hives_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    with archive.writing(target, HEADER) as writer:
        writer.add_bytes(archive.STREAMS, b"\0\0\0\x05" + bytes(16) + b"other")
        writer.end()
    assert "streams" in refused(target, tmp_path)


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), archive.writing(tmp_path / "x", HEADER):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Refused, match="cannot write"), archive.writing(Path("/proc/x.tar.gz"), HEADER):
        pass


def test_a_target_that_is_in_use_is_refused(good: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "hive")
    data.root.mkdir()
    check_target(data)
    with lock.held(data), pytest.raises(Refused, match="a hive runs on"):
        check_target(data)
    with pytest.raises(Refused, match="is not empty"):
        check_target(data)
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (good, tmp_path / "link"):
        with pytest.raises(Refused, match="is no directory"):
            check_target(DataDir(place))
    with pytest.raises(HiveError, match="cannot write in /proc"):
        restore(good, DataDir(Path("/proc/x/hive")), redis=None, passphrase=None, tell=lambda number, text: None)
