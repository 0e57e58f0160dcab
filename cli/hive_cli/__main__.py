"""`hive`, and `python -m hive_cli`."""

import errno
import os
import signal
import sys
from collections.abc import Sequence

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports below without a traceback

import click

from hive_cli.app import app
from hive_cli.errors import DONE, INTERRUPTED, REFUSED, exit_code_of
from hive_cli.output import complain
from hive_contracts.errors import HiveError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what `arguments` say and return the exit code: the edge where errors become sentences."""
    try:
        result = app.main(list(arguments), prog_name="hive", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except HiveError as error:
        complain(str(error))
        return exit_code_of(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _refused(error)
    return result if isinstance(result, int) else DONE


def _refused(error: OSError) -> int:
    """By the machine. Raises `error` when it is about nothing that could be named."""
    if error.errno in NO_ROOM:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it may be what has no room for the rest
        where = f"{_name(error.filename)}: " if error.filename is not None else ""
        complain(f"{where}there is no room for what is to be written; free some and run this again")
        return REFUSED
    if error.filename is None:
        raise error
    complain(f"{_name(error.filename)}: {error.strerror}; name another, or run this as a user who may use it")
    return REFUSED


def _name(filename: str | bytes | int) -> str:
    return os.fsdecode(filename) if isinstance(filename, str | bytes) else f"file {filename}"


if __name__ == "__main__":
    main()
