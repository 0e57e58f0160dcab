"""The units of an installed hive: whether they run, and are as they were installed."""

from collections.abc import Iterator
from typing import Final

from hive_cli.doctor.site import Site
from hive_cli.stack.log_file import reason_of
from hive_cli.stack.managed import manager_of
from hive_cli.stack.services import SERVICES
from hive_cli.systemd.install import AT_WORK, UNITS, Record, digest_of, printed_by, state_of
from hive_contracts.errors import Refused
from hive_runtime.checkup import EVERYTHING, Finding, State

WHAT: Final = "unit"
START: Final = "systemctl start hyperhive.target"


def look(site: Site) -> Iterator[Finding]:
    if manager_of(site.data) != "systemd":
        yield Finding(EVERYTHING, WHAT, State.OK, "systemd does not start this hive")
        return
    made = Record.read()
    if made is None or made.data_dir != str(site.data.root):
        yield from _of_others()
        return
    found = [*_changed(made), *(finding for name in made.units if (finding := _state(name)))]
    yield from found
    if not found:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{len(made.units)} units run, as they were installed")


def _of_others() -> Iterator[Finding]:
    """Units that `hive install` did not make, as those of NixOS: whether they run is all that can be told."""
    found = [finding for service in SERVICES if (finding := _state(f"hyperhive-{service.name}.service"))]
    yield from found
    if not found:
        yield Finding(EVERYTHING, WHAT, State.OK, f"{len(SERVICES)} units run, which `hive install` did not make")


def _changed(made: Record) -> Iterator[Finding]:
    for name, digest in made.units.items():
        if (now := digest_of(UNITS / name)) != digest:
            text = f"{UNITS / name} {'was changed since it was installed' if now else 'is gone'}"
            fix = "hive install --systemd writes it anew; changes of yours belong into a drop-in: systemctl edit"
            yield Finding(EVERYTHING, WHAT, State.NOTE if now else State.WRONG, text, fix)


def _state(name: str) -> Finding | None:
    """None when it is as it should be. A unit that failed is told from one that was stopped."""
    try:
        state = state_of(name)
    except Refused as error:
        return Finding(EVERYTHING, WHAT, State.WRONG, f"systemd does not answer: {error}", "systemctl status")
    if state in AT_WORK:
        return None
    if state == "failed":
        fix = f"look at `journalctl -u {name}`, then {START}"
        return Finding(EVERYTHING, WHAT, State.WRONG, f"{name} has failed{_reason(name)}", fix)
    return Finding(EVERYTHING, WHAT, State.NOTE, f"{name} is {state or 'unknown'}", START)


def _reason(name: str) -> str:
    """Why it could not go on, as it said last, behind a colon; empty when it said nothing."""
    said = [line for line in printed_by(name) if line.startswith("{")]
    return f": {reason_of(said[-1])}" if said else ""
