"""Which shell commands a pattern lets through: one plain command, and nothing that a shell would make more of."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.commands import JOINED, PLAIN

from hive_contracts.permissions import Choice, Decision, bash_pattern, decision_of
from hive_harness.patterns import allows, is_plain, propose


@pytest.mark.parametrize("command", PLAIN)
def test_a_plain_command_is_allowed_by_its_pattern(command: str) -> None:
    assert allows(["git *"], command)


@pytest.mark.parametrize("command", JOINED)
def test_nothing_else_gets_through_with_it(command: str) -> None:
    assert not allows(["git *", "make *"], command)


@pytest.mark.parametrize(
    ("pattern", "command", "allowed"),
    [
        ("git status", "git status", True),
        ("git status", "git status -s", False),
        ("git *", "git", True),
        ("git *", "gitk", False),
        ("git*", "gitk", True),
        ("git *", "/usr/bin/git status", False),
        ("nix build .*", "nix build .#hello", True),
        ("nix build .*", "nix build .", True),
        ("nix build .*", "nix build nixpkgs#hello", False),
        ("nix build .*", "nix build x.y", False),
        ("npm run *:check", "npm run web:check", True),
        ("npm run *:check", "npm run web:fix", False),
        ("a.c *", "abc x", False),
        ("*", "anything; at all", True),
    ],
)
def test_a_star_is_any_text_and_all_else_is_itself(pattern: str, command: str, *, allowed: bool) -> None:
    assert allows([pattern], command) is allowed


@given(
    st.text(alphabet="git status-mx.=/*~?{}[]@%+,:'\" ", max_size=20),
    st.sampled_from([";", "&", "|", "$x", "`", "\n", "\r", "<", ">", "(", "\\", "\u2028", "\x00", "\t"]),
    st.text(alphabet="git status-mx", max_size=10),
)
def test_no_special_character_is_let_through_outside_of_single_quotes(before: str, special: str, after: str) -> None:
    command = f"git {before}{special}{after}"
    if is_plain(command):
        assert special in shlex.split(command)[-1] or any(special in word for word in shlex.split(command))
        assert not {"\n", "\r", "\u2028", "\x00", "\t"} & set(command)


@given(st.lists(st.text(alphabet='abc xyz-;|&$`<>(){}*"!#', min_size=1, max_size=12), min_size=1, max_size=4))
def test_quoted_words_are_plain_and_mean_themselves(words: list[str]) -> None:
    command = shlex.join(["git", *words])
    assert "'\"'" in command or is_plain(command)


@pytest.mark.parametrize("text", ["Bash(git *)", "git *", " git * ", "Bash(git:*)", "git:*"])
def test_a_pattern_may_be_written_as_a_rule(text: str) -> None:
    assert bash_pattern(text) == "git *"


@pytest.mark.parametrize("text", ["", "Bash()", "* --version", "git *\nrm", "*x"])
def test_a_pattern_that_could_not_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|begins"):
        bash_pattern(text)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("git push origin main", "git push *"),
        ("ls -la", "ls *"),
        ("make", "make *"),
        ("git push; rm x", ""),
        ("X=1 git push", ""),
        ("'g it' push", ""),
        ("* x", ""),
    ],
)
def test_what_is_proposed_allows_the_command_and_no_join(command: str, pattern: str) -> None:
    assert propose(command) == pattern
    assert not pattern or allows([pattern], command)


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("once", Decision(Choice.ONCE)),
        (" always \n", Decision(Choice.ALWAYS)),
        ("no\nuse the other branch", Decision(Choice.NO, "use the other branch")),
        ("once more I say no", Decision(Choice.NO, "once more I say no")),
        ("yes", Decision(Choice.NO, "yes")),
        ("Once", Decision(Choice.NO, "Once")),
    ],
)
def test_only_the_exact_word_permits(answer: str, decision: Decision) -> None:
    assert decision_of(answer) == decision
