"""The agents' config repositories, as git bundles: what a branch or tag names never changes, so they may be made later
than their names were read."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hive_contracts.errors import HiveError, NotFound, Refused
from hive_contracts.names import check_agent_name

TIMEOUT_S: Final = 60.0
Refs = Mapping[str, str]
"""Name → object."""

_SETTINGS: Final = {
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
    "protocol.file.allow": "always",
    "safe.directory": "*",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.fsckObjects": "true",
}


def repositories(root: Path) -> dict[str, Path]:
    """Name of the agent → its repository."""
    found = {path.stem: path for path in sorted((root / "configs").glob("*.git")) if path.is_dir()}
    return {name: path for name, path in found.items() if _is_name(name)}


def _is_name(name: str) -> bool:
    try:
        check_agent_name(name)
    except HiveError:
        return False
    return True


def all_refs(root: Path) -> dict[str, Refs]:
    return {name: refs_of(path) for name, path in repositories(root).items()}


def refs_of(repository: Path) -> Refs:
    lines = _git(repository, "for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
    return dict(line.split(" ") for line in lines)


def make_bundle(repository: Path, refs: Refs, target: Path) -> None:
    """With exactly `refs`, though there may be more by now. They never move, `main` excepted, which only goes on."""
    scratch = target.with_suffix(".git")
    _git(target.parent, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(scratch))
    (scratch / "objects" / "info").mkdir(exist_ok=True)
    (scratch / "objects" / "info" / "alternates").write_text(f"{repository / 'objects'}\n")
    updates = "".join(f"create {name} {sha}\n" for name, sha in refs.items())
    _git(scratch, "update-ref", "--stdin", stdin=updates.encode())
    _git(scratch, "bundle", "create", "--quiet", str(target), "--all")


def unbundle(bundle: Path, repository: Path) -> None:
    """A bare repository as it was. Raises `Refused`."""
    repository.mkdir(parents=True, mode=0o700)
    _git(repository, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(repository))
    _git(repository, "fetch", "--quiet", "--no-write-fetch-head", str(bundle), "+refs/*:refs/*")


def _git(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    settings = [word for key, value in _SETTINGS.items() for word in ("-c", f"{key}={value}")]
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": os.devnull}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ("git", *settings, *words),
            cwd=folder,
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise NotFound("git is not installed: apt install git") from error
    except subprocess.TimeoutExpired as error:
        raise Refused(f"git {words[0]} took longer than {TIMEOUT_S:.0f} s in {folder}") from error
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise Refused(f"git {words[0]} failed in {folder}: {reason}")
    return done.stdout
