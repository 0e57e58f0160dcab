"""One agent's repository on the host: `main` is what runs, tags tell what became of each proposal.

Nothing here opens a file that an agent can write: what comes in comes as a bundle, what goes out as one. Tags are made
once and never moved, so each step may be repeated after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from hive_contracts.agent_file import FILE_NAME, AgentFile
from hive_contracts.approvals import MAX_BUNDLE_BYTES
from hive_supervisor.configs.bundle import quarantine, resolve
from hive_supervisor.configs.git import Git
from hive_supervisor.configs.tree import SEED, agent_file, files_of
from hive_supervisor.errors import ConfigRefused
from hive_supervisor.runtimes.base import SeedFile

MAIN: Final = "refs/heads/main"
MAX_DIFF_BYTES: Final = 1024**2
MAX_NOTE: Final = 8000
NOTHING: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Git's name for the tree without files."""


class Tag(StrEnum):
    """What a tag says of the commit it names: `<kind>/<id of the approval>`."""

    PROPOSAL = "proposal"
    APPROVED = "approved"
    DENIED = "denied"
    DEPLOYED = "deployed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Commit:
    """`at`: seconds since 1970."""

    sha: str
    author: str
    at: int
    subject: str


class ConfigRepository:
    """Made by `create`. Methods raise `ConfigRefused` for what may not be, `Unavailable` without git."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = Git(path)

    def create(self, files: Mapping[str, bytes], *, author: str, message: str) -> str:
        """Its first commit, on `main`; what is there already stays as it is. Returns `main`."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "objects" / "info").is_dir():  # what git makes last
            self._git.run("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(self.path))
        if found := self.main():
            return found
        first = self.commit(files, parent=None, author=author, message=message)
        self.move_main(first, before=None)
        return first

    def main(self) -> str | None:
        """What runs, or will with the next deployment."""
        found = self._git.try_("rev-parse", "--verify", "--quiet", MAIN)
        return found.decode().strip() if found else None

    def move_main(self, sha: str, *, before: str | None) -> None:
        """Only from `before`; nothing to do when it is there already. Raises `ConfigRefused` when it is elsewhere."""
        if self.main() == sha:
            return
        if self._git.try_("update-ref", MAIN, sha, before or "0" * len(sha)) is None:
            raise ConfigRefused(f"main is not at {(before or 'its beginning')[:12]} any more; look at what runs now")

    def propose(self, proposal: str, bundle: bytes, commit: str) -> str:
        """Check what a container sent and pin its commit as `proposal/<proposal>`; the full sha.

        An empty bundle is for a commit that is here already. Raises `ConfigRefused` or `InvalidAgentFile`, with
        nothing taken over.
        """
        if not bundle:
            sha = resolve(self._git, commit)
            agent_file(self._git, sha)
            self.pin(proposal, sha)
            return sha
        with quarantine(self.path, bundle) as incoming:
            sha = resolve(incoming, commit)
            agent_file(incoming, sha)
            main = self.main()
            if main and incoming.try_("merge-base", "--is-ancestor", main, sha) is None:
                raise ConfigRefused(
                    f"{sha[:12]} does not stand on main ({main[:12]}): fetch the configuration again and redo it there"
                )
            self._git.run(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(incoming.path),
                f"{sha}:{_ref(Tag.PROPOSAL, proposal)}",
            )  # fmt: skip
        return sha

    def pin(self, proposal: str, sha: str) -> None:
        """Name a commit that is here `proposal/<proposal>`."""
        self._git.run("update-ref", _ref(Tag.PROPOSAL, proposal), sha)

    def commit(self, files: Mapping[str, bytes], *, parent: str | None, author: str, message: str) -> str:
        """A commit that holds exactly `files`, on no branch yet. Raises `ConfigRefused`, `InvalidAgentFile`."""
        return self._committed(self._tree(files), parent=parent, author=author, message=message)

    def again(self, sha: str, *, parent: str, author: str, message: str) -> str:
        """A commit on `parent` that holds exactly what `sha` holds, on no branch yet."""
        return self._committed(f"{sha}^{{tree}}", parent=parent, author=author, message=message)

    def tag(self, kind: Tag, approval: str, sha: str, note: str = "") -> None:
        """Once; again with the same commit is nothing new. Raises `ConfigRefused` when it names another commit."""
        found = self.tagged(kind, approval)
        if found is None:
            message = note.strip()[:MAX_NOTE] or f"{kind.value} {approval}"
            name = _ref(kind, approval).removeprefix("refs/tags/")
            self._git.run("tag", "-a", "--cleanup=verbatim", "-F", "-", name, sha, stdin=message.encode())
        elif found != sha:
            raise ConfigRefused(f"{kind.value}/{approval} is {found[:12]} already")

    def tagged(self, kind: Tag, approval: str) -> str | None:
        """The commit of a tag."""
        found = self._git.try_("rev-parse", "--verify", "--quiet", f"{_ref(kind, approval)}^{{commit}}")
        return found.decode().strip() if found else None

    def note(self, kind: Tag, approval: str) -> str:
        """What was said with a tag."""
        found = self._git.try_("for-each-ref", "--format=%(contents)", _ref(kind, approval))
        return (found or b"").decode(errors="replace").strip()

    def tags(self, kind: Tag) -> list[str]:
        """The approvals that have such a tag, oldest first."""
        prefix = f"refs/tags/{kind.value}/"
        found = self._git.run("for-each-ref", "--sort=creatordate", "--format=%(refname)", prefix)
        return [name.removeprefix(prefix) for name in found.decode().splitlines()]

    def all_tags(self) -> dict[str, dict[Tag, str]]:
        """Approval → its tags, each with the commit that it names."""
        found = self._git.run("for-each-ref", "--format=%(refname:lstrip=2) %(objectname) %(*objectname)", "refs/tags/")
        tags: dict[str, dict[Tag, str]] = {}
        for line in found.decode().splitlines():
            name, *shas = line.split()
            kind, _, approval = name.partition("/")
            tags.setdefault(approval, {})[Tag(kind)] = shas[-1]
        return tags

    def drop_tag(self, kind: Tag, approval: str) -> None:
        """Of a request that nobody knows of."""
        self._git.run("update-ref", "-d", _ref(kind, approval))

    def age_s(self, kind: Tag, approval: str, now: float) -> float:
        """Seconds since a tag was made, as far as that can be told: long ago for one that is packed."""
        try:
            return now - (self.path / _ref(kind, approval)).stat().st_mtime
        except OSError:
            return now

    def stands_on(self, sha: str, earlier: str) -> bool:
        """Whether `earlier` is in the history of `sha`."""
        return self._git.try_("merge-base", "--is-ancestor", earlier, sha) is not None

    def has(self, sha: str) -> bool:
        """Whether that commit is here, and can be compared with."""
        return self._git.try_("rev-parse", "--verify", "--quiet", f"{sha}^{{commit}}") is not None

    def about(self, sha: str) -> Commit:
        return self.history(sha, limit=1)[0]

    def agent_file(self, sha: str) -> AgentFile:
        return agent_file(self._git, sha)

    def text(self, sha: str) -> str:
        """Of its `agent.toml`, which is valid."""
        return self._git.run("cat-file", "blob", f"{sha}:{FILE_NAME}").decode()

    def seed(self, sha: str) -> tuple[SeedFile, ...]:
        """What a new agent's state begins with, by its path there."""
        found = [file for file in files_of(self._git, sha) if file.path.startswith(SEED)]
        return tuple(
            SeedFile(file.path.removeprefix(SEED), self._git.run("cat-file", "blob", file.object_id), file.executable)
            for file in found
        )

    def files(self, sha: str) -> dict[str, bytes]:
        """Path → content, of every file of a commit."""
        return {
            file.path: self._git.run("cat-file", "blob", file.object_id) for file in files_of(self._git, sha)
        }  # few and small: that was checked when they came

    def diff(self, base: str | None, sha: str) -> str:
        """Unified, against `base` or against nothing; cut at a mebibyte."""
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--full-index")
        found = self._git.run("diff", *options, base or NOTHING, sha)
        text = found[:MAX_DIFF_BYTES].decode(errors="replace")
        return text if len(found) <= MAX_DIFF_BYTES else f"{text}\n… {len(found) - MAX_DIFF_BYTES} bytes more\n"

    def history(self, sha: str, *, limit: int = 50) -> list[Commit]:
        """Newest first."""
        found = self._git.run("log", f"--max-count={limit}", "-z", "--format=%H%x1f%an%x1f%at%x1f%s", sha)
        rows = (row.split("\x1f", 3) for row in found.decode(errors="replace").split("\0") if row)
        return [Commit(row[0], row[1], int(row[2]), row[3]) for row in rows]

    def bundle(self) -> bytes:
        """`main` with its history, for a clone in a container. Raises `ConfigRefused` when it is too long to send."""
        found = self._git.run("bundle", "create", "--quiet", "-", MAIN)
        if len(found) > MAX_BUNDLE_BYTES:
            raise ConfigRefused(f"the repository is {len(found)} bytes; at most {MAX_BUNDLE_BYTES} are sent")
        return found

    def _committed(self, tree: str, *, parent: str | None, author: str, message: str) -> str:
        parents = ("-p", parent) if parent else ()
        named = Git(self.path, {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": f"{author}@hive"})
        sha = named.run("commit-tree", tree, *parents, stdin=message.encode()).decode().strip()
        agent_file(self._git, sha)
        return sha

    def _tree(self, files: Mapping[str, bytes]) -> str:
        index = self.path / "index.new"
        index.unlink(missing_ok=True)
        git = Git(self.path, {"GIT_INDEX_FILE": str(index)})
        try:
            for path, content in sorted(files.items()):
                object_id = git.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
                git.run("update-index", "--add", "--cacheinfo", f"100644,{object_id},{path}")
            return git.run("write-tree").decode().strip()
        finally:
            index.unlink(missing_ok=True)


def _ref(kind: Tag, approval: str) -> str:
    if not approval.replace("-", "").isalnum() or not approval.isascii():
        raise ConfigRefused(f"{approval[:60]!r} is not the name of an approval")
    return f"refs/tags/{kind.value}/{approval}"
