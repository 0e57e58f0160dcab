"""A git bundle from a container, taken apart in a repository of its own before anything of it reaches an agent's.

Untrusted from the first byte. Its references count for nothing: one commit is asked for, and only what that needs is
taken over. Git itself checks every object (`index-pack --strict`), under limits of memory, time and file size.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hive_contracts.approvals import MAX_BUNDLE_BYTES
from hive_supervisor.configs.git import Git
from hive_supervisor.errors import ConfigRefused

_SIGNATURE: Final = b"# v2 git bundle\n"
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}\Z")
_HEADER_LINE: Final = re.compile(rb"-?[0-9a-f]{40}(?: .*)?\Z")


def check_commit(text: str) -> str:
    """Return `text`; raises `ConfigRefused` for anything but a full or abbreviated sha."""
    if not _COMMIT.match(text):
        raise ConfigRefused(
            f"{text[:60]!r} is not a commit: give its sha, 7 to 40 digits of it; a branch or a tag can move"
        )
    return text


@contextmanager
def quarantine(repository: Path, bundle: bytes) -> Iterator[Git]:
    """A passing repository that sees the objects of `bundle` and of `repository`. Raises `ConfigRefused`."""
    pack = _pack_of(bundle)
    folder = Path(tempfile.mkdtemp(prefix=".incoming-", dir=repository.parent))
    try:
        git = Git(folder)
        git.run("init", "--quiet", "--bare", "--template=", str(folder))
        (folder / "objects" / "info").mkdir(exist_ok=True)
        (folder / "objects" / "info" / "alternates").write_text(f"{repository / 'objects'}\n")
        git.run("index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={MAX_BUNDLE_BYTES}", stdin=pack)
        yield git
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def resolve(git: Git, commit: str) -> str:
    """The full sha of a whole commit: all that it needs is there. Raises `ConfigRefused`."""
    found = git.try_("rev-parse", "--verify", "--quiet", "--end-of-options", f"{check_commit(commit)}^{{commit}}")
    if found is None:
        raise ConfigRefused(f"there is no commit {commit} in what was sent, or more than one begins so")
    sha = found.decode().strip()
    if git.try_("rev-list", "--objects", "--quiet", sha) is None:
        raise ConfigRefused(f"the commit {sha[:12]} is not whole: some of its files or its history were not sent")
    return sha


def _pack_of(bundle: bytes) -> bytes:
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise ConfigRefused(f"the bundle is {len(bundle)} bytes; at most {MAX_BUNDLE_BYTES} are taken")
    header, separator, pack = bundle.partition(b"\n\n")
    if not bundle.startswith(_SIGNATURE) or not separator or not pack.startswith(b"PACK"):
        raise ConfigRefused("that is not a git bundle (version 2)")
    if not all(_HEADER_LINE.match(line) for line in header.split(b"\n")[1:]):
        raise ConfigRefused("the bundle's list of references is malformed")
    return pack
