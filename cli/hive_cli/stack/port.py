"""Whether the dashboard's port is free."""

import errno
import socket

from hive_contracts.errors import Refused


def check_free(host: str, port: int) -> int:
    """The port, or for 0 one that is free now. Raises `Refused`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(f"port {port} on {host} is taken; choose another with --port") from error
            raise Refused(
                f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
            ) from error
        return int(probe.getsockname()[1])
