"""A clone as an agent has it: real git, and whatever an agent would do in it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

IDENTITY = {f"GIT_{who}_{what}": "ada@hive" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

SUBMODULE = "160000"


@dataclass(frozen=True, slots=True)
class Clone:
    path: Path

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1", **IDENTITY}
        done = subprocess.run(
            ("git", "-c", "core.protectHFS=false", "-c", "core.protectNTFS=false", *arguments),
            cwd=self.path, env=environment, input=stdin, capture_output=True, check=True,
        )  # fmt: skip
        return done.stdout.decode(errors="surrogateescape").strip()

    def write(self, **files: str) -> str:
        """Commit `files`, `agent_toml` for `agent.toml`; the sha."""
        for name, text in files.items():
            (self.path / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    def tree(self, *entries: tuple[str, str, bytes]) -> str:
        """A commit of a tree that no checkout would make: (mode, name, content or sha of a commit)."""
        blobs = {content for mode, _, content in entries if mode != SUBMODULE}
        hashed = {content: self.git("hash-object", "-w", "--stdin", stdin=content) for content in blobs}
        lines = []
        for mode, name, content in entries:
            about = f"commit {content.decode()}" if mode == SUBMODULE else f"blob {hashed[content]}"
            lines.append(f"{mode} {about}\t".encode() + os.fsencode(name))
        tree = self.git("mktree", "--missing", "-z", stdin=b"\0".join(lines) + b"\0")
        return self.git("commit-tree", "-p", "HEAD", "-m", "made by hand", tree)

    def bundle(self, sha: str) -> bytes:
        self.git("update-ref", "refs/heads/sent", sha)
        self.git("bundle", "create", "--quiet", "../sent.bundle", "refs/heads/sent", "^refs/remotes/origin/main")
        return (self.path.parent / "sent.bundle").read_bytes()


def clone_of(bundle: bytes, folder: Path) -> Clone:
    """What an agent makes of the bundle that it was sent."""
    folder.mkdir()
    (folder / "config.bundle").write_bytes(bundle)
    clone = Clone(folder / "config")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        ("git", "clone", "--quiet", "--branch=main", "config.bundle", "config"), cwd=folder, env=environment, check=True
    )
    return clone
