"""Hives on one machine keep clear of each other's user ids."""

import shutil
from pathlib import Path

from hive_supervisor.config import FIRST_ID
from hive_supervisor.id_ranges import SPAN, Claim, claim, others


def hive(tmp_path: Path, name: str, wanted: int = FIRST_ID, *, given: int | None = None) -> Claim:
    data_dir = tmp_path / name
    data_dir.mkdir(exist_ok=True)
    (data_dir / "hive.id").write_text(f"id-of-{name}")
    return claim(f"id-of-{name}", data_dir, wanted, given=given, place=tmp_path / "ids")


def test_a_second_hive_counts_from_elsewhere_and_each_stays_where_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        assert hive(tmp_path, "a") == Claim(FIRST_ID)
        assert hive(tmp_path, "b") == Claim(FIRST_ID + SPAN)
    assert others("id-of-b", tmp_path / "ids") == {tmp_path / "a": FIRST_ID}


def test_what_a_hive_had_is_free_once_it_is_gone(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    shutil.rmtree(tmp_path / "a")
    assert hive(tmp_path, "b") == Claim(FIRST_ID)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "hive.id").write_text("another one")
    assert others("id-of-b", tmp_path / "ids") == {}


def test_one_that_has_agents_there_already_is_told(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    found = hive(tmp_path, "b", given=FIRST_ID)
    assert found.first == FIRST_ID
    assert f"that in {tmp_path / 'a'} share user ids" in found.clash
    assert "set first_uid" in found.clash


def test_one_that_was_restored_counts_from_where_its_agents_are(tmp_path: Path) -> None:
    far = FIRST_ID + 3 * SPAN
    assert hive(tmp_path, "a", given=far) == Claim(far)
    assert hive(tmp_path, "b") == Claim(FIRST_ID)
    assert str(tmp_path / "a") in hive(tmp_path, "c", given=far).clash


def test_what_the_settings_say_holds_and_a_clash_is_told(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    far = FIRST_ID + 3 * SPAN
    assert hive(tmp_path, "b", far) == Claim(far)
    near = hive(tmp_path, "c", far + 65_536)
    assert near.first == far + 65_536
    assert str(tmp_path / "b") in near.clash


def test_where_nothing_can_be_written_down_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "ids").touch()
    assert hive(tmp_path, "a") == Claim(FIRST_ID)


def test_a_record_that_cannot_be_read_is_nobodys(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    (tmp_path / "ids" / "id-of-a").write_text("{")
    assert hive(tmp_path, "b") == Claim(FIRST_ID)
