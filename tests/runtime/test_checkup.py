"""The checks of `hive doctor`, as such: what one finds, mends or breaks is its own affair."""

from collections.abc import Iterator

from hive_contracts.errors import Refused
from hive_runtime.checkup import Check, Finding, State, examine


def _fine(_: set[str]) -> Iterator[Finding]:
    yield Finding("all", "bird", State.OK, "it sings")


def _dirty(place: set[str]) -> Iterator[Finding]:
    if place:
        yield Finding("all", "nest", State.WRONG, "it is dirty", "clean it", mendable=True)
    else:
        yield Finding("all", "nest", State.OK, "it is clean")


def _clean(place: set[str]) -> Iterator[str]:
    while place:
        yield f"{place.pop()} is taken out"


def _cannot(_: set[str]) -> Iterator[Finding]:
    raise Refused("the door is locked")
    yield


def _keeps_dirt(_: set[str]) -> Iterator[str]:
    raise PermissionError("no broom")
    yield


def test_findings_carry_their_checks_name_and_one_that_fails_ends_no_other() -> None:
    report = examine((Check("door", "", _cannot), Check("bird", "", _fine)), set())
    assert [(one.check, one.state) for one in report.findings] == [("door", State.WRONG), ("bird", State.OK)]
    assert "the door is locked" in report.findings[0].text


def test_nothing_is_mended_unless_asked_for_and_then_looked_at_again() -> None:
    place = {"straw"}
    checks = (Check("nest", "", _dirty, _clean),)
    assert examine(checks, place).findings[0].state is State.WRONG
    assert place == {"straw"}
    report = examine(checks, place, fix=True)
    assert (report.mended, [one.state for one in report.findings]) == (["nest: straw is taken out"], [State.OK])


def test_what_cannot_be_mended_is_said_with_its_reason() -> None:
    report = examine((Check("nest", "", _dirty, _keeps_dirt),), {"straw"}, fix=True)
    assert "no broom" in report.findings[0].text
    assert report.findings[1].state is State.WRONG


def test_only_the_named_checks_are_looked_at() -> None:
    checks = (Check("door", "", _cannot), Check("bird", "", _fine))
    assert [one.what for one in examine(checks, set(), only=("bird",)).findings] == ["bird"]


def test_a_part_that_lacks_is_fatal_only_where_all_need_it() -> None:
    assert Finding("all", "port", State.LACKS, "").is_fatal
    assert not Finding("docker", "runtime", State.LACKS, "").is_fatal
    assert Finding("docker", "x", State.WRONG, "").is_fatal
