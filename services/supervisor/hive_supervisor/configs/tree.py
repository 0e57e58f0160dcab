"""What may lie in an agent's repository: plain files with plain names, few and small, and a valid `agent.toml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hive_contracts.agent_file import FILE_NAME, MAX_FILE_BYTES, AgentFile, decode
from hive_supervisor.configs.git import Git
from hive_supervisor.errors import ConfigRefused

MAX_FILES: Final = 500
MAX_TREE_BYTES: Final = 4 * 1024**2
MAX_PATH_BYTES: Final = 255

_FILE_MODES: Final = {"100644", "100755"}
_REFUSED_MODES: Final = {"120000": "a symbolic link", "160000": "a submodule"}
_REFUSED_NAMES: Final = {".", "..", ".git", ".gitmodules", ".gitattributes"}
SEED: Final = "seed/"
"""What lies under it is copied into the state of an agent when that is made."""

_OWN_NAMES: Final = {"home", "agents", "commands.json", "harness.json", "ended-turn.json"}
"""What the hive itself keeps at the top of a state, besides names that begin with a dot."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """`object_id` names its content."""

    path: str
    object_id: str
    size: int
    executable: bool


def files_of(git: Git, commit: str) -> list[TreeFile]:
    """Every file of `commit`, checked, in the order of their paths. Raises `ConfigRefused`."""
    files: list[TreeFile] = []
    total = 0
    for file in _listed(git, commit):
        files.append(file)
        total += file.size
        if len(files) > MAX_FILES:
            raise ConfigRefused(f"the commit has more than {MAX_FILES} files")
        if total > MAX_TREE_BYTES:
            raise ConfigRefused(f"the files are more than {MAX_TREE_BYTES} bytes together")
    return files


def agent_file(git: Git, commit: str) -> AgentFile:
    """Its `agent.toml`. Raises `ConfigRefused`, `InvalidAgentFile`."""
    found = [file for file in files_of(git, commit) if file.path == FILE_NAME]
    if not found:
        raise ConfigRefused(f"the commit has no {FILE_NAME} at its top")
    if found[0].size > MAX_FILE_BYTES:
        raise ConfigRefused(f"{FILE_NAME} is {found[0].size} bytes; at most {MAX_FILE_BYTES} are taken")
    return decode(git.run("cat-file", "blob", found[0].object_id))


def _listed(git: Git, commit: str) -> Iterator[TreeFile]:
    for entry in git.run("ls-tree", "-r", "-z", "-l", "--full-tree", commit).split(b"\0"):
        if not entry:
            continue
        about, _, raw = entry.partition(b"\t")
        mode, _, object_id, size = about.decode().split()
        path = _path(raw)
        if mode in _REFUSED_MODES:
            raise ConfigRefused(f"{path} is {_REFUSED_MODES[mode]}; only plain files are taken")
        if mode not in _FILE_MODES:
            raise ConfigRefused(f"{path} has the mode {mode}; only plain files are taken")
        yield TreeFile(path, object_id, int(size), mode == "100755")


def _path(raw: bytes) -> str:
    shown = raw[:100].decode(errors="backslashreplace")
    try:
        path = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigRefused(f"the name {shown!r} is not UTF-8") from error
    if len(raw) > MAX_PATH_BYTES:
        raise ConfigRefused(f"the name {shown!r}… is longer than {MAX_PATH_BYTES} bytes")
    if not path.isprintable() or "\\" in path:
        raise ConfigRefused(f"the name {path!r} has characters that no name here has")
    for part in path.split("/"):
        if part.lower() in _REFUSED_NAMES or not part or part != part.strip(" "):
            raise ConfigRefused(f"no file here may be called {path!r}")
    first = path.removeprefix(SEED).split("/")[0].lower() if path.startswith(SEED) else ""
    if first in _OWN_NAMES or first.startswith("."):
        raise ConfigRefused(f"{path!r} would be one of the hive's own files in /state")
    return path
