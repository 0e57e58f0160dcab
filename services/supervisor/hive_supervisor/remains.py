"""`python -m hive_supervisor.remains`: end the containers of a hive that does not run, as its end would have.

They outlive a supervisor that was killed, so that the next one goes on with them; whoever wants no next one runs this.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Final

import structlog

from hive_runtime import logging, settings
from hive_runtime.errors import StoreUnavailable
from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.doctor.sightings import own_id, seen
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.runtimes.choose import Place, build
from hive_supervisor.store import SupervisorStore
from hive_supervisor.telling import tell

STORE: Final = "supervisor.sqlite"
log = structlog.get_logger()


def end_remains(site: Site) -> list[str]:
    """The agents whose containers ran, and run no more. The hive must not run meanwhile. Raises `HiveError`."""
    own = own_id(site.data_dir)
    running = [one for one in seen(site) if own and own.endswith(one.hive) and one.runs]
    names = sorted({one.agent for one in running})
    if names:
        _note_as_wanted(site, names)
        asyncio.run(_end(site, {RuntimeChoice(one.place) for one in running}))
    return names


def _note_as_wanted(site: Site, names: Iterable[str]) -> None:
    """So that the next supervisor takes their ends for no crashes."""
    try:
        with closing(SupervisorStore(site.data_dir / STORE)) as store:
            lives = {agent.name: agent.life for agent in store.agents() if agent.name in names}
            with store.unit() as unit:
                for name, life in lives.items():
                    unit.keep_life(name, life.stopping())
    except StoreUnavailable as error:
        log.warning("ends will pass for crashes", reason=str(error))


async def _end(site: Site, places: Iterable[RuntimeChoice]) -> None:
    for name in places:
        async with aclosing(build(name, Place(site.data_dir, site.config, own_id(site.data_dir)))) as runtime:
            found = [one.name for one in (await runtime.list()).values() if one.running]
            await asyncio.gather(*(runtime.stop(one, grace_s=site.config.stop_grace_s) for one in found))


def main() -> int:
    logging.configure("remains", "WARNING")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args()
    return tell(lambda: _end_remains_of(arguments.data_dir))


def _end_remains_of(data_dir: Path) -> list[str]:
    config = settings.load(SupervisorSettings, "supervisor", data_dir=data_dir, environ=os.environ)
    return end_remains(Site(data_dir, config, ImageSettings(), os.environ))


if __name__ == "__main__":
    sys.exit(main())
