"""What was left behind by something that was killed. Only what nobody can miss is removed; the rest is named."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

from hive_cli.backup import restore
from hive_cli.doctor.site import Site
from hive_cli.stack import lock
from hive_cli.stack.leftovers import ProcessBook
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.store import read_only

FIX = "hive doctor --fix"


def look(site: Site) -> Iterator[Finding]:
    found = [*_addresses(site), *_partial(site)]
    for path, text in found:
        yield Finding(EVERYTHING, "leftover", State.NOTE, f"{path}: {text}", FIX, mendable=True)
    processes = {} if site.runs else ProcessBook(site.data.processes).alive()
    for name, (pid, _) in processes.items():
        text = f"process {pid} is the {name} of a hive that was killed"
        yield Finding(EVERYTHING, "leftover", State.NOTE, text, f"hive down, or {FIX}", mendable=True)
    for path in _of_nobody(site):
        text = f"{path}: files of an agent that is not there"
        yield Finding(EVERYTHING, "leftover", State.NOTE, text, "when you need nothing of it, remove the folder")
    if not found and not processes:
        yield Finding(EVERYTHING, "leftover", State.OK, "nothing that could be removed")


def mend(site: Site) -> Iterator[str]:
    for path, _ in [*_addresses(site), *_partial(site)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        yield f"{path} is removed"
    if not site.runs and ProcessBook(site.data.processes).alive():
        with lock.held(site.data, "hive doctor"):
            for name in asyncio.run(ProcessBook(site.data.processes).end_leftovers(lambda _: None)):
                yield f"the {name} of a hive that was killed is ended"


def _addresses(site: Site) -> Iterator[tuple[Path, str]]:
    if site.data.hive_json.exists() and not site.runs:
        yield site.data.hive_json, "the address of a hive that does not run"


def _partial(site: Site) -> Iterator[tuple[Path, str]]:
    """What was being written when its writer was killed. A running hive writes such files itself."""
    data = site.data
    for path in restore.leftovers(data):
        yield path, "of a restore that was killed"
    if site.runs:
        return
    for folder in (data.root, data.run, data.secrets, data.redis):
        for path in sorted(folder.glob("*.partial")):
            yield path, "half written"


def _of_nobody(site: Site) -> Iterator[Path]:
    with read_only(site.data.root / "supervisor.sqlite") as db:
        if db is None:
            return
        names = {row["name"] for row in db.execute("SELECT name FROM agents")}
    for path in sorted((site.data.root / "agents").glob("*")):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            yield path
