"""Making a backup: hold writes to Redis, see everything as it is at that moment, let go, and copy at leisure."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hive_cli.backup import agents, archive, configs, credentials, stores
from hive_cli.backup.archive import ArchiveWriter, Header, Manifest
from hive_cli.backup.streams import write_streams
from hive_cli.errors import UsageProblem
from hive_cli.output import counted
from hive_cli.paths import DataDir
from hive_cli.stack import config, lock, redis_external, redis_place
from hive_cli.stack.leftovers import ProcessBook
from hive_cli.stack.redis_briefly import embedded_redis
from hive_contracts.errors import Refused
from hive_contracts.ids import new_id
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_dump import RedisDump
from hive_runtime.redis_url import RedisAddress

STEPS: Final = 4
TRIES: Final = 4
PAUSE_S: Final = 2.0
"""Between tries to find the stores at rest: the hive works meanwhile."""

Tell = Callable[[int, str], None]
"""Number of the step, and what is done in it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`passphrase`: with credentials, encrypted with it; None leaves them out."""

    state: bool = False
    passphrase: str | None = None


@dataclass(slots=True)
class _Moment:
    """What was seen while writes were held."""

    streams: Path
    keys: int
    redis: str
    refs: Mapping[str, configs.Refs]
    held_s: float = 0.0


def make(data: DataDir, target: Path, wanted: Wanted, *, environ: Mapping[str, str], tell: Tell) -> Manifest:
    """A backup of the hive on `data`, running or not, at `target`. Raises `HiveError`; then nothing is left there."""
    if target.exists():
        raise UsageProblem(f"{target} exists already; name another file, or remove it")
    if not target.parent.is_dir():
        raise UsageProblem(f"the folder {target.parent} does not exist; make it, or name another file")
    if not data.root.is_dir() or not (data.root / "supervisor.sqlite").exists():
        raise Refused(f"there is no hive in {data.root} to back up; name another with --data-dir")
    with _redis(data, environ) as address, tempfile.TemporaryDirectory(dir=target.parent, prefix=".hive-") as scratch:
        return _make(data, target, wanted, address=address, scratch=Path(scratch), tell=tell)


@contextmanager
def _redis(data: DataDir, environ: Mapping[str, str]) -> Iterator[RedisAddress]:
    """The hive's Redis; of a hive that is down, its own server is started for the time, and no hive can start."""
    if redis_place.may_run(data):
        yield redis_place.of_running(data) or redis_place.embedded(data)
        return
    settings = config.read(data, environ)
    with lock.held(data, "hive backup"):
        if ProcessBook(data.processes).alive():
            raise Refused("processes of a hive that was killed still end; try again in a few seconds")
        if settings.url:
            yield redis_external.parse(settings.url)
        else:
            with embedded_redis(data, settings) as address:
                yield address


def _make(data: DataDir, target: Path, wanted: Wanted, *, address: RedisAddress, scratch: Path, tell: Tell) -> Manifest:
    header = Header(hyperhive_backup=archive.FORMAT, id=new_id(), made_at=datetime.now(UTC).isoformat())
    names = agents.agent_names(data.root)
    with stores.opened() as snapshots:
        tell(1, "streams and the moment of all stores")
        moment = asyncio.run(_see(data, address, snapshots, scratch))
        with archive.writing(target, header) as writer:
            writer.add_file(archive.STREAMS, moment.streams)
            moment.streams.unlink()
            tell(2, f"{len(snapshots.found)} stores")
            for snapshot in snapshots.found:
                copy = scratch / "store"
                snapshot.copy(copy)
                writer.add_file(f"stores/{snapshot.path}", copy)
                copy.unlink()
            tell(3, counted(len(moment.refs), "config repository", "config repositories"))
            _add_configs(data.root, moment.refs, writer, scratch)
            tell(4, f"files of {counted(len(names), 'agent')}")
            left_out = _add_agents(data.root, names, writer, scratch, state=wanted.state)
            left_out += _add_secrets(data, names, writer, wanted)
            return writer.end(
                agents=names,
                stores={str(one.path): one.version for one in snapshots.found},
                redis=moment.redis,
                keys=moment.keys,
                held_s=round(moment.held_s, 3),
                left_out=left_out,
            )


async def _see(data: DataDir, address: RedisAddress, snapshots: stores.Snapshots, scratch: Path) -> _Moment:
    """All that changes, at one moment: no write to Redis is carried out between the first look and the last."""
    async with aclosing(RedisAdmin(address)) as admin:
        name = (await admin.facts()).name
    for _ in range(TRIES):
        try:
            return await _look(data, address, snapshots, scratch / archive.STREAMS, name)
        except stores.NotAtRest:
            await asyncio.sleep(PAUSE_S)
    return await _look(data, address, snapshots, scratch / archive.STREAMS, name)


async def _look(data: DataDir, address: RedisAddress, snapshots: stores.Snapshots, path: Path, name: str) -> _Moment:
    async with aclosing(RedisDump(address)) as dump:
        began = time.monotonic()
        async with dump.held():
            refs = await asyncio.to_thread(snapshots.take, data.root, lambda: configs.all_refs(data.root))
            keys = await write_streams(dump, path)
            if not dump.was_held:
                raise Refused("looking took so long that Redis went on meanwhile; try again when there is less traffic")
        return _Moment(path, keys, name, refs, time.monotonic() - began)


def _add_configs(root: Path, refs: Mapping[str, configs.Refs], writer: ArchiveWriter, scratch: Path) -> None:
    repositories = configs.repositories(root)
    for name, found in refs.items():
        if found and name in repositories:
            bundle = scratch / f"{name}.bundle"
            configs.make_bundle(repositories[name], found, bundle)
            writer.add_file(f"configs/{name}.bundle", bundle)
            bundle.unlink()


def _add_agents(root: Path, names: list[str], writer: ArchiveWriter, scratch: Path, *, state: bool) -> list[str]:
    left_out: list[str] = []
    for name in names:
        for file, content in agents.harness_files(root, name):
            if archive.is_member(f"harness/{name}/{file}"):
                writer.add_bytes(f"harness/{name}/{file}", content)
        if state:
            packed = scratch / f"{name}.tar"
            left_out += agents.pack_state(root, name, packed)
            if packed.exists():
                writer.add_file(f"state/{name}.tar", packed)
                packed.unlink()
    return left_out


def _add_secrets(data: DataDir, names: list[str], writer: ArchiveWriter, wanted: Wanted) -> list[str]:
    """hive.toml in clear, unless it holds a password; credentials if asked for."""
    found = credentials.collect(data.root, names) if wanted.passphrase else {}
    left_out: list[str] = []
    if data.settings.is_file():
        text = data.settings.read_bytes()
        if not _holds_password(data):
            writer.add_bytes(archive.SETTINGS, text)
        elif wanted.passphrase:
            found["hive.toml"] = text
        else:
            left_out.append("hive.toml, which holds the password of Redis: add --credentials")
    if wanted.passphrase:
        sealed = credentials.encrypt(found, wanted.passphrase, backup=writer.header.id)
        writer.add_bytes(archive.CREDENTIALS, sealed)
    return left_out


def _holds_password(data: DataDir) -> bool:
    url = config.read(data, {}).url
    return bool(url and urlsplit(url).password)
