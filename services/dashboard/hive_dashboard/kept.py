"""What a destroyed agent left: how much of it there is. Nothing in it is opened or followed."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from hive_contracts.agents import Desired
from hive_dashboard.registry import AgentView

MOST: Final = 20_000
"""Files looked at for one agent: it may have made any number."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`size` in bytes; `more`: there is more than was looked at, or may be looked at."""

    agent: AgentView
    size: int
    more: bool = False


def kept_of(agents: Iterable[AgentView], data_dir: Path) -> tuple[Kept, ...]:
    """One for each destroyed agent. Blocks."""
    return tuple(measured(agent, data_dir) for agent in agents if agent.desired is Desired.DESTROYED)


class KeptSizes:
    """Remembers what was measured: nothing of a destroyed agent changes while it is destroyed."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._known: dict[tuple[str, datetime], Kept] = {}

    def of(self, agents: Iterable[AgentView]) -> tuple[Kept, ...]:
        """One for each destroyed agent. Blocks."""
        gone = [agent for agent in agents if agent.desired is Desired.DESTROYED]
        self._known = {
            key: self._known.get(key) or measured(agent, self._data_dir) for agent in gone for key in [_key(agent)]
        }
        return tuple(replace(self._known[_key(agent)], agent=agent) for agent in gone)


def _key(agent: AgentView) -> tuple[str, datetime]:
    return agent.name, agent.container_since


def measured(agent: AgentView, data_dir: Path) -> Kept:
    """What there is of one agent, destroyed or not. Blocks."""
    size = looked_at = 0
    refused = False
    folders = [data_dir / "agents" / agent.name]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > MOST:
                        return Kept(agent, size, more=True)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        except OSError:
            refused = True
    return Kept(agent, size, more=refused)
