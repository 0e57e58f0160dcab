"""A real image, looked at from inside: by systemd-nspawn, and by Docker, which got the same tree."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.built_image import built_image
from tests.support.docker_engine import docker_engine
from tests.support.processes import command_line, descendants, still_alive
from tests.support.waiting import wait_until

from hive_supervisor.images import debian, docker
from hive_supervisor.images.build import Progress, Wanted, build
from hive_supervisor.images.store import Image, ImageStore
from hive_supervisor.images.whole import sweep

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
"""It is built when the sources changed, which takes a minute or two."""

LOOK = """
id agent; id harness
/opt/hive/bin/python -c 'import hive_harness, sys; print(hive_harness.__file__, hive_harness.__cached__)'
git --version; rg --version | head -n 1; curl --version | head -n 1
/opt/hive/bin/python -m hive_harness 2>&1
find / -xdev -type f -perm /6000
"""


@pytest.fixture(scope="module")
def image() -> Image:
    return built_image()


def inside(image: Image, script: str) -> str:
    """What `script` prints in a container of it."""
    # fmt: off
    command = [
        "systemd-nspawn", "--quiet", f"--directory={image.root}", "--machine=hive-image-test", "--register=no",
        "--keep-unit", "--read-only", "--private-network", "--console=pipe", "sh", "-c", script,
    ]
    # fmt: on
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    shutil.rmtree("/run/systemd/nspawn/propagate/hive-image-test", ignore_errors=True)
    return done.stdout or done.stderr


def test_inside_are_the_harness_the_tools_and_the_two_users(image: Image) -> None:
    lines = inside(image, LOOK).splitlines()
    assert lines[0].startswith("uid=1000(agent) gid=1000(agent)"), lines
    assert lines[1] == "uid=1001(harness) gid=1001(harness) groups=1001(harness),1000(agent)"
    assert lines[2].startswith("/opt/hive/lib/python3")
    assert [line.split()[0] for line in lines[3:6]] == ["git", "ripgrep", "curl"]
    assert "HIVE_STATE_DIR is not set" in lines[6]
    assert lines[7:] == []


def test_nothing_in_it_tells_when_or_where_it_was_built(image: Image) -> None:
    assert (image.root / "etc/machine-id").read_text() == ""
    assert (image.root / "etc/resolv.conf").read_text() == ""
    for place in ("var/log", "var/cache/apt", "var/lib/apt/lists", "tmp", "run", "dev"):
        assert list((image.root / place).iterdir()) == []
    records = [path.read_text() for path in image.root.glob("opt/hive/lib/*/site-packages/*.dist-info/RECORD")]
    assert len(records) > 10
    assert not any("bin/" in record.split(",")[0] for text in records for record in text.splitlines())
    newest = max(os.lstat(path).st_mtime for path in image.root.rglob("*"))
    assert newest <= int(os.environ.get("SOURCE_DATE_EPOCH") or 1_767_225_600)


def test_what_is_there_is_not_built_again_and_the_command_line_shows_it(image: Image, tmp_path: Path) -> None:
    environment = os.environ | {"HIVE_IMAGES_DIR": str(image.root.parents[1]), "HIVE_DATA_DIR": str(tmp_path)}

    def hive(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hive_cli", "image", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    built = hive("build", "--no-claude", "--json")
    assert built.returncode == 0, built.stderr
    found = json.loads(built.stdout)
    assert (found["version"], found["new"]) == (image.version, False)
    assert image.version in hive("list").stdout
    listed = json.loads(hive("list", "--json").stdout)
    made_of = {one["version"]: one["made_of"] for one in listed["images"]}
    assert made_of[image.version]["sources"] == image.facts["sources"]
    (tmp_path / "agents/ada").mkdir(parents=True)
    (tmp_path / "agents/ada/unit.json").write_text(json.dumps({"image": image.version}))
    refused = hive("remove", image.version, "--yes")
    assert refused.returncode == 4
    assert "in use by ada" in refused.stderr
    unknown = hive("remove", "no-such", "--yes")
    assert unknown.returncode == 3


def test_the_same_tree_gives_the_same_archive(image: Image) -> None:
    digests = set()
    for _ in range(2):
        with docker.tar_stream(image) as stream:
            digests.add(hashlib.sha256(stream.read()).hexdigest())
    assert len(digests) == 1


def test_a_root_of_ones_own_is_as_good(image: Image, tmp_path: Path) -> None:
    tarball = tmp_path / "root.tar"
    with docker.tar_stream(image) as stream, tarball.open("wb") as file:
        shutil.copyfileobj(stream, file)
    store = ImageStore(tmp_path / "images", tmp_path / "agents")
    progress = Progress(step=lambda *_: None, detail=lambda _: None)
    made = build(store, Wanted(debian.release(), tarball=tarball), progress).image
    assert made.version != image.version
    said = inside(made, "/opt/hive/bin/python -m hive_harness 2>&1")
    assert "HIVE_STATE_DIR is not set" in said


def test_a_build_that_is_killed_leaves_no_image_no_process_and_no_mount(image: Image, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hive_supervisor.images", "--data-dir", str(tmp_path)]
    with subprocess.Popen([*command, "build"], stdout=subprocess.PIPE, text=True) as builder:
        line = next(line for line in builder.stdout or () if "apt update" in line)
        assert line
        wait_until(lambda: any("apt-get" in command_line(pid) for pid in descendants(builder.pid)))
        started = descendants(builder.pid)
        builder.kill()
    wait_until(lambda: not still_alive(started))
    images = tmp_path / "images"
    assert [path.name for path in images.glob(".*/")] == [f".{image.version}.partial"]
    assert str(images) not in Path("/proc/self/mounts").read_text()
    listed = subprocess.run([*command, "list"], stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(listed.stdout)["done"]["images"] == []
    sweep(images)
    assert list(images.glob(".*/")) == []


def test_docker_runs_the_same_tree(image: Image) -> None:
    with docker_engine() as engine:
        found = docker.give(image, {"DOCKER_HOST": f"unix://{engine.socket}"})
        assert found.startswith("sha256:")
        options = ("--rm", "--network=none", "--read-only", "--entrypoint=/opt/hive/bin/python")
        program = "import hive_harness.service, os; print(hive_harness.__name__, os.getcwd())"
        assert engine.docker("run", *options, "hyperhive:latest", "-c", program) == "hive_harness /state"
