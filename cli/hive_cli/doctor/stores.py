"""The sqlite stores: whether each is whole, and of a schema that this hyperhive knows. They are read, never locked."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hive_cli.doctor.site import Site
from hive_contracts.stores import AGENT_STORES, HIVE_STORES
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.errors import StoreUnavailable
from hive_runtime.store import read_only
from hive_runtime.store_broken import broken_stores

WHAT: Final = "store"
PUT_BACK: Final = "let the service set it aside by starting it, or restore a backup (docs/operations.md)"


def stores(root: Path) -> Iterator[tuple[Path, int]]:
    """Those that are there, with the schema version that this hyperhive has for each."""
    for name, version in HIVE_STORES.items():
        yield root / name, version
    for name, version in AGENT_STORES.items():
        for path in sorted(root.glob(f"agents/*/{name}")):
            yield path, version


def look(site: Site) -> Iterator[Finding]:
    root = site.data.root
    there = [(path, version) for path, version in stores(root) if path.exists()]
    faults = [(path, fault) for path, version in there if (fault := fault_of(path, version))]
    for path, fault in faults:
        fix = "upgrade hyperhive" if "newer" in fault else PUT_BACK
        yield Finding(EVERYTHING, WHAT, State.WRONG, f"{path.relative_to(root)} {fault}", fix)
    for path in broken_stores(root):
        text = f"{path.relative_to(root)} was broken and is set aside"
        yield Finding(EVERYTHING, WHAT, State.NOTE, text, f"when you need nothing of it: rm {path}*")
    if not faults:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{len(there)} stores are whole" if there else "there are none yet")


def fault_of(path: Path, version: int) -> str:
    """As a predicate; empty when there is none."""
    try:
        with read_only(path) as db:
            if db is None:
                return ""
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
            (found,) = db.execute("PRAGMA user_version").fetchone()
    except (StoreUnavailable, sqlite3.Error) as error:
        return f"cannot be read: {error}"
    if verdict != "ok":
        return f"is damaged: {' '.join(str(verdict).split())[:200]}"
    if found > version:
        return f"is of a newer hyperhive (schema {found}, this one knows {version})"
    return ""
