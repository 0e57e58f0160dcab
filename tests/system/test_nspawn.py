"""The nspawn back-end on a real systemd host: the tests that need one are run inside it."""

from collections.abc import Iterator

import pytest
from tests.support.nspawn_host import nspawn_host, run_tests
from tests.support.systemd_host import SystemdHost

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with nspawn_host() as booted:
        yield booted


def test_nspawn_behaves_like_every_back_end(host: SystemdHost) -> None:
    run_tests(host, "tests/supervisor/test_conformance.py", "-k", "nspawn")


def test_nspawn_keeps_to_what_its_own_tests_say(host: SystemdHost) -> None:
    run_tests(host, "tests/on_systemd/test_nspawn_runtime.py", "tests/on_systemd/test_nspawn_host.py")


def test_nixos_drives_real_container_units(host: SystemdHost) -> None:
    run_tests(host, "tests/on_systemd/test_nixos_runtime.py")
