"""Agents write their own files: nothing is followed on the way in, and nothing leads out on the way back."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from hive_cli.backup import agents, credentials
from hive_contracts.errors import Refused


def _state(root: Path, name: str = "ada") -> Path:
    state = root / "agents" / name / "state"
    state.mkdir(parents=True)
    return state


def test_a_state_comes_back_with_its_folders_links_and_modes(tmp_path: Path) -> None:
    state = _state(tmp_path)
    (state / "work" / "deep").mkdir(parents=True)
    (state / "work" / "deep" / "run.sh").write_text("true")
    (state / "work" / "deep" / "run.sh").chmod(0o4755)
    (state / "notes.md").write_text("remember")
    (state / "link").symlink_to("notes.md")
    assert agents.pack_state(tmp_path, "ada", tmp_path / "packed.tar") == []
    back = tmp_path / "back"
    back.mkdir()
    agents.unpack_state(tmp_path / "packed.tar", back)
    assert (back / "notes.md").read_text() == "remember"
    assert (back / "work" / "deep" / "run.sh").stat().st_mode & 0o7777 == 0o755  # no set-uid comes back
    assert (back / "link").readlink() == Path("notes.md")


def test_links_and_odd_files_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    state = _state(tmp_path)
    (state / "stolen").symlink_to(tmp_path / "secret")
    (state / "folder").symlink_to(tmp_path)
    os.mkfifo(state / "pipe")
    assert agents.pack_state(tmp_path, "ada", tmp_path / "packed.tar") == ["state of ada: pipe"]
    assert b"of the host" not in (tmp_path / "packed.tar").read_bytes()
    _state(tmp_path, "eve").rmdir()
    (tmp_path / "agents" / "eve" / "state").symlink_to(tmp_path)
    assert agents.pack_state(tmp_path, "eve", tmp_path / "eve.tar") == []
    assert not (tmp_path / "eve.tar").exists()


def test_what_a_harness_keeps_is_read_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    harness = tmp_path / "agents" / "ada" / "harness"
    harness.mkdir(parents=True)
    (harness / "harness.json").write_text("{}")
    (harness / "stolen.json").symlink_to(tmp_path / "secret")
    (harness / "huge.json").write_bytes(bytes(agents.MAX_HARNESS_BYTES + 1))
    assert dict(agents.harness_files(tmp_path, "ada")) == {"harness.json": b"{}"}
    assert list(agents.harness_files(tmp_path, "nobody")) == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a//b", ".", "work/link/evil"])
def test_a_path_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        for path, kind, link in (("work", tarfile.DIRTYPE, ""), ("work/link", tarfile.SYMTYPE, str(out))):
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.mode = kind, link, 0o755
            tar.addfile(info)
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    state = tmp_path / "agents" / "state"
    state.mkdir(parents=True)
    with pytest.raises(Refused):
        agents.unpack_state(tmp_path / "packed.tar", state)
    assert list(out.iterdir()) == []
    assert not list(tmp_path.glob("**/evil"))


def test_a_device_in_a_state_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        info = tarfile.TarInfo("disk")
        info.type = tarfile.BLKTYPE
        tar.addfile(info)
    with pytest.raises(Refused, match="is no file"):
        agents.unpack_state(tmp_path / "packed.tar", tmp_path)


@pytest.mark.parametrize("kept", [b"", b"[]", b"{", b"\xff", b'{"paused": false, "day": "x"}'])
def test_whatever_a_harness_kept_it_is_paused(kept: bytes) -> None:
    assert json.loads(agents.paused(kept))["paused"] is True


@pytest.mark.slow
def test_credentials_come_back_with_their_passphrase_only(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("model-key", "api-token", "redis-agent-ada", "redis-hive-broker.old"):
        (tmp_path / "secrets" / name).write_text(f"the {name}")
    (tmp_path / "agents" / "ada" / "state" / ".claude").mkdir(parents=True)
    (tmp_path / "agents" / "ada" / "state" / ".claude" / ".credentials.json").write_text("a login")
    (tmp_path / "agents" / "eve" / "state").mkdir(parents=True)
    (tmp_path / "agents" / "eve" / "state" / ".claude").symlink_to(tmp_path / "agents" / "ada" / "state" / ".claude")
    found = credentials.collect(tmp_path, ["ada", "eve"])
    assert found == {
        "secrets/api-token": b"the api-token",
        "secrets/model-key": b"the model-key",
        "agents/ada/state/.claude/.credentials.json": b"a login",
    }
    sealed = credentials.encrypt(found, "correct horse", backup="one-backup")
    assert b"the model-key" not in sealed
    assert credentials.decrypt(sealed, "correct horse", backup="one-backup") == found
    for passphrase, backup in (("wrong horse", "one-backup"), ("correct horse", "another-backup")):
        with pytest.raises(Refused, match="not the passphrase"):
            credentials.decrypt(sealed, passphrase, backup=backup)
    with pytest.raises(Refused, match="not the passphrase"):
        credentials.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), "correct horse", backup="one-backup")
    with pytest.raises(Refused, match="does not know"):
        credentials.decrypt(b"age-encryption.org/v1", "correct horse", backup="one-backup")
    with pytest.raises(Refused, match="8 characters"):
        credentials.encrypt({}, "short", backup="one-backup")


@pytest.mark.parametrize("name", ["redis-agent-ada", "x.partial", "../x", "a/b", ".x", "", "..", "x" * 300])
def test_a_name_that_is_no_credentials_is_not_taken(name: str) -> None:
    assert not credentials.is_kept(name)
