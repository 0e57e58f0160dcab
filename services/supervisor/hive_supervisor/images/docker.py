"""Giving an image to a container engine: the same tree, as a tar stream, over the engine's socket."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final

import httpx

from hive_supervisor.errors import EngineAway, EngineRefused
from hive_supervisor.images.store import Image
from hive_supervisor.images.tidy import epoch
from hive_supervisor.runtimes.docker_api import socket_path, why_not_reachable

REPOSITORY: Final = "hyperhive"
IMPORT_S: Final = 600
_CHUNK: Final = 1 << 20
_CONFIG: Final = ('ENTRYPOINT ["/opt/hive/bin/python", "-m", "hive_harness"]', "WORKDIR /state")


def give(image: Image, environ: Mapping[str, str]) -> str:
    """As `hyperhive:VERSION` and `hyperhive:latest`; returns its id. Raises `EngineAway`, `EngineRefused`."""
    socket = socket_path(environ)
    if reason := why_not_reachable(socket):
        raise EngineAway(reason)
    transport = httpx.HTTPTransport(uds=str(socket))
    timeout = httpx.Timeout(IMPORT_S)
    try:
        with httpx.Client(transport=transport, base_url="http://engine", timeout=timeout) as client:
            with tar_stream(image) as stream:
                found = _import(client, image, stream)
            _checked(client.post(f"/images/{found}/tag", params={"repo": REPOSITORY, "tag": "latest"}))
    except httpx.HTTPError as error:
        raise EngineAway(f"the container engine at {socket} did not take the image ({error})") from error
    return found


@contextmanager
def tar_stream(image: Image) -> Iterator[IO[bytes]]:
    """The tree as a tar archive: names sorted, owners as numbers, so the same tree gives the same bytes."""
    # fmt: off
    command = [
        "tar", "--create", "--numeric-owner", "--sort=name", "--format=gnu", f"--mtime=@{epoch()}", "--one-file-system",
        f"--directory={image.root}", ".",
    ]
    # fmt: on
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout:
                yield process.stdout
        except BaseException:
            process.kill()
            raise


def _import(client: httpx.Client, image: Image, stream: IO[bytes]) -> str:
    answer = client.post(
        "/images/create",
        params={"fromSrc": "-", "repo": REPOSITORY, "tag": image.version, "changes": list(_CONFIG)},
        content=iter(lambda: stream.read(_CHUNK), b""),
        headers={"Content-Type": "application/x-tar"},
    )
    lines = [json.loads(line) for line in _checked(answer).text.splitlines() if line.strip()]
    for line in lines:
        if "error" in line:
            raise EngineRefused(f"the container engine refused the image: {line['error']}")
    return str(lines[-1]["status"])


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        raise EngineRefused(f"the container engine refused the image: {answer.text.strip()[:300]}")
    return answer
