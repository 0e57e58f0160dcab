"""The ids that agents have on this machine: a range each, which nobody else may have."""

import os
import pwd
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from hive_runtime.checkup import Finding, State
from hive_supervisor import id_ranges
from hive_supervisor.doctor.sightings import own_id
from hive_supervisor.doctor.site import Site
from hive_supervisor.runtimes.base import IDS
from hive_supervisor.store import AgentIds, ids_of

WHAT: Final = "user ids"
SUBORDINATE: Final = (Path("/etc/subuid"), Path("/etc/subgid"))

Range = tuple[int, int]
"""The first id, and the one after the last."""


def look(site: Site) -> Iterator[Finding]:
    agents = _agents(site.data_dir)
    if os.geteuid() != 0:
        yield Finding("all", WHAT, State.OK, "not root: agents have none of their own")
        return
    if not agents:
        first = site.config.first_uid
        agents = {"the first agent": (first, first + IDS)}
    clashes = [*_clashes(agents, _taken() | _of_other_hives(site)), *_among(agents)]
    for clash in clashes:
        fix = "set first_uid in [supervisor] to a free range; an agent gets its ids when it is made"
        yield Finding("all", WHAT, State.WRONG, clash, fix)
    unclaimed = _unclaimed(site)
    for name, ids in unclaimed.items():
        text = f"those of {name}, from {ids.base} on, are not claimed for this hive: another could give them away"
        yield Finding("all", WHAT, State.WRONG, text, "hive doctor ids --fix", mendable=True)
    if not clashes and not unclaimed:
        low, high = min(low for low, _ in agents.values()), max(high for _, high in agents.values())
        yield Finding("all", WHAT, State.OK, f"{low} to {high - 1}, nobody else's")


def mend(site: Site) -> Iterator[str]:
    """What agents have is claimed besides; nobody's ids change, and where new agents get theirs neither."""
    if unclaimed := _unclaimed(site):
        id_ranges.add(own_id(site.data_dir), unclaimed.values())
        yield f"the user ids of {', '.join(unclaimed)} are claimed for this hive"


def _unclaimed(site: Site) -> dict[str, AgentIds]:
    """Agents with ids where this hive claimed none. One that claimed nothing yet does so when root starts it."""
    if os.geteuid() != 0 or (claimed := id_ranges.own(own_id(site.data_dir))) is None:
        return {}
    found = ids_of(site.data_dir / "supervisor.sqlite")
    return {name: ids for name, ids in found.items() if claimed.lacks(ids)}


def _agents(data_dir: Path) -> dict[str, Range]:
    return {name: (ids.base, ids.base + IDS) for name, ids in ids_of(data_dir / "supervisor.sqlite").items()}


def _taken() -> dict[str, Range]:
    """Whose ids are known to this machine."""
    users = {f"the user {user.pw_name}": (user.pw_uid, user.pw_uid + 1) for user in pwd.getpwall()}
    return users | {f"{line} in {path}": found for path in SUBORDINATE for line, found in _subordinate(path)}


def _of_other_hives(site: Site) -> dict[str, Range]:
    """Ids that the agents of this machine's other hives have."""
    found = {one.data_dir: _agents(one.data_dir) for one in id_ranges.others(own_id(site.data_dir))}
    return {f"{name} in {folder}": ids for folder, agents in found.items() for name, ids in agents.items()}


def _subordinate(path: Path) -> Iterator[tuple[str, Range]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        name, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if first.isdecimal() and count.strip().isdecimal():
            yield f"the range of {name}", (int(first), int(first) + int(count))


def _clashes(agents: dict[str, Range], taken: dict[str, Range]) -> Iterator[str]:
    for agent, own in agents.items():
        for who, others in taken.items():
            if _overlap(own, others):
                yield f"ids of {agent} ({own[0]} to {own[1] - 1}) are also those of {who}"


def _among(agents: dict[str, Range]) -> Iterator[str]:
    ordered = sorted(agents.items(), key=lambda item: item[1])
    for (one, first), (other, second) in pairwise(ordered):
        if _overlap(first, second):
            yield f"{one} and {other} share ids"


def _overlap(one: Range, other: Range) -> bool:
    return one[0] < other[1] and other[0] < one[1]
