"""Hives on one machine keep clear of each other's user ids."""

import shutil
from pathlib import Path

from hive_supervisor.config import FIRST_ID
from hive_supervisor.id_ranges import SPAN, Claim, add, claim, others, own
from hive_supervisor.runtimes.base import IDS
from hive_supervisor.store import AgentIds


def hive(tmp_path: Path, name: str, wanted: int = FIRST_ID, *, given: AgentIds | None = None) -> Claim:
    data_dir = tmp_path / name
    data_dir.mkdir(exist_ok=True)
    (data_dir / "hive.id").write_text(f"id-of-{name}")
    return claim(f"id-of-{name}", data_dir, wanted, given=(given,) if given else (), place=tmp_path / "ids")


def places(tmp_path: Path, name: str) -> tuple[int, ...]:
    record = own(f"id-of-{name}", tmp_path / "ids")
    assert record
    return record.places


def agent(origin: int, number: int = 1) -> AgentIds:
    return AgentIds(origin + number * IDS, origin)


def test_a_second_hive_counts_from_elsewhere_and_each_stays_where_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        assert hive(tmp_path, "a") == Claim(FIRST_ID)
        assert hive(tmp_path, "b") == Claim(FIRST_ID + SPAN)
    (found,) = others("id-of-b", tmp_path / "ids")
    assert (found.data_dir, found.places) == (tmp_path / "a", (FIRST_ID,))


def test_what_a_hive_had_is_free_once_it_is_gone(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    shutil.rmtree(tmp_path / "a")
    assert hive(tmp_path, "b") == Claim(FIRST_ID)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "hive.id").write_text("another one")
    assert others("id-of-b", tmp_path / "ids") == []


def test_one_that_has_agents_there_already_is_told(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    found = hive(tmp_path, "b", given=agent(FIRST_ID))
    assert found.first == FIRST_ID
    assert f"that in {tmp_path / 'a'} share user ids" in found.clash
    assert "set first_uid" in found.clash


def test_one_that_was_restored_counts_from_where_its_agents_are(tmp_path: Path) -> None:
    far = FIRST_ID + 3 * SPAN
    assert hive(tmp_path, "a", given=agent(far)) == Claim(far)
    assert hive(tmp_path, "b") == Claim(FIRST_ID)
    assert str(tmp_path / "a") in hive(tmp_path, "c", given=agent(far)).clash


def test_two_side_by_side_share_nothing_when_one_is_restored(tmp_path: Path) -> None:
    hive(tmp_path, "a")
    hive(tmp_path, "b")
    shutil.rmtree(tmp_path / "a")
    assert hive(tmp_path, "a again", given=agent(FIRST_ID, 7)) == Claim(FIRST_ID)


def test_ids_that_agents_have_elsewhere_are_claimed_too_and_new_ones_are_counted_as_before(tmp_path: Path) -> None:
    far = FIRST_ID + 3 * SPAN
    assert hive(tmp_path, "a") == Claim(FIRST_ID)
    for _ in range(2):
        assert hive(tmp_path, "a", given=agent(far)) == Claim(FIRST_ID)
        assert places(tmp_path, "a") == (FIRST_ID, far)
    assert str(tmp_path / "a") in hive(tmp_path, "b", far).clash


def test_one_whose_agents_cannot_be_known_keeps_what_it_claimed(tmp_path: Path) -> None:
    far = FIRST_ID + 3 * SPAN
    hive(tmp_path, "a")
    hive(tmp_path, "a", given=agent(far))
    assert claim("id-of-a", tmp_path / "a", FIRST_ID, given=None, place=tmp_path / "ids") == Claim(FIRST_ID)
    assert places(tmp_path, "a") == (FIRST_ID, far)


def test_one_that_made_more_agents_than_it_claimed_ids_for_claims_the_next(tmp_path: Path) -> None:
    assert hive(tmp_path, "a", given=agent(FIRST_ID)) == Claim(FIRST_ID)
    assert hive(tmp_path, "a", given=agent(FIRST_ID, 300)) == Claim(FIRST_ID)
    assert places(tmp_path, "a") == (FIRST_ID, FIRST_ID + SPAN)
    assert hive(tmp_path, "b") == Claim(FIRST_ID + 2 * SPAN)


def test_ids_are_added_to_what_a_hive_wrote_down(tmp_path: Path) -> None:
    far = FIRST_ID + 3 * SPAN
    hive(tmp_path, "a")
    add("id-of-a", [agent(far), agent(far, 2), agent(FIRST_ID)], tmp_path / "ids")
    assert places(tmp_path, "a") == (FIRST_ID, far)
    add("id-of-b", [agent(far)], tmp_path / "ids")
    assert own("id-of-b", tmp_path / "ids") is None


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
