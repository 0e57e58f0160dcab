"""The NixOS module of a hive, evaluated by a real Nix with a stub of `lib`: what only NixOS can say, docs name."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from tests.supervisor.test_nixos_container import NIX, needs_nix, nix, run_nix

from hive_cli.systemd.units import Layout, all_units

pytestmark = [pytest.mark.system, needs_nix]

ROOT: Final = NIX.parent
EVALUATE: Final = ROOT / "tests" / "support" / "nix" / "evaluate.nix"
OTHERWISE_IN_NIX: Final = {"ExecStart", "ExecStartPre", "EnvironmentFile", "ExecStop"}
ENABLED: Final = 'services.hyperhive = { enable = true; package = "/store/hive"; %s };'


def evaluated(module: str, given: str, home: Path, *, part: str = "config") -> Any:
    text = f"(import {EVALUATE} {{ module = {NIX}/{module}; given = {{ {given} }}; }}).{part}"
    return json.loads(nix("--eval", "--strict", "--json", "--expr", text, home=home))


def units_of_install(layout: Layout) -> dict[str, dict[str, set[str]]]:
    """Service → option → its values, as `hive install` writes them."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, text in all_units(layout).items():
        if name.endswith(".service"):
            lines = text.partition("[Service]\n")[2].splitlines()
            options: dict[str, set[str]] = {}
            for key, _, value in (line.partition("=") for line in lines if "=" in line):
                options.setdefault(key, set()).add(value)
            found[name.removesuffix(".service")] = options
    return found


def units_of_nix(config: Any) -> dict[str, dict[str, set[str]]]:
    return {
        name: {
            key: set(map(str, value)) if isinstance(value, list) else {str(value)}
            for key, value in unit["serviceConfig"].items()
        }
        for name, unit in config["systemd"]["services"].items()
    }


@pytest.mark.parametrize("url", ["", "rediss://db:6380/0"])
def test_its_units_say_the_same_as_those_of_hive_install(url: str, tmp_path: Path) -> None:
    redis = None if url else Path("/opt/valkey-server")
    installed = units_of_install(Layout(Path("/var/lib/hyperhive"), "hyperhive", Path("/opt/python"), redis, url))
    given = f'redis.url = "{url}";' if url else ""
    module = units_of_nix(evaluated("module.nix", ENABLED % given, tmp_path))
    assert set(module) == set(installed)
    for name, options in installed.items():
        theirs = {key: value for key, value in module[name].items() if key not in OTHERWISE_IN_NIX}
        assert theirs == {key: value for key, value in options.items() if key not in OTHERWISE_IN_NIX}, name


def test_it_does_nothing_unless_it_is_enabled(tmp_path: Path) -> None:
    assert evaluated("module.nix", "", tmp_path) == {}


def test_it_prepares_with_the_settings_that_were_given(tmp_path: Path) -> None:
    config = evaluated("module.nix", ENABLED % 'user = "bees"; dataDir = "/srv/bees";', tmp_path)
    prepare = config["systemd"]["services"]["hyperhive-prepare"]["serviceConfig"]
    assert prepare["ExecStart"] == "/store/hive/bin/hive --data-dir /srv/bees prepare --manager systemd --user bees"
    assert prepare["ExecStartPre"].endswith("/store/hive.toml /srv/bees/hive.toml")
    assert set(config["users"]["users"]) == {"bees"}
    assert config["systemd"]["services"]["hyperhive-broker"]["serviceConfig"]["User"] == "bees"


def test_keys_go_to_the_supervisor_alone(tmp_path: Path) -> None:
    config = evaluated("module.nix", ENABLED % 'environmentFile = "/run/keys";', tmp_path)
    having = {
        name
        for name, unit in config["systemd"]["services"].items()
        if "/run/keys" in unit["serviceConfig"].get("EnvironmentFile", "")
    }
    assert having == {"hyperhive-prepare", "hyperhive-supervisor"}


@pytest.mark.parametrize(
    ("given", "ports"),
    [("", []), ("openFirewall = true;", [7000]), ("openFirewall = true; settings.dashboard.port = 80;", [80])],
)
def test_the_firewall_is_closed_unless_that_is_asked_for(given: str, ports: list[int], tmp_path: Path) -> None:
    config = evaluated("module.nix", ENABLED % given, tmp_path)
    assert config["networking"]["firewall"]["allowedTCPPorts"] == ports


def test_the_options_are_those_of_the_page(tmp_path: Path) -> None:
    options = evaluated("module.nix", "", tmp_path, part="options.services.hyperhive")
    names = {key for key, value in options.items() if value.get("_type") == "option"}
    names |= {f"redis.{key}" for key in options["redis"]}
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert names == set(
        re.findall(
            r"^\| `((?:redis\.)?[a-z][A-Za-z]*)` \|", page.partition("## On NixOS")[2].partition("\n## ")[0], re.M
        )
    )


AGENT_FILE: Final = """
model = "haiku"
bash_patterns = ["git *"]
recipients = ["lin"]
[mcp_servers.search]
command = "search-mcp"
"""
MIRRORED: Final = {
    "model": "haiku",
    "allowedBashPatterns": ["git *"],
    "allowedRecipients": ["lin"],
    "extraMcpServers": {"search": {"command": "search-mcp"}},
}


def agent(given: str, tmp_path: Path, *, part: str = "config") -> Any:
    (tmp_path / "agent.toml").write_text(AGENT_FILE)
    enabled = f"services.hyperhive.agent = {{ enable = true; configFile = {tmp_path}/agent.toml; }}; {given}"
    return evaluated("agent.nix", enabled, tmp_path, part=part)


def test_options_of_an_agent_mirror_its_file(tmp_path: Path) -> None:
    options = agent("", tmp_path, part="options.hyperhive")
    assert {name: option["default"] for name, option in options.items()} == MIRRORED
    assert agent("", tmp_path, part="config.assertions")[0]["assertion"] is True


@pytest.mark.parametrize("given", ['model = "opus"', 'allowedBashPatterns = [ "*" ]', "allowedRecipients = null"])
def test_nobody_is_given_more_than_the_file_says(given: str, tmp_path: Path) -> None:
    (said,) = agent(f"hyperhive.{given};", tmp_path, part="config.assertions")
    assert said["assertion"] is False
    assert "agent.toml" in said["message"]


def test_the_package_has_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["supervisor"], *extras["dashboard"], *extras["harness"]]
    text = (NIX / "package.nix").read_text().partition("dependencies =")[2].partition("];\n\n")[0]
    found = {line.strip() for line in text.splitlines() if re.fullmatch(r"\s+[a-z][\w-]*", line)} - {"with"}
    assert found == {re.split(r"[\[>=<]", name)[0].lower().replace("_", "-") for name in wanted}


def test_the_flake_offers_modules_packages_and_the_test_of_a_machine(tmp_path: Path) -> None:
    stub = """{ lib = { genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
      optionalAttrs = condition: set: if condition then set else { }; };
      legacyPackages = builtins.listToAttrs (map (name: { inherit name; value = { callPackage = path: arguments: {
        inherit path; whole = arguments ? frontend; }; }; }) [ "x86_64-linux" "aarch64-linux" ]); }"""
    call = f"let outputs = (import {ROOT}/flake.nix).outputs {{ self = outputs; nixpkgs = {stub}; }}; in outputs"
    shape = f"""{{
      systems = builtins.attrNames ({call}).packages;
      agent = ({call}).packages.x86_64-linux.agent.whole;
      default = builtins.baseNameOf ({call}).nixosModules.default;
    }}"""
    told = json.loads(nix("--eval", "--strict", "--json", "--expr", shape, home=tmp_path))
    assert told["default"] == "module.nix"
    assert told["systems"] == ["aarch64-linux", "x86_64-linux"]
    assert told["agent"] is False
    assert run_nix("--parse", str(NIX / "tests" / "hive.nix"), home=tmp_path).returncode == 0
