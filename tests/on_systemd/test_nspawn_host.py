"""Whether nspawn can run here, on a machine where it can: what is missing is said in one sentence."""

import os
import shutil
from pathlib import Path

import pytest

from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.runtimes import cgroups, nspawn_host
from hive_supervisor.runtimes.choose import Place, choose

pytestmark = pytest.mark.system


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Of a hive that has built one."""
    tree = tmp_path / "images" / "v1" / "tree"
    tree.mkdir(parents=True)
    (tree.parent / "image.json").write_text('{"built_at": "2026-01-01T00:00:00+00:00", "size": 1}')
    return tree


def place(folder: Path, runtime: RuntimeChoice = RuntimeChoice.AUTO, bus: str = "") -> Place:
    found = SupervisorSettings(runtime=runtime)
    return Place(folder, found.model_copy(update={"systemd_bus": bus}) if bus else found, "0123456789ab")


def test_with_an_image_it_is_the_strongest(tmp_path: Path, images: Path) -> None:
    assert images.is_dir()
    found = choose(place(tmp_path))
    assert found.runtime.name == "nspawn"
    assert found.reason == "the strongest there is"
    assert bool(found.runtime.warning) == (not {"memory", "cpu", "pids"} <= cgroups.controllers())


def test_without_an_image_it_says_how_to_make_one(tmp_path: Path) -> None:
    assert "hive image build" in nspawn_host.probe(place(tmp_path))


def test_without_a_bus_it_says_where_it_looked(tmp_path: Path, images: Path) -> None:
    assert images.is_dir()
    said = nspawn_host.probe(place(tmp_path, bus=f"unix:path={tmp_path}/bus"))
    assert said.startswith(f"D-Bus does not answer at unix:path={tmp_path}/bus")


def test_without_the_program_it_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("systemd-nspawn") is None
    assert "apt install systemd-container" in nspawn_host.probe(place(tmp_path))


def test_another_user_than_root_is_told_so(tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        assert nspawn_host.probe(place(tmp_path)) == "it needs root; start the hive as root"
    finally:
        os.seteuid(0)
