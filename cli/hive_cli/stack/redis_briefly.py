"""The embedded server for as long as a command needs it, while no hive runs on the data directory."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hive_cli.paths import DataDir
from hive_cli.stack import redis_embedded, redis_place
from hive_cli.stack.config import RedisSettings
from hive_cli.stack.log_file import last_reason
from hive_cli.stack.services import service_users
from hive_contracts.errors import Refused
from hive_runtime.process import die_with_parent
from hive_runtime.redis_url import RedisAddress

START_S: Final = 60.0
STOP_S: Final = 60.0
POLL_S: Final = 0.02


@contextmanager
def embedded_redis(data: DataDir, settings: RedisSettings) -> Iterator[RedisAddress]:
    """Its files are on disk when the block is over. The caller holds the data directory. Raises `Refused`."""
    spec, socket = redis_embedded.prepare(data, settings, service_users(data))
    with spec.log.open("ab") as log:
        server = subprocess.Popen(
            spec.command, env=dict(spec.environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_parent(), start_new_session=True,
        )  # fmt: skip
    try:
        asyncio.run(_until_ready(server, socket, data))
        yield redis_place.embedded(data)
    finally:
        server.terminate()
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        socket.unlink(missing_ok=True)


async def _until_ready(server: "subprocess.Popen[bytes]", socket: Path, data: DataDir) -> None:
    try:
        async with asyncio.timeout(START_S):
            while await redis_embedded.answers(data, socket) != "ready":
                if server.poll() is not None:
                    raise Refused(f"the embedded Redis does not start: {last_reason(data.log('redis'))}")
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise Refused(f"the embedded Redis did not answer within {START_S:.0f} s; see `hive logs redis`") from error
