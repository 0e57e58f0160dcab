"""What a NixOS container is given, read by a real Nix and a real shell. Without nixpkgs, no module is evaluated."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.back_ends import spec_in

from hive_contracts import agent_file
from hive_contracts.models import Network
from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes import bubblewrap
from hive_supervisor.runtimes.base import ENGINE_ID, HARNESS_ID
from hive_supervisor.runtimes.nixos_container import MODULE, configuration, environment_file

needs_nix = pytest.mark.skipif(shutil.which("nix-instantiate") is None, reason="needs nix-bin")

NIX: Final = MODULE.parent
FULL: Final = """
description = "reviews; says \\"hm\\""
network = "none"
packages = ["ripgrep"]
[limits]
memory_mib = 1024
cpus = 1.15
pids = 77
open_files = 512
turn_seconds = 900
[environment]
TZ = "Europe/Vienna"
"""


def run_nix(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "NIX_CONF_DIR": str(home)}
    command = ["nix-instantiate", "--store", "dummy://", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=50)


def nix(*words: str, home: Path) -> str:
    done = run_nix(*words, home=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reading(text: str, home: Path) -> tuple[str, ...]:
    (home / "agent.toml").write_text(text)
    call = f"import {NIX}/settings.nix {{ configFile = {home}/agent.toml; }}"
    return ("--eval", "--strict", "--json", "--expr", call)


@pytest.mark.system
@needs_nix
@pytest.mark.parametrize("text", ["", FULL, "[limits]\ncpus = 2\n", 'network = "host"\n'])
def test_nix_reads_an_agent_file_as_the_hive_does(text: str, tmp_path: Path) -> None:
    said: Any = json.loads(nix(*reading(text, tmp_path), home=tmp_path))
    parsed = agent_file.parse(text)
    limits, wanted = parsed.limits, dict[str, object]()
    if limits.memory_mib is not None:
        wanted["MemoryMax"] = str(limits.memory_mib * 2**20)
    if limits.cpus is not None:
        wanted["CPUQuota"] = f"{round(limits.cpus * 100)}%"
    if limits.pids is not None:
        wanted["TasksMax"] = str(limits.pids)
    if limits.open_files is not None:
        wanted["LimitNOFILE"] = str(limits.open_files)
    if parsed.network is Network.NONE:
        wanted["PrivateNetwork"] = True
    assert said == {"packages": list(parsed.packages), "serviceConfig": wanted}


@pytest.mark.system
@needs_nix
@pytest.mark.parametrize("key", ["memory_mib", "cpus", "pids", "open_files"])
def test_no_text_of_an_agent_file_gets_into_a_unit(key: str, tmp_path: Path) -> None:
    done = run_nix(*reading(f'[limits]\n{key} = "1\\nExecStartPre=+/state/mine"', tmp_path), home=tmp_path)
    assert done.returncode != 0
    assert "a string" in done.stderr


@pytest.mark.system
@needs_nix
def test_every_file_is_nix_and_so_is_what_nixos_container_is_told(tmp_path: Path) -> None:
    for path in (NIX.parent / "flake.nix", *NIX.glob("*.nix")):
        assert nix("--parse", str(path), home=tmp_path)
    odd = tmp_path / 'a "b" ${c} \\d.nix'
    odd.write_text("{ }")
    for module in (MODULE, odd):
        said = f"{{ boot.isContainer = true; {configuration(spec_in(tmp_path), module)} }}"
        told = json.loads(nix("--eval", "--strict", "--json", "--expr", said, home=tmp_path))
        assert told["imports"] == [str(module)]
        assert told["services"] == {"hyperhive": {"agent": {"enable": True}}}


def test_without_the_sources_a_flake_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="name a flake in the setting `nixos_flake`"):
        configuration(spec_in(tmp_path), tmp_path / "agent.nix")


def test_variables_arrive_as_they_are_with_the_paths_inside(tmp_path: Path) -> None:
    odd = 'a "b" $HOME `id` \\n ä\n{"c": "\\"d\\""}'
    spec = spec_in(tmp_path, ODD=odd, HIVE_CLAUDE="/home/me/claude")
    path = tmp_path / "environment"
    path.write_text(environment_file(spec), encoding="utf-8")
    command = ["env", "-i", shutil.which("sh") or "sh", "-c", f"set -a; . {path}; exec /usr/bin/env -0"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    found = dict(line.split("=", 1) for line in output.split("\0") if line)
    assert found["ODD"] == odd
    assert found["HIVE_STATE_DIR"] == str(bubblewrap.STATE)
    assert found["HIVE_RUN_DIR"] == found["HIVE_SECRETS_DIR"] == str(bubblewrap.RUN)
    assert found["HIVE_CLAUDE"] == "/run/current-system/sw/bin/claude"


def test_module_and_supervisor_name_the_same_users_and_paths() -> None:
    text = MODULE.read_text()
    assert re.findall(r"\buid = (\d+);", text) == [str(ENGINE_ID), str(HARNESS_ID)]
    writable = re.search(r"ReadWritePaths = \[(.*?)\]", text, re.DOTALL)
    assert writable
    assert set(writable[1].split()) == {f'"{bubblewrap.RUN}"', f'"{bubblewrap.STATE}"', f'"-{bubblewrap.HARNESS}"'}
    assert f'EnvironmentFile = "{bubblewrap.RUN}/environment";' in text
