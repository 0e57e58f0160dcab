"""Images on disk: their names, what is half made, what is in use. No image is built here."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hive_supervisor.images import inputs, tree
from hive_supervisor.images.debian import Release
from hive_supervisor.images.errors import BadTarball, CannotBuild, ImageInUse, NoImage
from hive_supervisor.images.inputs import Inputs
from hive_supervisor.images.store import FACTS, ImageStore, write_facts
from hive_supervisor.images.whole import locked, sweep, whole

MADE_OF = Inputs(
    "x86_64", "0.1.0", "sources", ("click==8",), ("git",), Release("bookworm", "http://mirror"), "", "2.1.0"
)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", tmp_path / "agents")


def put(store: ImageStore, version: str, built_at: str = "2026-01-01T00:00:00+00:00") -> None:
    place = store.place(version)
    with locked(place), whole(place) as partial:
        (partial / "tree").mkdir()
        write_facts(partial, {}, size=1)
        facts = json.loads((partial / FACTS).read_text())
        (partial / FACTS).write_text(json.dumps(facts | {"built_at": built_at}))


def test_the_same_inputs_give_the_same_version_and_any_other_input_another() -> None:
    changes: list[dict[str, object]] = [
        {"architecture": "aarch64"},
        {"hyperhive": "0.2.0"},
        {"sources": "others"},
        {"pins": ("click==9",)},
        {"packages": ("git", "jq")},
        {"release": Release("trixie", "http://mirror")},
        {"claude": "2.2.0"},
        {"tarball": "abc"},
        {"recipe": 99},
    ]
    others = {replace(MADE_OF, **change).version for change in changes}  # type: ignore[arg-type]
    assert replace(MADE_OF).version == MADE_OF.version
    assert len(others) == len(changes)
    assert MADE_OF.version not in others
    assert MADE_OF.version.startswith("0.1.0-")


def test_packages_are_a_set_whose_order_says_nothing() -> None:
    one = inputs.debian_inputs(Release("bookworm"), ("nodejs", "golang"), None)
    assert one.version == inputs.debian_inputs(Release("bookworm"), ("golang", "nodejs", "git"), None).version


def test_all_that_the_harness_stands_on_is_pinned_as_it_is_here_and_nothing_else() -> None:
    names = {pin.partition("==")[0]: pin for pin in inputs.pins(sys.version_info[:2])}
    assert {"pydantic", "redis", "structlog", "mcp", "uvicorn", "pydantic-core"} <= names.keys()
    assert not {"pytest", "dbus-next", "fastapi", "hyperhive"} & names.keys()


def test_an_older_python_gets_what_only_it_needs() -> None:
    assert any(pin.startswith("async-timeout") for pin in inputs.pins((3, 11)))


def test_claude_code_that_is_not_there_is_said_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="hive setup claude"):
        inputs.claude_version(tmp_path)


def test_without_an_image_the_way_to_one_is_said(store: ImageStore) -> None:
    with pytest.raises(NoImage, match="hive image build"):
        store.find()
    assert store.all() == []


def test_the_newest_image_is_found_and_each_by_its_version(store: ImageStore) -> None:
    put(store, "1-a", "2026-02-01T00:00:00+00:00")
    put(store, "1-b", "2026-01-01T00:00:00+00:00")
    assert [image.version for image in store.all()] == ["1-a", "1-b"]
    assert store.tree() == store.directory / "1-a" / "tree"
    assert store.find("1-b").version == "1-b"
    with pytest.raises(NoImage, match="1-a, 1-b"):
        store.find("1-c")


def test_what_is_half_built_is_no_image(store: ImageStore) -> None:
    put(store, "1-a")
    with pytest.raises(RuntimeError), locked(store.place("1-b")), whole(store.place("1-b")) as partial:
        (partial / "tree").mkdir()
        assert [image.version for image in store.all()] == ["1-a"]
        raise RuntimeError
    assert [path.name for path in store.directory.glob("*/")] == ["1-a"]


def test_what_a_killed_build_left_goes_with_the_next_but_not_what_another_is_building(store: ImageStore) -> None:
    put(store, "1-a")
    story = (
        "import sys; from pathlib import Path; from hive_supervisor.images.whole import locked, whole\n"
        "target = Path(sys.argv[1])\n"
        "with locked(target), whole(target) as partial:\n"
        "    (partial / 'tree').mkdir(); print(partial, flush=True); input()"
    )
    command = [sys.executable, "-c", story, str(store.place("1-b"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout
        partial = Path(builder.stdout.readline().strip())
        sweep(store.directory)
        assert (partial / "tree").is_dir()
        builder.send_signal(signal.SIGKILL)
    sweep(store.directory)
    assert not partial.exists()
    assert [image.version for image in store.all()] == ["1-a"]


def test_two_builds_of_one_image_wait_for_each_other(store: ImageStore) -> None:
    story = (
        "import sys; from pathlib import Path; from hive_supervisor.images.whole import locked\n"
        "with locked(Path(sys.argv[1]), waiting=lambda: print('waiting', flush=True)): print('mine', flush=True)"
    )
    place = store.place("1-a")
    with locked(place):
        other = subprocess.Popen([sys.executable, "-c", story, str(place)], stdout=subprocess.PIPE, text=True)
        assert other.stdout
        assert other.stdout.readline() == "waiting\n"
    assert other.communicate(timeout=20)[0] == "mine\n"


def test_an_image_that_a_container_is_made_of_is_not_removed(store: ImageStore, tmp_path: Path) -> None:
    put(store, "1-a")
    folder = tmp_path / "agents" / "ada"
    folder.mkdir(parents=True)
    (folder / "unit.json").write_text(json.dumps({"image": "1-a", "command": []}))
    (folder / "broken.json").write_text("{")
    with pytest.raises(ImageInUse, match="ada"):
        store.remove("1-a")
    assert store.users("1-a") == ["ada"]
    (folder / "unit.json").unlink()
    store.remove("1-a")
    assert store.all() == []
    assert list(store.directory.glob("[!.]*")) == []


def test_pruning_leaves_the_newest_and_those_in_use(store: ImageStore, tmp_path: Path) -> None:
    for day in range(1, 6):
        put(store, f"1-{day}", f"2026-01-0{day}T00:00:00+00:00")
    folder = tmp_path / "agents" / "ada"
    folder.mkdir(parents=True)
    (folder / "unit.json").write_text('{"image": "1-1"}')
    assert [image.version for image in store.removable(2)] == ["1-3", "1-2"]


@pytest.mark.parametrize("place", ["etc", "usr/local"])
def test_nothing_is_written_through_a_link_in_a_root(tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(outside)
    with pytest.raises(BadTarball, match=place):
        tree.write(root, f"{place}/bin/passwd", "x")
    assert list(outside.iterdir()) == []


def test_a_file_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hostname").symlink_to(outside)
    tree.write(root, "etc/hostname", "hive\n")
    assert outside.read_text() == "kept"
    assert tree.read(root, "etc/hostname") == "hive\n"
    assert not (root / "etc/hostname").is_symlink()


def test_a_removal_that_was_killed_half_way_is_finished_by_the_next_build(store: ImageStore) -> None:
    put(store, "1-a")
    (store.directory / ".1-0.discarded" / "tree").mkdir(parents=True)
    sweep(store.directory)
    assert not (store.directory / ".1-0.discarded").exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--package", "-oDir=/"), ("--suite", "../x"), ("--mirror", "ext::sh -c id")]
)
def test_what_is_no_name_of_a_package_suite_or_mirror_reaches_no_tool(tmp_path: Path, option: str, value: str) -> None:
    command = [
        sys.executable,
        "-m",
        "hive_supervisor.images",
        "--data-dir",
        str(tmp_path),
        "build",
        f"{option}={value}",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=50, check=False)
    answer = json.loads(done.stdout)
    assert answer["code"] == "cannot_build"
    assert option in answer["error"]
    assert list(tmp_path.iterdir()) == []
