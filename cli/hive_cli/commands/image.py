"""`hive image`: the images that agents' containers are made of."""

from pathlib import Path
from typing import Any

import click

from hive_cli.command import HiveGroup, command, data_dir, json_option
from hive_cli.output import confirmed, dim, duration, print_json, print_table, say, size, when
from hive_cli.stack.claude_setup import claude_for_image
from hive_cli.stack.image_tool import run_image_tool
from hive_contracts.errors import NotFound


@click.group("image", cls=HiveGroup, epilog="\b\nExample:\n  $ hive image build\n  $ hive image list")
def image() -> None:
    """Make, list and remove the images that agents' containers are made of."""


@command("build", example="hive image build\nhive image build --package nodejs\nhive image build --from root.tar.gz")
@click.option(
    "--from",
    "tarball",
    metavar="TARBALL",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A root file system with Python 3.11 or newer and git, instead of Debian's packages.",
)
@click.option("--suite", metavar="NAME", help="Debian release [default: this machine's].")
@click.option("--mirror", metavar="URL", help="Where Debian's packages come from [default: as this machine's apt].")
@click.option("--package", "packages", metavar="NAME", multiple=True, help="A further Debian package; may be repeated.")
@click.option("--no-claude", is_flag=True, help="Leave Claude Code out.")
@click.option("--again", is_flag=True, help="Build it though it is there, with Debian's updates since.")
@click.option("--docker", is_flag=True, help="Give it to Docker or Podman too, as hyperhive:latest.")
@json_option
def build(  # noqa: PLR0913 - its options
    *,
    tarball: Path | None,
    suite: str | None,
    mirror: str | None,
    packages: tuple[str, ...],
    no_claude: bool,
    again: bool,
    docker: bool,
    as_json: bool,
) -> None:
    """Build an image, as root: Debian, hyperhive's harness, git and ordinary tools, Claude Code.

    Its version follows from what it is made of: what is there already is not built again. A build that is broken off is
    never used, and cleared away by the next one.
    """
    data = data_dir()
    claude = None if no_claude else claude_for_image(data, quiet=as_json)
    words = ["build"]
    for option, value in (("--from", tarball), ("--suite", suite), ("--mirror", mirror), ("--claude", claude)):
        words += [f"{option}={value}"] if value else []
    words += [f"--package={name}" for name in packages]
    words += [option for option, wanted in (("--again", again), ("--docker", docker)) if wanted]
    found = run_image_tool(data, words, quiet=as_json)
    if as_json:
        print_json(found)
        return
    say(
        f"image {found['version']} {'is built' if found['new'] else 'is there already'}: {size(found['size'])}, "
        f"{'with Claude Code ' + found['claude'] if found['claude'] else 'without Claude Code'}"
    )
    if "docker" in found:
        say(f"the container engine has it as hyperhive:{found['version']} and hyperhive:latest")


@command("list", example="hive image list\nhive image list --json")
@json_option
def list_images(*, as_json: bool) -> None:
    """List the images, the newest first; new containers are made of that."""
    found = run_image_tool(data_dir(), ["list"], quiet=True)
    if as_json:
        print_json(found)
    elif not found["images"]:
        say(f"There is no image in {found['directory']} yet; make one with `hive image build`.")
    else:
        print_table(("VERSION", "BUILT", "AGE", "SIZE", "CLAUDE", "IN USE BY"), [_row(one) for one in found["images"]])
        say(dim(f"{found['directory']}, {size(found['free'])} free"))


@command("remove", example="hive image remove 0.1.0-1a2b3c4d5e")
@click.argument("version")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(*, version: str, yes: bool, as_json: bool) -> None:
    """Remove an image. Refused while a container is made of it."""
    if not yes and not as_json:
        there = run_image_tool(data_dir(), ["list"], quiet=True)["images"]
        if version not in [one["version"] for one in there]:
            raise NotFound(f"there is no image {version!r}; `hive image list` names them")
        confirmed(f"Remove the image {version}?", "remove it")
    found = run_image_tool(data_dir(), ["remove", "--", version], quiet=True)
    if as_json:
        print_json(found)
    else:
        say(f"image {found['version']} is removed, {size(found['size'])} are free again")


@command("prune", example="hive image prune\nhive image prune --keep 1 --yes")
@click.option("--keep", type=click.IntRange(1), help="So many stay, the newest [default: 2].")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(*, keep: int | None, yes: bool, as_json: bool) -> None:
    """Remove old images, but none that a container is made of."""
    words = ["prune", *(["--keep", str(keep)] if keep else [])]
    if not yes and not as_json:
        old = run_image_tool(data_dir(), [*words, "--dry-run"], quiet=True)["images"]
        if not old:
            say("There is no old image to remove.")
            return
        names = ", ".join(one["version"] for one in old)
        confirmed(f"Remove {names} ({size(sum(one['size'] for one in old))})?", "remove them")
    found = run_image_tool(data_dir(), words, quiet=True)
    if as_json:
        print_json(found)
    else:
        freed = size(sum(one["size"] for one in found["images"]))
        say(f"{len(found['images'])} removed, {freed} are free again; the newest {found['keep']} stay")


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    users = ", ".join(found["used_by"]) or "-"
    age = duration(found["age_s"])
    return found["version"], when(found["built_at"]), age, size(found["size"]), found["claude"] or "-", users


for one in (build, list_images, remove, prune):
    image.add_command(one)
