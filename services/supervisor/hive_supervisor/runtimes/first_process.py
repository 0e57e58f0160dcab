"""The first process of a container that has no init: a shell of a few lines around the harness.

It passes signals on, reaps what the agent left behind, and ends as the harness did: with its status, or 128 + n.
"""

from typing import Final

_SCRIPT: Final = """
for name in HUP TERM USR1 USR2; do trap "told=$name; kill -$name \\$child 2>/dev/null" $name; done
env --default-signal=INT,QUIT "$@" </dev/null & child=$!
[ "$told" ] && kill -$told $child
while :; do wait $child; status=$?; kill -0 $child 2>/dev/null || break; done
wait $child; last=$?
[ $last = 127 ] || status=$last
"""
"""A signal may come before `child` is known. A `wait` that a signal breaks off says 128 + n, also when the child has
ended: what it ended with, the next one says, or 127 when that was said before. What a shell starts in the background
would not hear INT and QUIT."""


def script(ending: str = "exit $status") -> str:
    """For `sh -c SCRIPT NAME COMMAND…`. `ending` is what is done with `$status` at last."""
    return f"{_SCRIPT}{ending}\n"
