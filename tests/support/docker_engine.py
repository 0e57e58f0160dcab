"""A Docker engine of the tests' own: started once for a session, in a network of its own, gone without a trace.

Its images are made of this machine's files, so nothing is fetched.
"""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.support.processes import command_line, descendants
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent
from hive_supervisor.runtimes.docker import DockerRuntime
from hive_supervisor.runtimes.docker_api import Engine
from hive_supervisor.runtimes.docker_config import PROGRAM

START_S: Final = 120
STOP_S: Final = 60
SMALL_IMAGE: Final = "small"
# fmt: off
PROGRAMS: Final = (
    "sh", "bash", "env", "timeout", "sleep", "cat", "ls", "id", "true", "false", "echo", "mkdir", "touch", "chmod",
    "chown", "ln", "cp", "rm", "dd", "head", "mknod", "kill", "grep", "setpriv", "mount", "unshare", "python3",
)
# fmt: on
CONTAINERD: Final = """
version = 2
root = "{directory}/data/containerd"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{directory}/containerd.sock"
"""


@dataclass(slots=True)
class DockerEngine:
    """`directory` holds all that it has; `options` are dockerd's. Below it runs a containerd, as on any host.

    `disk_bytes`: the size of its disk, which is then its own. `first_id`: what its root is outside, if it maps users.
    """

    directory: Path
    disk_bytes: int | None = None
    first_id: int | None = None
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    containerd: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "docker.sock"

    def start(self) -> None:
        """Returns when it answers."""
        if self.containerd is None:
            self._start_containerd()
        # fmt: off
        self.process = self._run([
            *self._beside_containerd(), "dockerd", "--containerd", str(self.directory / "containerd.sock"),
            "--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "exec"),
            "--host", f"unix://{self.socket}", "--pidfile", str(self.directory / "docker.pid"),
            "--bridge", "none", *([] if self.first_id is None else ["--userns-remap", "nobody:nogroup"]), *self.options,
        ])
        # fmt: on
        wait_until(lambda: self._answers() or self._over(), within_s=START_S)
        if self._over():
            raise AssertionError(f"dockerd does not start here:\n{self.log.read_text()[-2000:]}")

    def _start_containerd(self) -> None:
        """In a network of its own, and with a disk of its own if that is to be of a size."""
        data, config = self.directory / "data", self.directory / "containerd.toml"
        self.directory.chmod(0o711)  # an engine that maps users wants its root to get there
        data.mkdir(mode=0o711)
        config.write_text(CONTAINERD.format(directory=self.directory))
        steps = ["ip link set lo up 2>/dev/null", f"exec containerd --config {config}"]
        if self.disk_bytes is not None:
            steps.insert(0, f"mount -t tmpfs -o size={self.disk_bytes} none {data}")
        if self.first_id is not None:
            ids = self.directory / "ids"
            ids.write_text("".join(f"{name}:{self.first_id}:65536\n" for name in ("nobody", "nogroup")))
            steps[:0] = [f"mount --bind {ids} /etc/{file}" for file in ("subuid", "subgid")]
        apart = ["--net", "--mount"] if len(steps) > 2 else ["--net"]
        self.containerd = self._run(["unshare", *apart, "sh", "-c", "; ".join(steps)])
        wait_until((self.directory / "containerd.sock").exists, within_s=START_S)

    def _beside_containerd(self) -> list[str]:
        assert self.containerd
        return ["nsenter", "--target", str(self.containerd.pid), "--net", "--mount", "--"]

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGTERM), start_new_session=True
            )

    @property
    def log(self) -> Path:
        return self.directory / "engine.log"

    @property
    def disk(self) -> Path:
        """Where its data is, seen from here."""
        assert self.containerd
        return Path(f"/proc/{self.containerd.pid}/root{self.directory}/data")

    def stop(self) -> None:
        """It stops its containers first, unless it was told to let them live."""
        if self.process:
            self.process.terminate()
            self.process.wait(STOP_S)

    def end(self) -> None:
        """All of it is gone, whatever state it was in."""
        for process in (self.process, self.containerd):
            if process and process.poll() is None:
                process.terminate()
                process.wait(STOP_S)
        for pid in _pids_with(str(self.directory)):
            for each in descendants(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        for point in _mounts_in(self.directory):
            subprocess.run(["umount", "--lazy", point], check=False)

    def kill(self) -> None:
        """As `kill -9` of the engine alone."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def docker(self, *arguments: str, given: bytes = b"") -> str:
        """What the `docker` command printed; asserts that it ended well."""
        done = subprocess.run(
            ["docker", *arguments],
            input=given,
            capture_output=True,
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "0"},
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"docker {arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def runtime(self, agents_dir: Path, *, hive_id: str, program: Sequence[str] = PROGRAM) -> DockerRuntime:
        """A back-end on it, as a supervisor makes it."""
        engine = Engine.model_validate_json(self.docker("info", "--format", "{{json .}}"))
        return DockerRuntime(agents_dir, self.socket, hive_id=hive_id, engine=engine, program=program)

    def forget(self, image: str) -> None:
        """Remove the image and what was made of it."""
        self.remove_all()
        if names := self.docker("images", "--format", "{{.Repository}}:{{.Tag}}", image).split():
            self.docker("rmi", "-f", *names)

    def remove_all(self) -> None:
        """Every container there is."""
        if found := self.docker("ps", "-aq").split():
            self.docker("rm", "-f", *found)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(str(self.socket))
                asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return asking.recv(99).split()[1] == b"200"
            except (OSError, IndexError):
                return False

    def _over(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def why_no_docker() -> str:
    """Why the tests cannot start an engine here; empty when they can."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    missing = [program for program in ("dockerd", "containerd", "docker", "nsenter") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed (packages docker.io, docker-cli)" if missing else ""


@contextmanager
def docker_engine(*, disk_bytes: int | None = None, first_id: int | None = None) -> Iterator[DockerEngine]:
    """A running engine with the image `small`, on a disk of its own if that is to be of a size.

    Skips where there can be none; under CI that fails.
    """
    if reason := why_no_docker():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hive-docker-", ignore_cleanup_errors=True) as directory:
        engine = DockerEngine(Path(directory), disk_bytes, first_id)
        try:
            engine.start()
            engine.docker("import", "-", SMALL_IMAGE, given=small_root(PROGRAMS))
            yield engine
            engine.remove_all()
        finally:
            engine.end()


def small_root(programs: Sequence[str]) -> bytes:
    """A tar archive of `programs` of this machine and what they load, each where it is here."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("tmp", "state", "run", "etc", "var/lib", "srv", "mnt", "usr/bin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        entry = tarfile.TarInfo("bin")
        entry.type, entry.linkname = tarfile.SYMTYPE, "usr/bin"
        archive.addfile(entry)
        add_programs(archive, programs)
    return buffer.getvalue()


def add_programs(archive: tarfile.TarFile, programs: Sequence[str]) -> None:
    """Each by its name or its path, and what it loads."""
    _add(archive, {pair for program in programs for pair in _with_libraries(program)})


def add_libraries(archive: tarfile.TarFile, binaries: Sequence[str]) -> None:
    """What these load, without them."""
    _add(archive, set(_libraries(binaries)))


def _add(archive: tarfile.TarFile, files: set[tuple[Path, Path]]) -> None:
    there = set(archive.getnames())
    for inside, outside in sorted(files):
        if str(inside).lstrip("/") not in there:
            archive.add(outside.resolve(), arcname=str(inside), recursive=True, filter=_without_caches)


def _with_libraries(program: str) -> Iterator[tuple[Path, Path]]:
    """Where it is in the image, and where here."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, program
    yield Path(program) if program.startswith("/") else Path("/usr/bin", program), Path(found)
    binaries = [found]
    if program == "python3":
        library = Path("/usr/lib", Path(found).resolve().name)
        yield library, library
        binaries += [str(path) for path in library.glob("lib-dynload/_ctypes.*.so")]
    yield from _libraries(binaries)


def _libraries(binaries: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    listed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    words = {word for line in listed.splitlines() if not line.endswith(":") for word in line.split()}
    yield from ((Path(word), Path(word)) for word in words if word.startswith("/"))


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = ("__pycache__", "/test/", "/idlelib/", "/dist-packages/")
    return None if any(word in entry.name for word in skipped) else entry


def _pids_with(word: str) -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and word in command_line(int(path.name))
    ]


def _mounts_in(directory: Path) -> list[str]:
    """The deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{directory}/")), reverse=True)
