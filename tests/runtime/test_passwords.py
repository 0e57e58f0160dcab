"""Password files of Redis users: what is valid at each step of a replacement, whatever was killed before."""

from pathlib import Path

from hive_runtime.passwords import PasswordFiles


def test_a_password_is_made_once_and_only_this_user_reads_it(tmp_path: Path) -> None:
    files = PasswordFiles(tmp_path / "secrets")
    path = files.path("ada")
    assert files.path("ada").read_text() == path.read_text()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert files.valid("ada") == (path.read_text(),)
    assert not files.is_replaced("ada")


def test_old_and_new_are_valid_until_the_old_one_is_forgotten(tmp_path: Path) -> None:
    files = PasswordFiles(tmp_path)
    (old,) = files.valid("ada")
    new = files.begin("ada")
    assert new
    assert files.valid("ada") == (old,)
    files.write("ada", new)
    assert files.valid("ada") == (new, old)
    assert files.path("ada").stat().st_mode & 0o777 == 0o600
    files.end("ada")
    assert files.valid("ada") == (new,)


def test_a_replacement_that_was_cut_off_before_it_was_written_begins_again(tmp_path: Path) -> None:
    first = PasswordFiles(tmp_path)
    (old,) = first.valid("ada")
    lost = first.begin("ada")
    after = PasswordFiles(tmp_path)
    assert after.is_replaced("ada")
    assert after.valid("ada") == (old,)
    assert after.begin("ada") not in (None, lost, old)


def test_a_replacement_that_was_cut_off_after_it_was_written_keeps_what_was_written(tmp_path: Path) -> None:
    first = PasswordFiles(tmp_path)
    (old,) = first.valid("ada")
    first.write("ada", first.begin("ada") or "")
    after = PasswordFiles(tmp_path)
    written = after.valid("ada")
    assert after.begin("ada") is None
    assert after.valid("ada") == written
    assert written[1] == old


def test_nothing_stays_of_who_is_removed(tmp_path: Path) -> None:
    files = PasswordFiles(tmp_path)
    files.write("ada", files.begin("ada") or "")
    files.remove("ada")
    assert list(tmp_path.iterdir()) == []
