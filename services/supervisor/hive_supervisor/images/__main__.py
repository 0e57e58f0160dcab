"""`python -m hive_supervisor.images`: what `hive image` does, for programs: a JSON object a line on standard output.

`{"step": 1, "of": 4, "text": …}` and `{"detail": …}` while it goes on; at the end `{"done": …}`, or
`{"error": …, "code": …, "status": …}`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hive_contracts.errors import HiveError
from hive_runtime import settings
from hive_supervisor.images import debian, docker
from hive_supervisor.images.build import STEPS, Progress, Wanted, build
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.images.errors import CannotBuild
from hive_supervisor.images.store import Image, ImageStore, open_store


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = _parser().parse_args()
    try:
        config = settings.load(ImageSettings, "images", data_dir=arguments.data_dir, environ=os.environ)
        _tell(done=_do(arguments, open_store(config, arguments.data_dir), config))
    except HiveError as error:
        _tell(error=str(error), code=error.code, status=error.status)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _do(arguments: argparse.Namespace, store: ImageStore, config: ImageSettings) -> Any:
    match arguments.verb:
        case "build":
            return _build(arguments, store, config)
        case "remove":
            return _shown(store, store.remove(arguments.version))
        case "prune":
            keep = arguments.keep or config.keep
            found = store.removable(keep)
            removed = found if arguments.dry_run else [store.remove(image.version) for image in found]
            return {"keep": keep, "images": [_shown(store, image) for image in removed]}
        case _:
            free = shutil.disk_usage(_existing(store.directory)).free
            images = [_shown(store, image) for image in store.all()]
            return {"directory": str(store.directory), "free": free, "images": images}


def _build(arguments: argparse.Namespace, store: ImageStore, config: ImageSettings) -> dict[str, Any]:
    given = _checked(arguments, config)
    wanted = Wanted(
        release=debian.release(given.suite, given.mirror),
        packages=given.packages,
        tarball=arguments.tarball,
        claude=arguments.claude,
        again=arguments.again,
    )
    progress = Progress(
        step=lambda number, text: _tell(step=number, of=STEPS, text=text), detail=lambda text: _tell(detail=text)
    )
    built = build(store, wanted, progress)
    found = {**_shown(store, built.image), "new": built.new}
    if arguments.docker:
        _tell(detail="giving it to the container engine")
        found["docker"] = docker.give(built.image, os.environ)
    return found


def _checked(arguments: argparse.Namespace, config: ImageSettings) -> ImageSettings:
    """The settings with what the command line says instead: held to the same rules, for it goes to root's tools."""
    given = {"suite": arguments.suite, "mirror": arguments.mirror}
    named = {name: value for name, value in given.items() if value is not None}
    packages = (*config.packages, *arguments.packages)
    try:
        return ImageSettings.model_validate({**config.model_dump(), **named, "packages": packages})
    except ValidationError as error:
        first = error.errors()[0]
        raise CannotBuild(f"--{str(first['loc'][0]).removesuffix('s')} is not valid: {first['msg']}") from error


def _shown(store: ImageStore, image: Image) -> dict[str, Any]:
    age = (datetime.now(UTC) - image.built_at).total_seconds()
    return {
        "version": image.version,
        "built_at": image.built_at.isoformat(),
        "age_s": round(age),
        "size": image.size,
        "used_by": store.users(image.version),
        "claude": image.facts.get("claude", ""),
        "root": str(image.root),
        "made_of": dict(image.facts),
    }


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    making = verbs.add_parser("build")
    making.add_argument("--from", dest="tarball", type=Path)
    making.add_argument("--suite")
    making.add_argument("--mirror")
    making.add_argument("--package", dest="packages", action="append", default=[])
    making.add_argument("--claude", type=Path)
    making.add_argument("--again", action="store_true")
    making.add_argument("--docker", action="store_true")
    verbs.add_parser("remove").add_argument("version")
    pruning = verbs.add_parser("prune")
    pruning.add_argument("--keep", type=int)
    pruning.add_argument("--dry-run", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
