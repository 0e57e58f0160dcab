"""`hive install --systemd` on a booted systemd host: what it makes, how it behaves, that it goes without a trace."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.systemd_host import ROOT, SystemdHost, systemd_host
from tests.support.waiting import wait_until

from hive_runtime import VERSION

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="a systemd host is booted as root; run the tests as root"),
]

DATA: Final = "/var/lib/hyperhive"
WITHIN_S: Final = 90
NEXT: Final = "0.2.0"
SERVICE_PACKAGES: Final = tuple(f"services/{name}/hive_{name}" for name in ("broker", "supervisor", "dashboard"))
EXPOSURE: Final = {"redis": 1.0, "broker": 1.0, "dashboard": 1.5, "supervisor": 7.0}
"""What `systemd-analyze security` may say at most; 10 is a service without any hardening."""


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with systemd_host() as booted:
        yield booted


def hive(host: SystemdHost, *arguments: str, status: int = 0) -> str:
    done = host.run(sys.executable, "-m", "hive_cli", *arguments, check=False)
    assert done.returncode == status, f"{arguments}: {done.stdout}{done.stderr}{journal(host)}"
    return str(done.stdout + done.stderr)


def journal(host: SystemdHost) -> str:
    return str(host.run("journalctl", "--no-pager", "-n", "60", "-o", "cat", "-u", "hyperhive-*", check=False).stdout)


def ask(host: SystemdHost, *arguments: str) -> Any:
    return json.loads(hive(host, "--data-dir", DATA, *arguments, "--json"))


def is_up(host: SystemdHost) -> bool:
    done = host.run(sys.executable, "-m", "hive_cli", "--data-dir", DATA, "agents", "--json", check=False)
    rows = json.loads(done.stdout)["agents"] if done.returncode == 0 else []
    return any(row["name"] == "hm1nd" and row["container"] == "running" and row["state"] for row in rows)


def says(host: SystemdHost, words: str) -> None:
    hive(host, "--data-dir", DATA, "send", "hm1nd", f"!send operator {words}")
    wait_until(lambda: words in [one["body"] for one in ask(host, "inbox")["messages"]], within_s=WITHIN_S)


def shown(host: SystemdHost, unit: str, *properties: str) -> dict[str, str]:
    found = host.run("systemctl", "show", f"--property={','.join(properties)}", f"hyperhive-{unit}.service").stdout
    return dict(line.split("=", 1) for line in found.splitlines())


def harnesses(host: SystemdHost) -> list[str]:
    return host.run("pgrep", "-f", "hive_harness", check=False).stdout.split()


def traces(host: SystemdHost) -> set[str]:
    """Everything of the machine's own that an installation could have touched."""
    listed = host.run("find", "/etc", "/usr/local", "-newer", "/run/systemd", "-type", "f", check=False).stdout.split()
    users = host.run("getent", "passwd").stdout.splitlines()
    units = host.run(
        "systemctl", "list-unit-files", "--plain", "--no-legend", "hyperhive*", check=False
    ).stdout.splitlines()
    return {line for line in [*listed, *users, *units] if "hyperhive" in line and "/dpkg/" not in line}


def test_nothing_is_done_in_a_dry_run(host: SystemdHost) -> None:
    said = hive(host, "install", "--systemd", "--dry-run")
    assert "would make the user hyperhive" in said
    assert "would write /etc/systemd/system/hyperhive-broker.service" in said
    assert traces(host) == set()
    assert host.run("test", "-e", DATA, check=False).returncode == 1


def test_without_an_installation_there_is_nothing_to_uninstall(host: SystemdHost) -> None:
    assert "no hive is installed" in hive(host, "uninstall", status=3)


def test_an_installed_hive_runs_is_confined_and_outlives_its_supervisor(host: SystemdHost) -> None:
    hive(host, "install", "--systemd", "--no-start")
    assert host.run("systemctl", "is-active", "hyperhive.target", check=False).stdout.strip() == "inactive"
    host.run("sh", "-c", f"echo '[supervisor]\nruntime = \"process\"' >{DATA}/hive.toml")
    host.run("systemctl", "start", "hyperhive.target")
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    says(host, "from a unit")

    files = [f"/etc/systemd/system/{name}" for name in host.run("ls", "/etc/systemd/system").stdout.split()]
    verified = host.run("systemd-analyze", "verify", *[file for file in files if "hyperhive" in file], check=False)
    assert "hyperhive" not in verified.stdout + verified.stderr
    for unit, most in EXPOSURE.items():
        judged = host.run("systemd-analyze", "security", "--no-pager", f"hyperhive-{unit}.service", check=False).stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged)
        assert found, judged
        assert float(found[1]) <= most, judged
    for unit in ("redis", "broker", "dashboard"):
        pid = shown(host, unit, "MainPID")["MainPID"]
        assert host.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "hyperhive"

    before = harnesses(host)
    assert before
    host.run("systemctl", "restart", "hyperhive-supervisor.service")
    says(host, "under another supervisor")
    assert set(before) <= set(harnesses(host))
    host.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "hyperhive-broker.service")
    says(host, "after the broker was killed")


def test_stopping_it_ends_the_agents_and_starting_it_loses_nothing(host: SystemdHost) -> None:
    before = {one["id"] for one in ask(host, "inbox")["messages"]}
    host.run("systemctl", "stop", "hyperhive.target")
    wait_until(lambda: not harnesses(host), within_s=WITHIN_S)
    wait_until(lambda: not host.run("pgrep", "-u", "hyperhive", check=False).stdout, within_s=WITHIN_S)
    assert "systemd" in hive(host, "--data-dir", DATA, "up", status=4)
    stopped = ask(host, "doctor", "units")["findings"]
    assert "hyperhive-broker.service is inactive" in [one["text"] for one in stopped]
    host.run("systemctl", "start", "hyperhive.target")
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    assert before <= {one["id"] for one in ask(host, "inbox")["messages"]}
    says(host, "after the machine rested")
    assert [one["state"] for one in ask(host, "doctor", "units")["findings"]] == ["ok"]


def test_a_backup_is_restored_into_an_installed_hive(host: SystemdHost) -> None:
    """As docs/backup.md says it; the services, which are not root, then use what root put there."""
    says(host, "before the backup")
    hive(host, "--data-dir", DATA, "backup", "/root/hive.tar.gz")
    says(host, "after the backup")
    host.run("systemctl", "stop", "hyperhive.target", "hyperhive-*.service")
    assert not harnesses(host)
    host.run("mv", DATA, f"{DATA}-old")
    hive(host, "--data-dir", DATA, "restore", "/root/hive.tar.gz")
    host.run("systemctl", "start", "hyperhive.target")
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    bodies = [one["body"] for one in ask(host, "inbox")["messages"]]
    assert "before the backup" in bodies
    assert "after the backup" not in bodies
    hive(host, "--data-dir", DATA, "resume", "--all")
    says(host, "in the restored hive")
    assert [one["state"] for one in ask(host, "doctor", "users", "units")["findings"]] == ["ok", "ok"]
    host.run("rm", "-r", f"{DATA}-old", "/root/hive.tar.gz")


def test_an_upgrade_writes_units_anew_and_a_changed_unit_is_not_thrown_away(host: SystemdHost) -> None:
    hive(host, "install", "--systemd")
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    unit = "/etc/systemd/system/hyperhive-broker.service"
    host.run("sh", "-c", f"echo '# mine' >>{unit}")
    assert "was changed since" in hive(host, "uninstall", status=4)
    assert is_up(host)
    hive(host, "install", "--systemd")
    assert "# mine" not in host.run("cat", unit).stdout
    wait_until(lambda: is_up(host), within_s=WITHIN_S)


def test_services_of_the_next_release_take_over_one_by_one_while_a_turn_goes_on(host: SystemdHost) -> None:
    newer = next_release(host)
    hive(host, "--data-dir", DATA, "spawn", "ada")
    before = harnesses(host)
    hive(host, "--data-dir", DATA, "send", "ada", "!sleep 20\n!send operator through it all")
    for unit in ("supervisor", "broker", "dashboard"):
        folder = f"/etc/systemd/system/hyperhive-{unit}.service.d"
        host.run(
            "sh", "-c", f"mkdir {folder} && printf '[Service]\nEnvironment=PYTHONPATH={newer}\n' >{folder}/newer.conf"
        )
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", f"hyperhive-{unit}.service")
        wait_until(lambda: is_up(host), within_s=WITHIN_S)
        says(host, f"beside a newer {unit}")
    assert ask(host, "status")["version"] == NEXT
    wait_until(lambda: "through it all" in [one["body"] for one in ask(host, "inbox")["messages"]], within_s=WITHIN_S)
    assert set(before) <= set(harnesses(host)), "no agent was restarted"
    assert "malformed" not in journal(host)
    host.run("sh", "-c", "rm -r /etc/systemd/system/hyperhive-*.service.d")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", *(f"hyperhive-{unit}.service" for unit in ("supervisor", "broker", "dashboard")))
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    says(host, "on the former release again")


def next_release(host: SystemdHost) -> str:
    """These sources with the next minor version, and a key of an agent's configuration that this one does not know."""
    place = Path(f"{host.root}/opt/newer")
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("libs/contracts/hive_contracts", "libs/runtime/hive_runtime", *SERVICE_PACKAGES):
        shutil.copytree(ROOT / folder, place / Path(folder).name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, old, new in (
        ("hive_runtime/__init__.py", f'VERSION: Final = "{VERSION}"', f'VERSION: Final = "{NEXT}"'),
        (
            "hive_contracts/models.py",
            "    packages: tuple",
            '    newer: str = "of the next release"\n    packages: tuple',
        ),
    ):
        text = (place / path).read_text()
        assert text.count(old) == 1
        (place / path).write_text(text.replace(old, new))
    return "/opt/newer"


def test_what_was_restored_runs_in_the_place_of_what_was_there(host: SystemdHost) -> None:
    hive(host, "--data-dir", DATA, "backup", "/root/hive.tar.gz")
    assert "still runs" in hive(host, "--data-dir", DATA, "restore", "/root/hive.tar.gz", status=4)
    host.run("systemctl", "stop", "hyperhive.target", "hyperhive-*.service")
    assert not harnesses(host)
    host.run("mv", DATA, f"{DATA}.old")
    assert "systemctl start hyperhive.target" in hive(host, "--data-dir", DATA, "restore", "/root/hive.tar.gz")
    host.run("systemctl", "start", "hyperhive.target")
    wait_until(lambda: is_up(host), within_s=WITHIN_S)
    hive(host, "--data-dir", DATA, "resume", "--all")
    says(host, "from a backup")
    assert {one["state"] for one in ask(host, "doctor", "secrets", "units", "stores")["findings"]} == {"ok"}
    assert "systemctl stop" in hive(host, "--data-dir", DATA, "down", status=4)


def test_uninstalling_leaves_the_data_and_nothing_else(host: SystemdHost) -> None:
    host.run("touch", "/etc/systemd/system/hyperhive-of-somebody-else.service")
    hive(host, "uninstall")
    assert harnesses(host) == []
    host.run("rm", "/etc/systemd/system/hyperhive-of-somebody-else.service")
    assert traces(host) == set()
    assert host.run("test", "-e", f"{DATA}/broker.sqlite").returncode == 0
    assert host.run("test", "-e", "/etc/hyperhive", check=False).returncode == 1
    assert Path(f"{host.root}{DATA}/secrets/api-token").exists()
