"""Restoring: everything is made ready in a folder beside the data directory, which takes its place in one step.

Killed before that step, nothing is there but the folder, which the next restore removes; killed after it, all is.
Into a Redis of the user's own the keys go in one transaction just before it, marked with the backup's id, so that the
same restore can be done again.
"""

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from pathlib import Path
from typing import Final

from hive_cli.backup import agents, archive, configs, credentials
from hive_cli.backup.archive import Manifest
from hive_cli.backup.make import Tell
from hive_cli.backup.streams import read_streams
from hive_cli.errors import UsageProblem
from hive_cli.paths import DataDir
from hive_cli.stack import config, data_dir, lock, redis_external
from hive_cli.stack.managed import STOPS
from hive_cli.stack.redis_briefly import embedded_redis
from hive_cli.systemd.install import units_at_work
from hive_contracts.errors import Refused
from hive_runtime.hive_id import hive_id
from hive_runtime.process import start_time
from hive_runtime.redis_admin import MINIMUM_VERSION, RedisAdmin
from hive_runtime.redis_dump import RedisDump
from hive_runtime.redis_url import RedisAddress
from hive_runtime.wiping import wipe

STEPS: Final = 4
UNPACKED: Final = "unpacked"
OF_THE_DISK: Final = frozenset({"lost+found"})
"""What a file system may have at its root."""


Finish = Callable[[], None]


def check(path: Path) -> Manifest:
    """What a restore would find in the archive, which is unpacked beside it where that may be. Raises `Refused`."""
    check_source(path)
    beside = path.parent if os.access(path.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=beside, prefix=".hive-check-") as folder:
        return archive.unpack(path, Path(folder))


def restore(path: Path, data: DataDir, *, redis: str | None, passphrase: str | None, tell: Tell) -> Manifest:
    """The hive of the archive on `data`, empty or not there until then; all agents are paused. Raises `HiveError`."""
    check_source(path)
    check_target(data)
    with _beside(data) as staged:
        tell(1, "checking the archive")
        unpacked = staged.root / UNPACKED
        unpacked.mkdir()
        manifest = archive.unpack(path, unpacked)
        secrets = _secrets(unpacked, manifest, passphrase)
        tell(2, "stores, configurations and agents")
        _place(unpacked, staged, manifest, secrets)
        tell(3, f"{manifest.keys} keys of Redis")
        url = redis or config.read(staged, {}).url
        with _streams(unpacked, staged, manifest, url) as finish:
            tell(4, f"putting it in place as {data.root}")
            shutil.rmtree(unpacked)
            _take_place(staged, data)
            finish()
    return manifest


def check_source(path: Path) -> None:
    """Raises `Refused` where nothing can be read."""
    if not path.is_file():
        raise Refused(f"there is no file {path}")


def check_target(data: DataDir) -> None:
    """Raises `Refused` unless nothing is there."""
    if (pid := lock.running_pid(data)) is not None:
        raise Refused(f"a hive runs on {data.root} (pid {pid}); restore into another directory with --data-dir")
    if at_work := units_at_work(data):
        raise Refused(f"{at_work[0]} still runs for {data.root}; first `{STOPS['systemd']}`, which waits for its end")
    if data.root.is_symlink() or (data.root.exists() and not data.root.is_dir()):
        raise Refused(f"{data.root} is no directory; name another with --data-dir")
    if _marker(data).exists():
        return  # what is there is of a restore that was cut short
    if data.root.is_dir() and {path.name for path in data.root.iterdir()} - OF_THE_DISK:
        raise Refused(f"{data.root} is not empty; restore into an empty or new directory with --data-dir")


def _marker(data: DataDir) -> Path:
    return data.root / data_dir.RESTORING


def _clear(data: DataDir) -> None:
    """Take away what a restore that was cut short has put there, so that nothing but its mark is left."""
    for path in data.root.iterdir() if _marker(data).exists() else ():
        if path.name not in (OF_THE_DISK | {data_dir.RESTORING}):
            wipe(path)


@contextmanager
def _beside(data: DataDir) -> Iterator[DataDir]:
    """A private folder of this restore, gone afterwards unless it took its place; what killed ones left goes, too."""
    mounted = data.root.is_mount()
    parent = data.root if mounted else data.root.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in leftovers(data):
            shutil.rmtree(left)
        if mounted:
            _clear(data)
            _marker(data).touch()
        staged = DataDir(parent / f"{_prefix(data)}{os.getpid()}")
        staged.root.mkdir(mode=0o700)
    except OSError as error:
        raise Refused(f"cannot write in {parent} ({error.strerror}); name another place with --data-dir") from error
    try:
        with lock.held(staged):
            yield staged
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)
        if mounted:
            _marker(data).unlink(missing_ok=True)


def leftovers(data: DataDir) -> list[Path]:
    """Folders of restores to `data` that were killed."""
    found = data.root.parent.glob(f"{_prefix(data)}*")
    return [path for path in found if path.is_dir() and not _is_at_work(path)]


def _is_at_work(staged: Path) -> bool:
    pid = staged.name.rpartition("-")[2]
    return pid.isdecimal() and start_time(int(pid)) is not None and lock.running_pid(DataDir(staged)) is not None


def _prefix(data: DataDir) -> str:
    return f".{data.root.name}.restoring-"


def _secrets(unpacked: Path, manifest: Manifest, passphrase: str | None) -> dict[str, bytes]:
    sealed = unpacked / archive.CREDENTIALS
    if not sealed.exists():
        if passphrase is not None:
            raise UsageProblem("this backup holds no credentials, so it needs no passphrase")
        return {}
    if passphrase is None:
        return {}
    found = credentials.decrypt(sealed.read_bytes(), passphrase, backup=manifest.header.id)
    allowed = {f"agents/{name}/{credentials.LOGIN}" for name in manifest.agents} | {"hive.toml"}
    for name in found:
        folder, _, file = name.partition("/")
        if name not in allowed and not (folder == "secrets" and credentials.is_kept(file)):
            raise Refused(f"this backup has credentials for {name[:100]!r}, which no hive has; nothing was changed")
    return found


def _place(unpacked: Path, staged: DataDir, manifest: Manifest, secrets: Mapping[str, bytes]) -> None:
    data_dir.prepare(staged)
    hive_id(staged.root)
    for store in manifest.stores:
        _place_store(unpacked / "stores" / store, staged.root / store)
    for bundle in sorted((unpacked / "configs").glob("*.bundle")):
        configs.unbundle(bundle, staged.root / "configs" / f"{bundle.stem}.git")
    for name in manifest.agents:
        _place_agent(unpacked, staged, name)
    if (unpacked / archive.SETTINGS).exists():
        (unpacked / archive.SETTINGS).rename(staged.settings)
    for path, content in secrets.items():
        _put(staged.root, path, content)


def _place_store(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Refused(f"this backup names the store {target.name} and does not hold it; nothing was changed")
    with closing(sqlite3.connect(f"file:{source}?mode=ro&immutable=1", uri=True)) as db:
        try:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            verdict = str(error)
    if verdict != "ok":
        raise Refused(f"the store {target.name} in this backup is damaged ({verdict[:100]}); nothing was changed")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)


def _place_agent(unpacked: Path, staged: DataDir, name: str) -> None:
    """Paused, whether its harness keeps its files apart or, where it is no other user, in the state."""
    folder = staged.root / "agents" / name
    state, harness = folder / "state", folder / "harness"
    for path in (state / "home", harness):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    packed = unpacked / "state" / f"{name}.tar"
    if packed.exists():
        (state / "home").rmdir()
        agents.unpack_state(packed, state)
    for file in (unpacked / "harness" / name).glob("*"):
        file.rename(harness / file.name)
    for place in ("state", "harness"):
        path = folder / place / agents.HARNESS_FILE
        kept = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        _put(staged.root, f"agents/{name}/{place}/{agents.HARNESS_FILE}", agents.paused(kept))


def _put(root: Path, path: str, content: bytes) -> None:
    """In the place of what is there; through no link, for agents made some of these folders."""
    target = root
    for part in Path(path).parts[:-1]:
        target /= part
        if target.is_symlink():
            raise Refused(f"in this backup {path[:100]} leads through a link; nothing was changed")
        target.mkdir(mode=0o700, exist_ok=True)
    target /= Path(path).name
    target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


@contextmanager
def _streams(unpacked: Path, staged: DataDir, manifest: Manifest, url: str | None) -> Iterator[Finish]:
    """The keys are in the server; the value is to be called once the data directory is in its place."""
    file = unpacked / archive.STREAMS
    backup, owner = manifest.header.id, hive_id(staged.root)
    if url is None:
        with embedded_redis(staged, config.read(staged, {})) as address:
            asyncio.run(_load(address, file, backup, owner, embedded=True))
        shutil.rmtree(staged.run, ignore_errors=True)
        yield lambda: None
        return
    address = redis_external.parse(url)
    asyncio.run(_load(address, file, backup, owner, embedded=False))
    yield lambda: asyncio.run(_finish(address))


async def _load(address: RedisAddress, file: Path, backup: str, owner: str, *, embedded: bool) -> None:
    async with aclosing(RedisAdmin(address)) as admin:
        facts = await admin.facts()
        if facts.version < MINIMUM_VERSION:
            raise Refused(f"{facts.name} at {address.url} is too old; hyperhive needs Redis 7.0 or Valkey 8 or newer")
    async with aclosing(RedisDump(address)) as dump:
        if not await dump.is_empty(but=backup):
            raise Refused(
                f"Redis at {address.url} holds a hive already; restore into an empty one with --redis URL. Nothing was "
                "changed"
            )
        await dump.load(read_streams(file), backup=backup, owner=owner)
        if embedded:
            await dump.loaded()


async def _finish(address: RedisAddress) -> None:
    async with aclosing(RedisDump(address)) as dump:
        await dump.loaded()


def _take_place(staged: DataDir, data: DataDir) -> None:
    """The one step: a folder is renamed over an empty one, or over none."""
    os.sync()
    if staged.root.parent == data.root:
        _fill(staged, data)
        return
    try:
        staged.root.rename(data.root)
    except OSError as error:
        raise Refused(f"{data.root} is not empty any more ({error.strerror}); nothing was changed there") from error
    archive.sync(data.root.parent)


def _fill(staged: DataDir, data: DataDir) -> None:
    """A mount point cannot be replaced: its parts come one by one, and no hive starts while the mark is there."""
    for path in sorted(staged.root.iterdir()):
        path.rename(data.root / path.name)
    archive.sync(data.root)
