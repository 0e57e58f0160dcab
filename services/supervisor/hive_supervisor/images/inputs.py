"""What an image is made of, and the version that follows from it: the same inputs give the same name."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hive_runtime import VERSION
from hive_supervisor.images.debian import Release
from hive_supervisor.images.errors import CannotBuild

RECIPE: Final = 2
"""Counted up when the same inputs give another tree than before."""

PACKAGES: Final = (
    "bash-completion",
    "ca-certificates",
    "curl",
    "file",
    "git",
    "jq",
    "less",
    "openssh-client",
    "patch",
    "procps",
    "python3",
    "ripgrep",
    "unzip",
    "xz-utils",
)
"""What an agent needs at least; `[images] packages` adds to it."""

OWN_PACKAGES: Final = ("hive_contracts", "hive_runtime", "hive_harness")
CLAUDE_PACKAGE: Final = Path("node_modules/@anthropic-ai/claude-code")
_DISTRIBUTION: Final = "hyperhive"


@dataclass(frozen=True, slots=True)
class Inputs:
    """`release` or `tarball` (a sha256) is what it begins with. `pins`: as pip writes them."""

    architecture: str
    hyperhive: str
    sources: str
    pins: tuple[str, ...]
    packages: tuple[str, ...] = ()
    release: Release | None = None
    tarball: str = ""
    claude: str = ""
    recipe: int = RECIPE

    @property
    def version(self) -> str:
        """`HYPERHIVE-HASH`."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.hyperhive}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def debian_inputs(release: Release, packages: tuple[str, ...], claude: Path | None) -> Inputs:
    wanted = tuple(sorted({*PACKAGES, *packages}))
    return Inputs(*_common(), packages=wanted, release=release, claude=claude_version(claude))


def tarball_inputs(tarball: Path, claude: Path | None) -> Inputs:
    return Inputs(*_common(), tarball=_digest_of(tarball), claude=claude_version(claude))


def _common() -> tuple[str, str, str, tuple[str, ...]]:
    return platform.machine(), VERSION, _sources(), pins(sys.version_info[:2])


def claude_version(installation: Path | None) -> str:
    """Of the Claude Code below the directory that npm installed it into. Raises `CannotBuild`."""
    if installation is None:
        return ""
    try:
        return str(json.loads((installation / CLAUDE_PACKAGE / "package.json").read_bytes())["version"])
    except (OSError, ValueError, KeyError) as error:
        raise CannotBuild(f"no Claude Code is installed in {installation}; do so with `hive setup claude`") from error


def pins(python: tuple[int, int]) -> tuple[str, ...]:
    """What the harness stands on under that Python, each at the version that is installed here, if it is.

    Of the Python's patch level nothing is known, so what only its first one needs is there too.
    """
    version = f"{python[0]}.{python[1]}"
    here = {name: str(value) for name, value in default_environment().items()}
    environment = {**here, "python_version": version, "python_full_version": f"{version}.0"}
    found: dict[str, str] = {}
    waiting = [Requirement(f"{_DISTRIBUTION}[harness]")]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = f"{name}{wanted.specifier}"
            continue
        found[name] = f"{name}=={distribution.version}"
        below = map(Requirement, distribution.requires or [])
        waiting += [one for one in below if _holds(one.marker, environment, wanted.extras)]
    del found[_DISTRIBUTION]
    return tuple(found[name] for name in sorted(found))


def _holds(marker: Marker | None, environment: Mapping[str, str], extras: Iterable[str]) -> bool:
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))


def source_of(package: str) -> Path:
    """The folder of one of hyperhive's packages."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    return Path(spec.origin).parent


def source_files(package: Path) -> Iterator[Path]:
    """Its files in a fixed order, without bytecode."""
    for folder, names, files in os.walk(package):
        names[:] = sorted(name for name in names if name != "__pycache__")
        yield from (Path(folder, file) for file in sorted(files) if not file.endswith((".pyc", ".pyo")))


def _sources() -> str:
    digest = hashlib.sha256()
    for package in OWN_PACKAGES:
        folder = source_of(package)
        for path in source_files(folder):
            digest.update(f"{package}/{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
