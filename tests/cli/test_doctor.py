"""`hive doctor`: what it says follows the machine, and its exit code what was asked for."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hive_cli.__main__ import run

pytestmark = pytest.mark.system


def doctor(data: Path, *words: str, **environment: str) -> tuple[int, dict[tuple[str, str], dict[str, str]], Any]:
    """The exit code, the findings by part and what, and all."""
    own = {"PATH": os.environ["PATH"], "HOME": str(data), "HIVE_DATA_DIR": str(data), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "hive_cli", "doctor", "--json", *words],
        env=own,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    found = json.loads(done.stdout)
    return done.returncode, {(one["part"], one["what"]): one for one in found["findings"]}, found


def test_it_names_what_it_finds_for_every_part_and_changes_nothing(tmp_path: Path) -> None:
    code, found, whole = doctor(tmp_path, "--runtime", "process", HIVE_DASHBOARD_PORT="0")
    assert code == 0
    assert whole["runtime"] == "process"
    assert {part for part, _ in found} >= {"all", "nspawn", "image", "process", "docker"}
    assert all(one["fix"] or one["what"] == "runtime" for one in found.values() if one["state"] == "lacks")
    assert list(tmp_path.iterdir()) == []


def test_programs_that_are_not_there_are_named_with_their_packages(tmp_path: Path) -> None:
    _, found, _ = doctor(tmp_path, PATH=str(tmp_path), HIVE_DASHBOARD_PORT="0")
    fixes = {what: found[part, what]["fix"] for part, what in found if found[part, what]["state"] == "lacks"}
    assert fixes["systemd-nspawn"] == "apt install systemd-container"
    assert fixes["debootstrap"] == "apt install debootstrap"
    assert fixes["bubblewrap"] == "apt install bubblewrap"
    assert fixes["image"] == "hive image build"


def test_it_fails_when_the_wanted_runtime_cannot_run(tmp_path: Path) -> None:
    code, found, whole = doctor(
        tmp_path, "--runtime", "docker", HIVE_DASHBOARD_PORT="0", DOCKER_HOST=f"unix://{tmp_path}/none"
    )
    assert code == 1
    assert (whole["ok"], whole["runtime"]) == (False, "")
    assert str(tmp_path / "none") in found["docker", "runtime"]["text"]


def test_a_bus_that_answers_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "bus"))
        server.listen()
        for name, state in (("bus", "ok"), ("none", "lacks")):
            address = f"unix:path={tmp_path / name}"
            _, found, _ = doctor(tmp_path, HIVE_SUPERVISOR_SYSTEMD_BUS=address, HIVE_DASHBOARD_PORT="0")
            assert found["nspawn", "D-Bus"]["state"] == state


def test_a_port_that_is_taken_fails_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        code, found, _ = doctor(tmp_path, "--runtime", "process", HIVE_DASHBOARD_PORT=port)
    assert code == 1
    assert found["all", "port"]["state"] == "lacks"
    assert "--port" in found["all", "port"]["fix"]


def test_a_machine_that_only_lacks_something_is_not_said_to_be_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HIVE_DASHBOARD_PORT", str(server.getsockname()[1]))
        assert run(["--data-dir", str(tmp_path), "doctor", "port"]) == 1
    assert "Nothing is wrong, but a hive cannot start here yet" in capsys.readouterr().out


def test_an_image_is_found_where_the_settings_say(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "0.1.0-abc"
    place.mkdir(parents=True)
    (place / "image.json").write_text(json.dumps({"built_at": "2026-01-01T00:00:00+00:00", "size": 1}))
    _, found, _ = doctor(tmp_path, HIVE_IMAGES_DIR=str(tmp_path / "elsewhere"), HIVE_DASHBOARD_PORT="0")
    assert found["image", "image"]["text"].startswith("0.1.0-abc in ")


@pytest.mark.parametrize("setting", ["HIVE_IMAGES_KEEP", "HIVE_SUPERVISOR_LIMIT_PIDS"])
def test_a_mistake_in_the_settings_is_said_and_not_covered_up(tmp_path: Path, setting: str) -> None:
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HIVE_DATA_DIR": str(tmp_path), setting: "many"}
    command = [sys.executable, "-m", "hive_cli", "doctor"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert setting in done.stderr
