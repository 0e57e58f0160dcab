"""`docker-compose.yml` as a text: what it runs exists in this package, and nothing in it is looser than it says."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contracts.test_docs_settings import SECTIONS

from hive_cli.app import COMMANDS, HIDDEN
from hive_runtime.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEV = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = [name for name, service in SERVICES.items() if "hyperhive-services" in service["image"]]
PROFILES = {"demo", "agents", "observability"}


def words(service: dict[str, Any]) -> list[str]:
    """Of its command and its health check."""
    check = service.get("healthcheck", {}).get("test", [])
    return re.findall(r"[\w./:-]+", " ".join([*service.get("command", []), *check]))


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_runs_is_in_the_package(name: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    given = words(SERVICES[name])
    modules = [given[at + 2] for at, word in enumerate(given) if word == "python" and given[at + 1] == "-m"]
    verbs = [given[at + 1] for at, word in enumerate(given) if word in scripts]
    assert modules or verbs or given[0] == "chown"
    for module in modules:
        assert importlib.util.find_spec(f"{module}.__main__" if "." not in module else module), module
    assert set(verbs) <= {*COMMANDS, *HIDDEN}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_a_setting(name: str) -> None:
    known = {"HIVE_REDIS_URL", "HIVE_REDIS_USER", "HIVE_REDIS_PASSWORD_FILE", "DOCKER_HOST"}
    for section, model in SECTIONS.items():
        assert issubclass(model, Settings)
        known |= {f"HIVE_{section}_{key}".upper() for key in model.model_fields}
    assert set(SERVICES[name].get("environment", {})) <= known


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_runs_with_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert service["user"].startswith("0:") == (name in {"prepare", "prepare-demo", "supervisor"})
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    sockets = [volume for volume in service.get("volumes", ()) if "docker.sock" in volume]
    assert bool(sockets) == (name == "supervisor")


def test_what_stays_up_has_a_health_check_and_a_restart_policy() -> None:
    for name in ("redis", "broker", "dashboard", "supervisor", "supervisor-demo"):
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_profiles_are_those_that_the_page_explains() -> None:
    assert {profile for service in SERVICES.values() for profile in service.get("profiles", ())} == PROFILES
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert set(re.findall(r"--profile (\w+)", page)) == PROFILES


def test_every_variable_of_the_file_is_on_the_page() -> None:
    named = set(re.findall(r"\$\{(\w+):-", (ROOT / "docker-compose.yml").read_text()))
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert named == set(re.findall(r"^\| `(HIVE_\w+)` \|", page, re.MULTILINE))


def test_what_is_mounted_from_here_is_here() -> None:
    for service in (*SERVICES.values(), *DEV["services"].values()):
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


def test_developers_override_services_that_there_are_and_watch_folders_that_there_are() -> None:
    assert set(DEV["services"]) <= set(SERVICES)
    for service in DEV["services"].values():
        for part in service["environment"]["PYTHONPATH"].split(":"):
            assert (ROOT / part.removeprefix("/src/")).is_dir(), part
        for rule in service.get("develop", {}).get("watch", ()):
            assert (ROOT / rule["path"]).is_dir(), rule


def test_images_and_package_get_every_file_that_the_build_takes_from_elsewhere() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = re.findall(r"^COPY (.+) /tmp/hive", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for path in (*wheel.get("force-include", {}), "README.md", "hatch_build.py"):
        assert any(path in words.split() for words in copied), path
        assert f"!{path}" in (ROOT / ".dockerignore").read_text().splitlines(), path
        assert f"../{path}" in (ROOT / "nix" / "package.nix").read_text().split(), path
