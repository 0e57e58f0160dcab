"""Names, ids and bodies: what is let in and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_contracts.errors import BodyTooLong, HiveError, InvalidBody, InvalidName, error_from_code
from hive_contracts.ids import message_id, new_id
from hive_contracts.messages import MAX_BODY_BYTES, check_body
from hive_contracts.names import check_agent_name


@pytest.mark.parametrize("name", ["a", "hm1nd", "ada-2", "x" * 31])
def test_good_names_pass(name: str) -> None:
    assert check_agent_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a_b", "a.b", "a/b", "x" * 32, "a\n", "ä", "..", "a b"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="not an agent name"):
        check_agent_name(name)


@pytest.mark.parametrize("name", ["operator", "system", "all"])
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="reserved"):
        check_agent_name(name)


@given(st.text())
def test_a_name_is_either_safe_in_a_key_and_a_path_or_refused(name: str) -> None:
    try:
        check_agent_name(name)
    except InvalidName:
        return
    assert name.isascii()
    assert not set(name) & set("{}:/.\\ \n\0*")


def test_ids_sort_by_time_of_making() -> None:
    ids = [new_id() for _ in range(3)]
    assert [len(i) for i in ids] == [26, 26, 26]
    assert ids[0][:10] <= ids[1][:10] <= ids[2][:10]


def test_one_send_has_one_message_id_and_no_one_else_can_have_it() -> None:
    mine = message_id("ada", "key", "lin")
    assert mine == message_id("ada", "key", "lin")
    assert (
        len({mine, message_id("eve", "key", "lin"), message_id("ada", "key", "bob"), message_id("ada", "k", "lin")})
        == 4
    )


@pytest.mark.parametrize("body", ["", " \n\t"])
def test_a_blank_body_is_refused(body: str) -> None:
    with pytest.raises(InvalidBody):
        check_body(body)


def test_the_body_limit_counts_bytes() -> None:
    assert check_body("x" * MAX_BODY_BYTES)
    with pytest.raises(BodyTooLong, match=str(MAX_BODY_BYTES)):
        check_body("ä" * (MAX_BODY_BYTES // 2 + 1))


def test_an_error_crosses_a_boundary_by_its_code() -> None:
    assert type(error_from_code("body_too_long", "x")) is BodyTooLong
    assert type(error_from_code("from the future", "x")) is HiveError
    foreign = error_from_code("agent_exists", "x", 409)
    assert (foreign.code, foreign.status, str(foreign)) == ("agent_exists", 409, "x")
    assert type(error_from_code("from the future", "x", 200)) is HiveError
