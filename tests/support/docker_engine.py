"""A Docker engine of the tests' own: started once for a session, in a network of its own, gone without a trace.

Its images are made of this machine's files, so nothing is fetched.
"""

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
from tests.support.waiting import wait_until

from hive_runtime.process import die_with_parent

START_S: Final = 60
STOP_S: Final = 60
SMALL_IMAGE: Final = "small"
# fmt: off
PROGRAMS: Final = (
    "sh", "bash", "env", "timeout", "sleep", "cat", "ls", "id", "true", "false", "echo", "mkdir", "touch", "chmod",
    "chown", "ln", "cp", "rm", "dd", "head", "mknod", "kill", "grep", "setpriv", "mount", "unshare", "python3",
)
# fmt: on
_START: Final = 'ip link set lo up 2>/dev/null; exec dockerd "$@"'


@dataclass(slots=True)
class DockerEngine:
    """`directory` holds all that it has; `options` are dockerd's."""

    directory: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "docker.sock"

    def start(self) -> None:
        """Returns when it answers."""
        # fmt: off
        command = [
            "--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "exec"),
            "--host", f"unix://{self.socket}", "--pidfile", str(self.directory / "docker.pid"),
            "--bridge", "none", *self.options,
        ]
        # fmt: on
        with (self.directory / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", _START, "dockerd", *command],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGTERM),
                start_new_session=True,
            )
        wait_until(lambda: self._answers() or self._over(), within_s=START_S)
        if self._over():
            log_text = (self.directory / "dockerd.log").read_text()[-2000:]
            raise AssertionError(f"dockerd does not start here:\n{log_text}")

    def stop(self) -> None:
        """It stops its containers first, unless it was told to let them live."""
        if self.process:
            self.process.terminate()
            self.process.wait(STOP_S)

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
            env={**os.environ, "DOCKER_HOST": f"unix://{self.socket}"},
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"docker {arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

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
    missing = [program for program in ("dockerd", "docker", "unshare") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed (packages docker.io, docker-cli)" if missing else ""


@contextmanager
def docker_engine(*options: str) -> Iterator[DockerEngine]:
    """A running engine with the image `small`. Skips where there can be none; under CI that fails."""
    if reason := why_no_docker():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hive-docker-", ignore_cleanup_errors=True) as directory:
        engine = DockerEngine(Path(directory), options)
        engine.start()
        try:
            engine.docker("import", "-", SMALL_IMAGE, given=small_root(PROGRAMS))
            yield engine
        finally:
            engine.remove_all()
            engine.stop()


def small_root(programs: Sequence[str]) -> bytes:
    """A tar archive of `programs` of this machine and what they load, each where it is here."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("tmp", "state", "run", "etc", "var/lib"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path in sorted({found for program in programs for found in _with_libraries(program)}):
            archive.add(path.resolve(), arcname=str(path), recursive=True, filter=_without_caches)
    return buffer.getvalue()


def _with_libraries(program: str) -> Iterator[Path]:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, program
    yield Path("/bin", program)
    if program == "python3":
        yield Path(found).resolve()
        yield Path("/usr/lib", Path(found).resolve().name)
    listed = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    yield from (Path(word) for word in listed.split() if word.startswith("/"))


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = ("__pycache__", "/test/", "/idlelib/", "/dist-packages/")
    return None if any(word in entry.name for word in skipped) else entry
