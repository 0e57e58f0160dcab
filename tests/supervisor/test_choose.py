"""Which back-end runs the containers, and what the operator is told of the choice."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hive_runtime.errors import SettingsError
from hive_supervisor.config import RuntimeChoice, SupervisorSettings
from hive_supervisor.runtimes.base import ContainerRuntime
from hive_supervisor.runtimes.choose import BACK_ENDS, Place, choose
from hive_supervisor.runtimes.memory import MemoryRuntime


class Strong(ModuleType):
    """A back-end that can run where `missing` is empty."""

    missing = ""

    def probe(self, _: Place) -> str:
        return self.missing

    def build(self, _: Place) -> ContainerRuntime:
        return MemoryRuntime()


@pytest.fixture
def strong(monkeypatch: pytest.MonkeyPatch) -> Iterator[Strong]:
    module = Strong("a_strong_back_end")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield module


def place(tmp_path: Path, runtime: RuntimeChoice) -> Place:
    return Place(tmp_path, SupervisorSettings(runtime=runtime), "hive-1")


ROWS = {RuntimeChoice.NSPAWN: "a_strong_back_end", RuntimeChoice.PROCESS: BACK_ENDS[RuntimeChoice.PROCESS]}


def test_the_strongest_that_can_run_is_taken(tmp_path: Path, strong: Strong) -> None:
    found = choose(place(tmp_path, RuntimeChoice.AUTO), ROWS)
    assert (found.runtime.name, found.reason) == ("memory", "the strongest there is")


def test_what_cannot_run_is_passed_over_and_named(tmp_path: Path, strong: Strong) -> None:
    strong.missing = "there is no image; make one with `hive image build`"
    found = choose(place(tmp_path, RuntimeChoice.AUTO), ROWS)
    assert found.runtime.name == "process"
    assert "nspawn: there is no image; make one" in found.reason


def test_the_one_that_is_wished_for_is_taken_or_refused_with_its_reason(tmp_path: Path, strong: Strong) -> None:
    assert choose(place(tmp_path, RuntimeChoice.PROCESS), ROWS).runtime.name == "process"
    assert choose(place(tmp_path, RuntimeChoice.NSPAWN), ROWS).runtime.name == "memory"
    strong.missing = "systemd does not run here"
    with pytest.raises(SettingsError, match="set to nspawn, but systemd does not run here"):
        choose(place(tmp_path, RuntimeChoice.NSPAWN), ROWS)


def test_a_back_end_whose_library_is_missing_says_so(tmp_path: Path) -> None:
    rows = {RuntimeChoice.DOCKER: "no_such_library", **ROWS, RuntimeChoice.NSPAWN: "no_such_library"}
    assert "no_such_library is not installed" in choose(place(tmp_path, RuntimeChoice.AUTO), rows).reason
    with pytest.raises(SettingsError, match="not installed"):
        choose(place(tmp_path, RuntimeChoice.DOCKER), rows)


def test_one_that_is_not_part_of_this_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no nixos runtime; it has process"):
        choose(place(tmp_path, RuntimeChoice.NIXOS), {RuntimeChoice.PROCESS: BACK_ENDS[RuntimeChoice.PROCESS]})
