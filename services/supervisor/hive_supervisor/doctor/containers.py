"""Whether each container on this machine is of an agent that there is, and of one only."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator

from hive_contracts.agents import Desired
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.store import read_only
from hive_supervisor import id_ranges
from hive_supervisor.doctor.sightings import Sighting, own_id, seen
from hive_supervisor.doctor.site import Site

WHAT = "container"


def look(site: Site) -> Iterator[Finding]:
    sightings = seen(site)  # before the store: who is made meanwhile is in that first
    agents, own, known = _agents(site), _own(site, sightings), _known(site)
    found = [*_of_nobody(own, agents), *_twice(own), *_unwanted(own, agents), *_strange(sightings, known)]
    if site.idle:
        found += _alone(own, agents)
    yield from found
    if not found:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{len(own)}, each of an agent that is there")


def mend(site: Site) -> Iterator[str]:
    sightings = seen(site)
    agents = _agents(site)
    for one in _own(site, sightings):
        if one.agent not in agents:
            asyncio.run(one.remove())
            yield f"{one.what} of {one.agent} is removed"


def _of_nobody(own: list[Sighting], agents: dict[str, Desired]) -> Iterator[Finding]:
    for one in own:
        if one.agent not in agents:
            text = f"{one.what} is of {one.agent}, an agent that is not there{_still(one)}"
            yield Finding(one.place, WHAT, State.WRONG, text, "hive doctor containers --fix", mendable=True)


def _twice(own: list[Sighting]) -> Iterator[Finding]:
    """A hive whose runtime was changed while the one before could not be asked to end what it had."""
    by_agent = defaultdict(list)
    for one in own:
        if one.runs:
            by_agent[one.agent].append(one)
    for agent, several in by_agent.items():
        if len(several) > 1:
            text = f"{agent} runs more than once: {', '.join(f'{one.what} ({one.place})' for one in several)}"
            fix = "end what is not of the runtime in use: " + ", or ".join(one.by_hand for one in several)
            yield Finding(EVERYTHING, WHAT, State.WRONG, text, fix)


def _unwanted(own: list[Sighting], agents: dict[str, Desired]) -> Iterator[Finding]:
    for one in own:
        if one.runs and agents.get(one.agent) is Desired.DESTROYED:
            text = f"{one.what} of {one.agent} runs, though {one.agent} was destroyed"
            yield Finding(one.place, WHAT, State.NOTE, text, "start the hive: its supervisor ends it")


def _alone(own: list[Sighting], agents: dict[str, Desired]) -> Iterator[Finding]:
    """Of a hive whose supervisor was killed."""
    for one in own:
        if one.runs and agents.get(one.agent, Desired.DESTROYED) is not Desired.DESTROYED:
            text = f"{one.what} of {one.agent} runs, though its hive does not"
            yield Finding(one.place, WHAT, State.NOTE, text, "hive up goes on with it, hive down ends it")


def _strange(sightings: list[Sighting], known: set[str]) -> Iterator[Finding]:
    """Of a hive whose data directory is gone, or that is not known here: one in Compose writes nothing down."""
    for one in sightings:
        if not any(hive.endswith(one.hive) for hive in known):
            text = f"{one.what} is of {one.agent} in a hive that this machine does not know{_still(one)}"
            yield Finding(one.place, WHAT, State.NOTE, text, f"if that hive is gone: {one.by_hand}")


def _still(one: Sighting) -> str:
    return ", and runs" if one.runs else ""


def _own(site: Site, sightings: list[Sighting]) -> list[Sighting]:
    own = own_id(site.data_dir)
    return [one for one in sightings if own and own.endswith(one.hive)]


def _known(site: Site) -> set[str]:
    return {own_id(site.data_dir), *id_ranges.known()} - {""}


def _agents(site: Site) -> dict[str, Desired]:
    with read_only(site.data_dir / "supervisor.sqlite") as db:
        rows = db.execute("SELECT name, desired FROM agents").fetchall() if db else []
    return {row["name"]: Desired(row["desired"]) for row in rows}
