"""The texts of systemd's units: what follows from a layout, without a systemd."""

from pathlib import Path

import pytest

from hive_cli.__main__ import run
from hive_cli.systemd.units import SUPERVISORS, Layout, all_units, quoted

LAYOUT = Layout(Path("/var/lib/hyperhive"), "hyperhive", Path("/opt/hive/bin/python"), Path("/opt/hive/valkey-server"))
OWN_REDIS = Layout(LAYOUT.data_dir, "hyperhive", LAYOUT.python, None, "rediss://db:6380/0")


def lines(layout: Layout, unit: str) -> list[str]:
    return all_units(layout)[f"hyperhive-{unit}.service"].splitlines()


def test_only_the_supervisor_and_what_prepares_are_root() -> None:
    units = all_units(LAYOUT)
    services = {name for name in units if name.endswith(".service")}
    roots = {name for name in services if "User=hyperhive" not in units[name]}
    assert roots == {f"hyperhive-{name}.service" for name in ("prepare", "supervisor", "agents")}
    assert f"CapabilityBoundingSet={SUPERVISORS}" in lines(LAYOUT, "supervisor")
    assert "CapabilityBoundingSet=" in lines(LAYOUT, "broker")


def test_without_a_redis_of_ones_own_the_broker_has_no_network() -> None:
    assert "PrivateNetwork=yes" in lines(LAYOUT, "broker")
    assert "RestrictAddressFamilies=AF_UNIX" in lines(LAYOUT, "broker")
    assert "PrivateNetwork=yes" not in lines(OWN_REDIS, "broker")


def test_a_redis_of_ones_own_is_prepared_and_not_started() -> None:
    assert "hyperhive-redis.service" not in all_units(OWN_REDIS)
    (start,) = [line for line in lines(OWN_REDIS, "prepare") if line.startswith("ExecStart=")]
    assert start.endswith("--redis rediss://db:6380/0")


def test_every_service_is_part_of_the_target_and_wanted_by_it() -> None:
    units = all_units(LAYOUT)
    for name, text in units.items():
        assert name == "hyperhive.target" or "PartOf=hyperhive.target" in text, name
        assert name in units["hyperhive.target"] or name in {"hyperhive.target", "hyperhive-prepare.service"}


def test_a_service_whose_settings_are_wrong_is_not_started_again() -> None:
    for unit in ("broker", "dashboard", "supervisor"):
        assert "RestartPreventExitStatus=78" in lines(LAYOUT, unit)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("/srv/hive", "/srv/hive"),
        ("/srv/my hive", '"/srv/my hive"'),
        ("50%", "50%%"),
        ("$HOME", "$$HOME"),
        ('a"b', '"a\\"b"'),
    ],
)
def test_a_word_is_one_word_to_systemd(word: str, text: str) -> None:
    assert quoted(word) == text


def test_install_says_how_it_installs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install"]) == 2
    assert "--systemd" in capsys.readouterr().err


@pytest.mark.parametrize("user", ["root", "a b", "-x", "1st"])
def test_a_user_that_cannot_be_is_exit_2(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["install", "--systemd", f"--user={user}"]) == 2


@pytest.mark.parametrize("place", ["/tmp/hive", "/home/me/hive", "/run/hive", "/root/hive"])
def test_a_place_that_services_do_not_see_is_exit_2(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--data-dir", place, "install", "--systemd"]) == 2
    assert "/var/lib/hyperhive" in capsys.readouterr().err
