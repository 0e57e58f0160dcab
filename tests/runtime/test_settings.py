"""Settings: the environment wins, and every mistake is a sentence that names the key and its place."""

import re
from pathlib import Path

import pytest
from pydantic import Field

from hive_runtime.errors import SettingsError
from hive_runtime.settings import Settings, check_sections, load


class BakerSettings(Settings):
    ovens: int = Field(default=2, ge=1)
    flour: str = "rye"
    night: bool = False


class ShopSettings(Settings):
    door: str = "open"


def _write(data_dir: Path, text: str) -> Path:
    path = data_dir / "hive.toml"
    path.write_text(text)
    return path


def _load(data_dir: Path, **environ: str) -> BakerSettings:
    return load(BakerSettings, "baker", data_dir=data_dir, environ=environ)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert _load(tmp_path) == BakerSettings(ovens=2, flour="rye", night=False)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    _write(tmp_path, "[baker]\novens = 3\nflour = 'spelt'\n")
    assert _load(tmp_path) == BakerSettings(ovens=3, flour="spelt")
    assert _load(tmp_path, HIVE_BAKER_OVENS="4", HIVE_BAKER_NIGHT="true") == BakerSettings(
        ovens=4, flour="spelt", night=True
    )


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert _load(tmp_path, HIVE_BAKER_OVENS="").ovens == 2


def test_sections_of_others_are_let_be(tmp_path: Path) -> None:
    _write(tmp_path, "[shop]\ndoor = 'x'\n[baker]\novens = 3\n")
    assert _load(tmp_path).ovens == 3


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("# mine\n\n[baker]\novens = 0\n", 4, "baker.ovens"),
        ("[shop]\novens = 5\n[baker]\nflour = 'a'\n  ovens='many'\n", 5, "baker.ovens"),
        ("[baker]\nflour = 'x'\nyeast = 1\n", 3, "baker.yeast: no such setting"),
        ("[baker]\nflour = 7\n", 2, "baker.flour"),
        ("baker = 1\n", 1, r"\[baker\] must be a table"),
        ("x = 1\nbaker = 'a'\n", 2, r"\[baker\] must be a table"),
    ],
)
def test_a_bad_setting_is_named_with_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SettingsError, match=rf"^{re.escape(str(path))}:{line}: {key}"):
        _load(tmp_path)


def test_a_bad_variable_is_named_with_its_value(tmp_path: Path) -> None:
    _write(tmp_path, "[baker]\novens = 3\n")
    with pytest.raises(SettingsError, match=r"^HIVE_BAKER_OVENS is not valid: .*'many'"):
        _load(tmp_path, HIVE_BAKER_OVENS="many")


@pytest.mark.parametrize(
    ("text", "line"), [("[baker\n", 1), ("[baker]\novens = \n", 2), ("[baker]\novens=1\n\novens=2\n", 4)]
)
def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path: Path, text: str, line: int) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SettingsError, match=rf"{re.escape(str(path))} is not valid TOML: .*line {line}"):
        _load(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "hive.toml").mkdir()
    with pytest.raises(SettingsError, match=r"cannot read .*hive\.toml"):
        _load(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "hive.toml").write_bytes(b"[baker]\nflour = '\xff'\n")
    with pytest.raises(SettingsError, match=r"cannot read .*hive\.toml"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [("[shop]\n\n[cellar]\nx = 1\n", 3), ("cellar = 1\n", 1), ("[shop]\n[cellar-door]\n", 2), ("[cellar.x]\ny=1\n", 1)],
)
def test_an_unknown_section_is_named_with_its_line_and_the_known_ones(tmp_path: Path, text: str, line: int) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SettingsError, match=rf":{line}: unknown section \[cellar.*known are baker, shop"):
        check_sections(path, {"shop": ShopSettings, "baker": BakerSettings}, {})


def test_a_section_is_not_taken_for_one_with_a_longer_name(tmp_path: Path) -> None:
    path = _write(tmp_path, "[shop]\ndoor = 'cellar'\n#\n[baker]\nflour = 'a'\n[cellar]\n")
    with pytest.raises(SettingsError, match=r":6: unknown section \[cellar\]"):
        check_sections(path, {"shop": ShopSettings, "baker": BakerSettings}, {})


def test_every_section_is_checked(tmp_path: Path) -> None:
    path = _write(tmp_path, "[shop]\ndoor = 'x'\n[baker]\novens = 'y'\n")
    with pytest.raises(SettingsError, match=r":4: baker\.ovens"):
        check_sections(path, {"shop": ShopSettings, "baker": BakerSettings}, {})
