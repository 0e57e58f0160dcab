"""What hyperhive puts into a root: its harness at /opt/hive, Claude Code, two users, and places to mount at."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from hive_supervisor.images import confined, debian, inputs, tree
from hive_supervisor.images.confined import Report
from hive_supervisor.images.errors import BadTarball, CannotBuild
from hive_supervisor.images.inputs import Inputs

MIN_PYTHON: Final = (3, 11)
PREFIX: Final = "opt/hive"
CLAUDE: Final = "opt/claude"
MOUNT_POINTS: Final = ("state", "var/lib/hive", "run", "tmp", "var/tmp", "proc", "sys", "dev")
_SHARED: Final = ("tmp", "var/tmp")
_PYTHONS: Final = ("usr/bin/python3", "usr/local/bin/python3")
_VERSIONED: Final = re.compile(r"python(3)\.(\d+)")
_USERS: Final = {
    "agent": "x:1000:1000::/state/home:/bin/bash",
    "harness": "x:1001:1001::/var/lib/hive:/usr/sbin/nologin",
}
_GROUPS: Final = {"agent": "x:1000:harness", "harness": "x:1001:"}


def put_all(root: Path, made_of: Inputs, claude: Path | None, *, report: Report) -> None:
    """Raises `BadTarball`, `BuildFailed`. Runs nothing of `root`."""
    put_places(root)
    put_users(root)
    python = find_python(root)
    put_harness(root, python, report=report)
    if claude:
        report(f"copying Claude Code {made_of.claude}")
        put_claude(root, claude)


def put_places(root: Path) -> None:
    """Directories to mount at: the root is read-only when that is done."""
    for name in MOUNT_POINTS:
        path = tree.folder(root, name)
        path.chmod(0o1777 if name in _SHARED else 0o755)
    tree.link(root, "agents", "state/agents")  # where a manager has its clones
    tree.write(root, "etc/resolv.conf", "")
    tree.write(root, "etc/hostname", "hive\n")
    tree.write(root, "etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n")
    tree.write(root, "etc/machine-id", "", mode=0o444)


def put_users(root: Path) -> None:
    for file, people in (("etc/passwd", _USERS), ("etc/group", _GROUPS)):
        lines = [line for line in tree.read(root, file).splitlines() if not _is_taken(line)]
        lines += [f"{name}:{rest}" for name, rest in people.items()]
        tree.write(root, file, "".join(f"{line}\n" for line in lines))


def _is_taken(line: str) -> bool:
    """The name or the number of one of ours."""
    fields = line.split(":")
    return fields[0] in _USERS or fields[2:3] in (["1000"], ["1001"])


def find_python(root: Path) -> tuple[str, tuple[int, int]]:
    """Its path inside, and its version. Raises `BadTarball` when there is none, or an old one."""
    for name in _PYTHONS:
        path = tree.inside(root, name)
        match = _VERSIONED.fullmatch(path.readlink().name) if path.is_symlink() else None
        if match is None:
            continue
        version = (int(match[1]), int(match[2]))
        if version < MIN_PYTHON:
            raise BadTarball(f"its Python is {version[0]}.{version[1]}; hyperhive's harness needs 3.11 or newer")
        return f"/{name}", version
    raise BadTarball("it has no Python 3 (python3 in /usr/bin or /usr/local/bin); install python3 into it")


def put_harness(root: Path, python: tuple[str, tuple[int, int]], *, report: Report) -> None:
    """A virtual environment of the root's own Python, with the same versions of everything as here."""
    program, version = python
    site = f"{PREFIX}/lib/python{version[0]}.{version[1]}/site-packages"
    target = tree.folder(root, site)
    tree.link(root, f"{PREFIX}/bin/python", program)
    tree.write(root, f"{PREFIX}/pyvenv.cfg", f"home = {Path(program).parent}\ninclude-system-site-packages = false\n")
    _pip_install(target, version, report)
    for package in inputs.OWN_PACKAGES:
        report(f"copying {package}")
        _copy_package(inputs.source_of(package), target / package)
    _compile(target, site, version)


def _pip_install(target: Path, python: tuple[int, int], report: Report) -> None:
    """With this machine's pip and its configuration, for the root's Python; wheels alone, so nothing of them runs."""
    if importlib.util.find_spec("pip") is None:
        raise CannotBuild(f"this Python has no pip, which installs the harness; add it ({sys.executable} -m ensurepip)")
    # fmt: off
    command = [
        sys.executable, "-m", "pip", "install", "--target", str(target), "--python-version", f"{python[0]}.{python[1]}",
        "--implementation", "cp", "--only-binary=:all:", "--no-compile", "--no-input", "--progress-bar=off",
        "--disable-pip-version-check", "--root-user-action=ignore", *inputs.pins(python),
    ]
    # fmt: on
    confined.run(command, name="pip", report=lambda line: _tell_pip(line, report))
    _leave_scripts_out(target)


def _leave_scripts_out(target: Path) -> None:
    """They name this machine's Python; their digests in the records of what is installed are all that would differ."""
    shutil.rmtree(target / "bin", ignore_errors=True)
    for record in target.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith(("bin/", "../../bin/"))))


def _tell_pip(line: str, report: Report) -> None:
    match = re.match(r"(?:Collecting|Using cached|Downloading) ([\w.-]+)", line)
    if match:
        report(f"fetching {match[1]}")


def _copy_package(source: Path, target: Path) -> None:
    for path in inputs.source_files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _compile(target: Path, site: str, version: tuple[int, int]) -> None:
    """Agents cannot write bytecode into a read-only root. Only a Python of the same version makes what that one reads.

    Bytecode that is bound to no time is the same in every build.
    """
    if version != sys.version_info[:2]:
        return
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-d", f"/{site}", "."]
    confined.run([*command[:-1], str(target)], name="compileall", report=lambda _: None)


def put_claude(root: Path, installation: Path) -> None:
    """The package and its native program, wherever npm put that; no npm, no node."""
    scope = inputs.CLAUDE_PACKAGE.parent
    target = tree.inside(root, f"{CLAUDE}/{scope}")
    target.mkdir()
    debian.copy(installation / scope, target)  # the program is there twice, as one file
    program = str((installation / "node_modules/.bin/claude").readlink())
    tree.link(root, f"{CLAUDE}/node_modules/.bin/claude", program)
    tree.link(root, "usr/local/bin/claude", f"/{CLAUDE}/node_modules/.bin/claude")
