"""An agent's repository on the host, and all that may not come into it. Real git on both sides."""

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.supervisor.clone import Clone, clone_of

from hive_contracts.agent_file import InvalidAgentFile, decode
from hive_contracts.approvals import MAX_BUNDLE_BYTES
from hive_contracts.errors import HiveError
from hive_contracts.models import AgentConfig, AgentLimits, Effort, McpServer, Network, RestartPolicy
from hive_contracts.permissions import PermissionPolicy, ToolPolicy
from hive_supervisor.configs.render import render
from hive_supervisor.configs.repository import ConfigRepository, Tag
from hive_supervisor.configs.tree import MAX_FILES
from hive_supervisor.errors import ConfigRefused

pytestmark = pytest.mark.system

FIRST = {"agent.toml": b'description = "reviews"\n', "seed/notes.md": b"remember\n"}
PLAIN = ("100644", "agent.toml", b"model = 'haiku'\n")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository and its clone, made by git once; each test has copies."""
    folder = tmp_path_factory.mktemp("begun")
    made = ConfigRepository(folder / "configs" / "ada.git")
    made.create(FIRST, author="operator", message="Begin")
    clone_of(made.bundle(), folder / "container")
    return folder


@pytest.fixture
def repository(begun: Path, tmp_path: Path) -> ConfigRepository:
    shutil.copytree(begun / "configs", tmp_path / "configs")
    return ConfigRepository(tmp_path / "configs" / "ada.git")


@pytest.fixture
def clone(begun: Path, tmp_path: Path) -> Clone:
    shutil.copytree(begun / "container", tmp_path / "container")
    return Clone(tmp_path / "container" / "config")


@pytest.mark.parametrize(
    "config",
    [
        AgentConfig(),
        AgentConfig(
            model="opus",
            effort=Effort.HIGH,
            policy=ToolPolicy(tools=("Read",), bash_patterns=(), permission_policy=PermissionPolicy.DENY),
            recipients=(),
            mcp_servers={"search": McpServer(command="x", env=("A",)), "far": McpServer(url="http://far/")},
            network=Network.NONE,
            restart=RestartPolicy.NEVER,
            limits=AgentLimits(cpus=0.5, turn_tokens=0),
            environment={"TZ": "UTC", "QUOTED": 'a "b" \\ c'},
        ),
    ],
)
def test_a_configuration_comes_back_from_the_file_that_is_made_of_it(config: AgentConfig) -> None:
    assert decode(render(config)).config == config


def objects(repository: ConfigRepository) -> set[str]:
    return {str(path) for path in repository.path.rglob("*") if path.is_file()}


def test_it_is_made_once_with_its_first_commit_on_main(repository: ConfigRepository) -> None:
    first = repository.main()
    assert first is not None
    assert repository.create({"agent.toml": b"other = 1"}, author="operator", message="Again") == first
    assert repository.files(first) == FIRST
    assert repository.agent_file(first).description == "reviews"
    assert [commit.author for commit in repository.history(first)] == ["operator"]
    assert not list(repository.path.glob("hooks/*"))


def test_a_commit_from_a_container_is_pinned_and_later_amends_change_nothing(
    repository: ConfigRepository, clone: Clone
) -> None:
    sha = clone.write(agent_toml="model = 'opus'\n", prompt_md="be kind\n")
    assert repository.propose("p1", clone.bundle(sha), sha[:9]) == sha
    clone.write(agent_toml="model = 'evil'\n")
    clone.git("commit", "--quiet", "--amend", "--message", "amended")
    assert repository.tagged(Tag.PROPOSAL, "p1") == sha
    assert repository.agent_file(sha).model == "opus"
    assert repository.main() != sha
    diff = repository.diff(repository.main(), sha)
    assert "+model = 'opus'" in diff
    assert "+be kind" in diff
    assert repository.propose("p1", clone.bundle(sha), sha) == sha, "a repeated proposal is the same"
    assert repository.tags(Tag.PROPOSAL) == ["p1"]


def test_main_moves_only_from_where_it_was_thought_to_be(repository: ConfigRepository) -> None:
    first = repository.main()
    second = repository.commit({"agent.toml": b""}, parent=first, author="operator", message="Second")
    other = repository.commit({"agent.toml": b"# other"}, parent=first, author="operator", message="Other")
    repository.move_main(second, before=first)
    repository.move_main(second, before=first)
    with pytest.raises(ConfigRefused, match="any more"):
        repository.move_main(other, before=first)
    assert repository.main() == second


def test_a_tag_tells_what_became_of_it_and_is_never_moved(repository: ConfigRepository) -> None:
    first = repository.main()
    assert first is not None
    second = repository.commit({"agent.toml": b""}, parent=first, author="operator", message="Second")
    repository.tag(Tag.FAILED, "a1", first, "it did not start:\n# last line\nno such model")
    repository.tag(Tag.FAILED, "a1", first, "again")
    assert repository.note(Tag.FAILED, "a1") == "it did not start:\n# last line\nno such model"
    with pytest.raises(ConfigRefused, match="already"):
        repository.tag(Tag.FAILED, "a1", second)
    with pytest.raises(ConfigRefused, match="not the name of an approval"):
        repository.tag(Tag.FAILED, "../../heads/main", second)


@pytest.mark.parametrize("commit", ["main", "HEAD", "refs/heads/sent", "v1.0", "--all", "abc", "g" * 40, "0" * 41, ""])
def test_only_a_sha_names_a_commit(repository: ConfigRepository, clone: Clone, commit: str) -> None:
    sha = clone.write(agent_toml="")
    with pytest.raises(ConfigRefused, match="is not a commit: give its sha"):
        repository.propose("p1", clone.bundle(sha), commit)


HOSTILE: dict[str, list[tuple[str, str, bytes]]] = {
    "a symbolic link": [PLAIN, ("120000", "notes", b"/etc/shadow")],
    "a submodule": [PLAIN, ("160000", "sub", b"1" * 40)],
    "no file here may be called '.gitattributes'": [PLAIN, ("100644", ".gitattributes", b"* filter=x")],
    "not UTF-8": [PLAIN, ("100644", os.fsdecode(b"\xff\xfe"), b"x")],
    "characters that no name here has": [PLAIN, ("100644", "a\u202eb\n.md", b"x")],
    "longer than 255 bytes": [PLAIN, ("100644", "x" * 256, b"x")],
    "has no agent.toml": [("100644", "other.toml", b"")],
    "is 65537 bytes": [("100644", "agent.toml", b"#" * 65_537)],
    "more than 500 files": [PLAIN, *(("100644", f"f{n}", PLAIN[2]) for n in range(MAX_FILES))],
    "bytes together": [PLAIN, ("100644", "big", b"\0" * (5 * 1024**2))],
    "git index-pack refused it": [PLAIN, ("100644", ".git", b"x")],
    "git index-pack refused": [PLAIN, ("100644", ".GIT", b"x")],
    "hasDotdot": [PLAIN, ("100644", "..", b"x")],
    "hasDotgit": [PLAIN, ("100644", ".g\u200cit", b"x")],
}
"""What is told → the files that it is told of."""


@pytest.mark.parametrize("told", HOSTILE)
def test_a_hostile_tree_is_refused_with_its_reason_and_leaves_nothing(
    repository: ConfigRepository, clone: Clone, told: str
) -> None:
    sha = clone.tree(*sorted(HOSTILE[told], key=lambda entry: os.fsencode(entry[1])))
    bundle = clone.bundle(sha)
    before = objects(repository)
    with pytest.raises(ConfigRefused, match=told):
        repository.propose("p1", bundle, sha)
    assert objects(repository) == before
    assert [path.name for path in repository.path.parent.iterdir()] == ["ada.git"]


@pytest.mark.parametrize("name", ["home/.claude/settings.json", ".hive/x", "harness.json", "agents/lin/x"])
def test_no_seed_is_one_of_the_hives_own_files(repository: ConfigRepository, clone: Clone, name: str) -> None:
    path = clone.path / "seed" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    sha = clone.write(agent_toml="")
    with pytest.raises(ConfigRefused, match="one of the hive's own"):
        repository.propose("p1", clone.bundle(sha), sha)


def test_a_commit_that_is_here_needs_no_bundle(repository: ConfigRepository) -> None:
    main = str(repository.main())
    assert repository.propose("p1", b"", main[:10]) == main
    assert repository.tagged(Tag.PROPOSAL, "p1") == main


def test_a_mistake_in_agent_toml_is_told_with_its_line(repository: ConfigRepository, clone: Clone) -> None:
    sha = clone.write(agent_toml="model = 'haiku'\nnetwrk = 'none'\n")
    with pytest.raises(InvalidAgentFile, match=r"agent\.toml:2: netwrk: no such key"):
        repository.propose("p1", clone.bundle(sha), sha)


def test_a_commit_that_does_not_stand_on_main_is_refused(repository: ConfigRepository, clone: Clone) -> None:
    sha = clone.write(agent_toml="model = 'haiku'\n")
    bundle = clone.bundle(sha)
    first = repository.main()
    repository.move_main(
        repository.commit({"agent.toml": b""}, parent=first, author="operator", message="Meanwhile"), before=first
    )
    with pytest.raises(ConfigRefused, match="fetch the configuration again"):
        repository.propose("p1", bundle, sha)
    clone.git("checkout", "--quiet", "--orphan", "alone")
    orphan = clone.write(agent_toml="model = 'opus'\n")
    with pytest.raises(ConfigRefused, match="does not stand on main"):
        repository.propose("p1", clone.bundle(orphan), orphan)


def cut(bundle: bytes) -> bytes:
    return bundle[:-30]


def flipped(bundle: bytes) -> bytes:
    return bundle[:-40] + bytes([bundle[-40] ^ 1]) + bundle[-39:]


def lying(bundle: bytes) -> bytes:
    return bundle.replace(b"refs/heads/sent", b"refs/heads/sent\n--upload-pack=touch x", 1)


def bomb(_: bytes) -> bytes:
    """A pack of one blob: a quarter of a gibibyte of zeros, within the size that is taken."""
    size, body = 256 * 1024**2, zlib.compressobj(9)
    head, rest = [(3 << 4) | (size & 15)], size >> 4
    while rest:
        head[-1] |= 0x80
        head.append(rest & 127)
        rest >>= 7
    data = b"".join(body.compress(b"\0" * 1024**2) for _ in range(256)) + body.flush()
    return b"# v2 git bundle\n" + b"0" * 40 + b" refs/heads/x\n\nPACK\0\0\0\2\0\0\0\1" + bytes(head) + data


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (cut, "git index-pack refused it"),
        (flipped, "git index-pack refused it"),
        (lying, "malformed"),
        (bomb, "git index-pack refused it"),
        (lambda _: b"", "there is no commit"),
        (lambda _: b"PACK" * 100, "not a git bundle"),
        (lambda bundle: bundle.replace(b"v2", b"v3", 1), "not a git bundle"),
        (lambda bundle: bundle + b"x" * MAX_BUNDLE_BYTES, "at most 1048576"),
    ],
)
def test_a_malformed_bundle_is_refused_and_leaves_nothing(
    repository: ConfigRepository, clone: Clone, change: Callable[[bytes], bytes], told: str
) -> None:
    sha = clone.write(agent_toml="")
    bundle = change(clone.bundle(sha))
    before = objects(repository)
    with pytest.raises(HiveError, match=told):
        repository.propose("p1", bundle, sha)
    assert objects(repository) == before


def test_a_commit_whose_files_were_not_sent_is_refused(repository: ConfigRepository, clone: Clone) -> None:
    sha = clone.write(agent_toml="", extra_md="x" * 1000)
    other = clone.git("commit-tree", "-m", "empty", clone.git("rev-parse", f"{sha}^{{tree}}"), "-p", sha)
    pack = subprocess.run(
        ("git", "pack-objects", "--stdout"),
        cwd=clone.path,
        input=f"{other}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    bundle = b"# v2 git bundle\n" + other.encode() + b" refs/heads/sent\n\n" + pack
    with pytest.raises(ConfigRefused, match=r"is not whole|refused it"):
        repository.propose("p1", bundle, other)


def test_hooks_settings_and_filters_of_the_sender_never_run_on_the_host(
    repository: ConfigRepository, clone: Clone, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    for name in ("pre-receive", "update", "post-receive", "reference-transaction", "post-update"):
        hook = clone.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    sha = clone.write(agent_toml="")
    bundle = clone.bundle(sha)
    assert mark.exists(), "they run where they belong"
    mark.unlink()
    repository.propose("p1", bundle, sha)
    assert not mark.exists()
