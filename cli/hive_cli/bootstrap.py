"""Makes `.venv` and installs hyperhive into it. Run by path from `hive`, before anything is installed.

Stands on the standard library alone and leaves the choice of interpreter, and the question whether any of this is
needed, to the `hive` script. An interrupted run is finished by the next one: the stamp is written last.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin" / "python"
LOCK: Final = ROOT / ".cache" / "bootstrap.lock"
SOURCES: Final = ("libs", "services", "cli")
STEPS: Final = 2
TAIL_LINES: Final = 12
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 4
EXIT_INTERRUPTED: Final = 130

_PHASES: Final = (
    (re.compile(r"^\s*Collecting ([\w.-]+)"), "finding {}"),
    (re.compile(r"^\s*Downloading (?:\S*/)?([A-Za-z0-9_.]+)-\d"), "downloading {}"),
    (re.compile(r"^\s*Installing build dependencies"), "preparing the build"),
    (re.compile(r"^\s*Preparing editable metadata"), "preparing hyperhive"),
    (re.compile(r"^\s*Building editable for (\w+)"), "building {} with its front end"),
    (re.compile(r"^Installing collected packages: (.*)"), "installing {}"),
)

_UNREACHED: Final = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|CERTIFICATE_VERIFY_FAILED"
    r"|ConnectTimeoutError|ReadTimeoutError|ProxyError|Connection (?:broken|aborted|refused)"
)
"""What pip says, long before its last lines, when it gets nothing from its index."""


class BootstrapError(Exception):
    """What went wrong, in one sentence that says what to do. `status` is the exit code."""

    def __init__(self, text: str, *, status: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.status = status


class Progress:
    """A step list. On a terminal the last line shows what is being done now; elsewhere each package gets a line."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._step = 0
        self._text = ""
        self._said = ""

    def step(self, text: str) -> None:
        self._end_line()
        self._step += 1
        self._text = f"[{self._step}/{STEPS}] {text}"
        sys.stderr.write(self._text if self._tty else self._text + "\n")
        sys.stderr.flush()

    def detail(self, text: str) -> None:
        if text == self._said:
            return
        self._said = text
        if self._tty:
            width = shutil.get_terminal_size().columns
            sys.stderr.write(f"\r\033[K{self._text}: {text}"[: width + 3])
        else:
            sys.stderr.write(f"      {text}\n")
        sys.stderr.flush()

    def end(self, text: str) -> None:
        self._end_line()
        sys.stderr.write(text + "\n")

    def _end_line(self) -> None:
        if self._tty and self._text:
            sys.stderr.write(f"\r\033[K{self._text}\n")
        self._text = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", choices=("all", "test"), required=True)
    parser.add_argument("--inputs", required=True, help="what the stamp must begin with: root and checksums")
    parser.add_argument("command", nargs="*", help="what `hive` is to do afterwards")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with locked() as lock:
            install(arguments.extra, arguments.inputs, lock)
    except BootstrapError as error:
        say(f"hive: {error}")
        return error.status
    except KeyboardInterrupt:
        say("\nhive: interrupted; run the same command again and it goes on from here.")
        return EXIT_INTERRUPTED
    return become(arguments.command)


def become(command: list[str]) -> NoReturn:
    """The command line in this process's place."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execv(PYTHON, [str(PYTHON), "-m", "hive_cli", *command])  # noqa: S606  no shell is what is wanted


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def locked() -> Iterator[int]:
    """One installation at a time: a second one waits, and then finds the work done. Gives the lock's descriptor."""
    try:
        LOCK.parent.mkdir(exist_ok=True)
        lock = LOCK.open("a")
    except OSError as error:
        raise BootstrapError(
            f"cannot write to {ROOT} ({error.strerror}); make it writable, or clone hyperhive to a place of your own.",
            status=EXIT_REFUSED,
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another `hive` is installing into .venv; waiting for it…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def install(extra: str, inputs: str, lock: int) -> None:
    stamp = VENV / f".hive-{extra}"
    if stamp.exists() and stamp.read_text() == stamp_text(inputs):
        return
    started = time.monotonic()
    progress = Progress()
    stamp.unlink(missing_ok=True)
    if not venv_works():
        progress.step(f"making .venv with Python {sys.version.split()[0]}")
        make_venv(progress)
    else:
        progress.step("using .venv")
    progress.step("installing hyperhive with what the tests need" if extra == "test" else "installing hyperhive")
    pip_install(extra, progress, lock)
    compile_sources()
    for name in {"all", extra}:  # `test` includes `all`
        (VENV / f".hive-{name}").write_text(stamp_text(inputs))
    progress.end(f"installed in {time.monotonic() - started:.0f} s")


def stamp_text(inputs: str) -> str:
    """Must equal what the `hive` script puts together. Without a final newline, as `$(…)` cuts it off."""
    return f"{inputs}\n{PYTHON.resolve()}"


def venv_works() -> bool:
    """Whether `.venv` is whole and stands on the interpreter that runs this."""
    if not PYTHON.exists():
        return False
    probe = "import sys, pip; print(sys.version_info[:2], sys.prefix)"
    found = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    return (
        found.returncode == 0
        and found.stdout.split(") ")[-1].strip() == str(VENV)
        and found.stdout.startswith(str(sys.version_info[:2]))
    )


def make_venv(progress: Progress) -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if not has_ensurepip():
        install_ensurepip(progress)
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise BootstrapError(f"Python could not make {VENV}: {last_lines(made.stdout + made.stderr, 3)}")


def has_ensurepip() -> bool:
    return (
        subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode
        == 0
    )


def install_ensurepip(progress: Progress) -> None:
    """Debian and Ubuntu keep `venv` in a package of its own."""
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise BootstrapError(
            f"this Python has no venv module; install it first (on Debian and Ubuntu: apt install {package}).",
            status=EXIT_REFUSED,
        )
    progress.detail(f"installing the system package {package}")
    for command in ([apt, "update", "-q"], [apt, "install", "-qy", "--no-install-recommends", package]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootstrapError(f"apt could not install {package}: {last_lines(done.stdout + done.stderr, 3)}")


def pip_install(extra: str, progress: Progress, lock: int) -> None:
    """pip holds the lock too: should this process be killed, the next run waits until pip has ended."""
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    process = subprocess.Popen(
        [*command, "-e", f"{ROOT}[{extra}]"],
        env=pip_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        pass_fds=(lock,),
        text=True,
        errors="replace",
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    unreached = ""
    try:
        for line in process.stdout or ():
            tail.append(line.rstrip())
            unreached = unreached or (line.strip() if _UNREACHED.search(line) else "")
            show(line, progress)
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
        process.wait()
    if process.returncode:
        progress.end("")
        say("\n".join(f"  | {line}" for line in tail))
        if unreached:
            raise BootstrapError(f"pip did not reach its index ({unreached}); run this again when there is a network.")
        raise BootstrapError("pip could not install hyperhive; mend what it says above and run this again.")


def pip_environment() -> dict[str, str]:
    """The pins hold for the build's own packages too: pip < 25.3 hands the one on, later ones read the other."""
    pins = (ROOT / "constraints.txt").as_uri()
    without = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
    return without | {"PIP_CONSTRAINT": pins, "PIP_BUILD_CONSTRAINT": pins, "PYTHONUNBUFFERED": "1"}


def compile_sources() -> None:
    """Agents run as users who may not write bytecode here; without it each of their starts compiles anew."""
    subprocess.run([PYTHON, "-m", "compileall", "-q", *SOURCES], cwd=ROOT, capture_output=True, check=False)


def show(line: str, progress: Progress) -> None:
    for pattern, text in _PHASES:
        match = pattern.match(line)
        if match:
            names = match.groups()[0] if match.groups() else ""
            progress.detail(text.format(f"{names.count(',') + 1} packages" if "," in names else names))
            return


def last_lines(text: str, count: int) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-count:])


if __name__ == "__main__":
    sys.exit(main())
