"""`hive up` and `hive down`."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict

import click

from hive_cli.command import command, data_dir, json_option
from hive_cli.output import print_json, say, say_under


@command(
    "up",
    example="hive up\nhive up --demo\nhive up --port 8080 --data-dir ~/hives/work\nhive up --redis redis://me:pw@db:6379/0",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Of the dashboard [default: 7000]; 0 takes a free one.")
@click.option(
    "--runtime",
    type=click.Choice(["auto", "nixos", "nspawn", "docker", "process"]),
    help="What agents run in [default: auto, the strongest that runs here].",
)
@click.option("--engine", type=click.Choice(["claude", "scripted"]), help="Instead of what is found.")
@click.option(
    "--redis", metavar="URL", help="A Redis 7 or Valkey 8 of your own: redis://, rediss://, unix://, sentinel://."
)
@click.option("--demo", is_flag=True, help="Add two scripted agents and a short story; needs no model.")
def up(*, port: int | None, runtime: str | None, engine: str | None, redis: str | None, demo: bool) -> None:
    """Start the hive in the foreground: Redis, the services, the manager agent hm1nd, and the dashboard.

    Ctrl-C stops everything; the next `up` carries on where it stopped.
    """
    from hive_cli.stack.launcher import Launcher, UpOptions  # noqa: PLC0415  `down` and `--help` need none of it

    options = UpOptions(port=port, engine=engine, redis=redis, runtime=runtime, demo=demo)
    asyncio.run(Launcher(options, data_dir(), environ=os.environ, report=_report).run())


def _report(text: str) -> None:
    """A word in ten columns, and what there is to say of it."""
    if text[10:11] == " " and text[:1].isalpha():
        say_under(text[:10].rstrip().ljust(10), text[10:].strip())
    else:
        say(text)


@command("down", example="hive down")
@json_option
def down(*, as_json: bool) -> None:
    """Stop the running hive, as Ctrl-C in its terminal does. Of one that was killed, end what it left running."""
    from hive_cli.stack.stop import stop_running  # noqa: PLC0415

    done = stop_running(data_dir(), report=lambda text: None if as_json else say(text))
    if as_json:
        print_json({"stopped": True} | asdict(done))
        return
    if done.processes or done.agents:
        say(f"of a hive that was killed were left, and are ended: {_listed(done.processes, done.agents)}")
    what = "nothing of it runs" if done.pid is None else f"the hive (pid {done.pid}) is stopped"
    say(f"{what}; everything is kept for the next `hive up`")


def _listed(processes: Sequence[str], agents: Sequence[str]) -> str:
    containers = f"the {'containers' if len(agents) > 1 else 'container'} of {', '.join(agents)}"
    return "; ".join(filter(None, (", ".join(processes), containers if agents else "")))
