"""Putting the units and their user onto this machine, and taking exactly these away again.

What is made is written down in `/etc/hyperhive/installed.json` before it is made: an installation that was cut short
is finished by the next, or removed. The data directory stays, whatever is removed.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hive_cli.errors import UsageProblem
from hive_cli.paths import DataDir
from hive_cli.stack import lock, owner, redis_embedded
from hive_cli.stack.data_dir import write_private
from hive_cli.systemd.units import ENVIRONMENT, TARGET, Layout, all_units
from hive_contracts.errors import NotFound, Refused

UNITS: Final = Path("/etc/systemd/system")
HOME: Final = Path("/etc/hyperhive")
RECORD: Final = HOME / "installed.json"
HIDDEN: Final = ("/home", "/root", "/tmp", "/var/tmp", "/run")  # noqa: S108 - what units have of their own, or not at all
TIMEOUT_S: Final = 120
LOOK_TIMEOUT_S: Final = 10
AT_WORK: Final = frozenset({"active", "activating", "reloading", "deactivating"})
"""The states of a unit that has processes, or soon has."""

EXAMPLE: Final = """\
# Variables of the supervisor alone, readable by root alone. Other settings belong into hive.toml of the data directory.
#ANTHROPIC_API_KEY=
"""

Report = Callable[[str], None]


@dataclass(slots=True)
class Record:
    """What an installation made. `units`: name → digest; `user` only if it was not there before."""

    data_dir: str
    units: dict[str, str] = field(default_factory=dict)
    user: str = ""

    def write(self) -> None:
        HOME.mkdir(mode=0o755, exist_ok=True)
        write_private(RECORD, json.dumps({"data_dir": self.data_dir, "units": self.units, "user": self.user}, indent=1))

    @classmethod
    def read(cls) -> "Record | None":
        try:
            found: dict[str, Any] = json.loads(RECORD.read_text())
        except FileNotFoundError:
            return None
        return cls(found["data_dir"], dict(found["units"]), found["user"])


def layout_of(data: DataDir, user: str, redis_url: str) -> Layout:
    """Raises `UsageProblem`, `Refused`."""
    if not user.replace("-", "").replace("_", "").isalnum() or not user[0].isalpha() or user == "root":
        raise UsageProblem(f"{user!r} is no name for the services' user; write small letters, and not root")
    if hidden := [top for top in HIDDEN if data.root.is_relative_to(top)]:
        raise UsageProblem(
            f"services do not see {hidden[0]} as others do, so no hive can be in {data.root}; leave --data-dir out "
            "for /var/lib/hyperhive, or name a place such as /srv/hive"
        )
    needed = [sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[3])]
    return Layout(
        data_dir=data.root,
        user=user,
        python=Path(sys.executable),
        redis=None if redis_url else redis_embedded.server_binary(),
        redis_url=redis_url,
        home_is_read=any(path.startswith(("/home/", "/root/")) for path in needed),
        in_tmp=tuple(sorted({path for path in needed if path.startswith(("/tmp/", "/var/tmp/"))})),  # noqa: S108
    )


def install(data: DataDir, layout: Layout, report: Report, *, dry_run: bool, start: bool) -> None:
    """May be repeated: a newer hyperhive writes its units over the older's. Raises `HiveError`."""
    _check_machine()
    if (by := lock.holder(data)) and not by.is_hive:
        raise lock.in_use(data, by)
    if by:
        raise Refused(f"`hive up` runs with the data directory {data.root}; stop it with `hive down` first")
    before = Record.read()
    if before and before.data_dir != str(data.root):
        raise Refused(
            f"a hive with the data directory {before.data_dir} is installed here; `hive uninstall` removes it"
        )
    units = all_units(layout)
    _refuse_strangers(units, before)
    is_new_user = not _exists(layout.user)
    for line in _plan(data, layout, units, is_new_user=is_new_user):
        report(f"would {line}" if dry_run else line)
    if dry_run:
        return
    made = Record(str(data.root), _digests(units), layout.user if is_new_user or (before and before.user) else "")
    made.write()
    if is_new_user:
        _make_user(layout.user, data.root)
    _check_reach(layout)
    data.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # a unit that may write there does not start without it
    _write_units(units, before)
    _environment_file()
    _systemctl("daemon-reload")
    _systemctl("enable", TARGET)
    if start:
        _systemctl("restart" if before else "start", TARGET)
        report(f"started    {TARGET}; see `systemctl status 'hyperhive-*'` and `journalctl -u 'hyperhive-*'`")


def uninstall(report: Report, *, dry_run: bool, force: bool) -> None:
    """Stop the hive, and remove units, user and record; what people wrote stays. Raises `HiveError`."""
    made = Record.read()
    if made is None:
        raise NotFound(f"no hive is installed as systemd's units here ({RECORD} is not there)")
    _check_machine()
    changed = [name for name, digest in made.units.items() if digest_of(UNITS / name) not in {digest, ""}]
    if changed and not force:
        raise Refused(f"{', '.join(changed)} in {UNITS} was changed since; keep what you need of it, then use --force")
    words = "would " if dry_run else ""
    report(f"{words}stop and disable {TARGET}")
    for name in made.units:
        report(f"{words}remove {UNITS / name}")
    if made.user:
        report(f"{words}remove the user {made.user}")
    report(f"the data directory {made.data_dir} stays; delete it when you want to lose the hive")
    if not dry_run:
        _remove(made)


def _remove(made: Record) -> None:
    with contextlib.suppress(Refused):  # a unit that an installation cut short never wrote
        _systemctl("disable", "--now", TARGET)
    for name in made.units:
        with contextlib.suppress(Refused):
            _systemctl("stop", name)
        (UNITS / name).unlink(missing_ok=True)
    _systemctl("daemon-reload")
    if made.user and _exists(made.user):
        _run("userdel", made.user)
    with contextlib.suppress(OSError):
        (Path(made.data_dir) / "run" / "hive.json").unlink()
    RECORD.unlink()
    if ENVIRONMENT.exists() and ENVIRONMENT.read_text() == EXAMPLE:
        ENVIRONMENT.unlink()
    with contextlib.suppress(OSError):
        HOME.rmdir()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise Refused("units of the whole machine are root's; run this as root")
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        raise Refused("systemd does not run this machine; use `hive up`, or Docker Compose")


def _refuse_strangers(units: dict[str, str], before: Record | None) -> None:
    ours = before.units if before else {}
    if strangers := [name for name in units if name not in ours and (UNITS / name).exists()]:
        raise Refused(f"{UNITS / strangers[0]} is there and not of this installation; remove it first")


def _plan(data: DataDir, layout: Layout, units: dict[str, str], *, is_new_user: bool) -> list[str]:
    lines = [f"make the user {layout.user}"] if is_new_user else []
    lines += [f"write {UNITS / name}" for name in units]
    return [*lines, f"keep the hive in {data.root}", f"enable {TARGET}"]


def _make_user(name: str, home: Path) -> None:
    # fmt: off
    _run(
        "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(home),
        "--shell", "/usr/sbin/nologin", "--comment", "hyperhive", name,
    )
    # fmt: on


def _check_reach(layout: Layout) -> None:
    """The services' user must be able to run what it is to run: sources in a closed home are not."""
    package = importlib.util.find_spec("hive_broker")
    needed = [layout.python, *([layout.redis] if layout.redis else []), Path(str(package.origin if package else ""))]

    def look() -> None:
        for path in needed:
            if not os.access(path, os.R_OK):
                raise Refused(
                    f"the user {layout.user} cannot read {path}; put hyperhive where everybody may, as /opt/hyperhive"
                )

    owner.as_user(owner.find(layout.user), look)


def _write_units(units: dict[str, str], before: Record | None) -> None:
    for name in (before.units if before else {}).keys() - units.keys():
        (UNITS / name).unlink(missing_ok=True)
    for name, text in units.items():
        write_private(UNITS / name, text)
        (UNITS / name).chmod(0o644)


def _environment_file() -> None:
    if not ENVIRONMENT.exists():
        write_private(ENVIRONMENT, EXAMPLE)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _digests(units: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in units.items()}


def digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def units_at_work(data: DataDir) -> list[str]:
    """Those installed units of the hive in `data` that run, start or have not ended yet. Raises `Refused`."""
    made = Record.read()
    if made is None or made.data_dir != str(data.root):
        return []
    return [name for name in made.units if state_of(name) in AT_WORK]


def state_of(unit: str) -> str:
    """As `systemctl is-active` says it. Raises `Refused` where systemd does not answer."""
    return _answer("systemctl", "is-active", unit).strip()


def printed_by(unit: str) -> list[str]:
    """Its last lines in the journal, the newest last. Raises `Refused` where there is none."""
    return _answer("journalctl", "--unit", unit, "--lines", "20", "--output", "cat", "--no-pager").splitlines()


def _answer(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(str(error)) from error
    return done.stdout


def _systemctl(*words: str) -> None:
    _run("systemctl", *words)


def _run(*words: str) -> None:
    """Raises `Refused` with what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{' '.join(words)}: {error}") from error
    if done.returncode:
        raise Refused(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")
