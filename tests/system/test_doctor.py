"""`hive doctor` on a machine that systemd runs."""

import json
import sys

import pytest
from tests.support.systemd_host import systemd_host

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_on_a_systemd_host_all_that_nspawn_needs_is_found_but_the_image() -> None:
    with systemd_host() as host:
        words = ("-m", "hive_cli", "--data-dir", f"{host.scratch}/data", "doctor", "--json")
        found = json.loads(host.run(sys.executable, *words, check=False).stdout)["findings"]
        states = {one["what"]: one["state"] for one in found if one["part"] in ("nspawn", "image")}
        host.run("systemctl", "stop", "dbus.socket", "dbus.service", check=False)
        after = json.loads(host.run(sys.executable, *words, check=False).stdout)["findings"]
    assert {states[what] for what in ("systemd", "D-Bus", "systemd-nspawn", "user namespaces")} == {"ok"}
    assert states["image"] == "lacks"
    assert next(one["state"] for one in after if one["what"] == "D-Bus") == "lacks"
