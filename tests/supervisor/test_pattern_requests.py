"""`always`: the pattern in the text of an `agent.toml`, and the request that comes of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.supervisor.test_approvals import Desk, asked, at_a_desk
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agent_file import parse
from hive_contracts.agents import CommandDone
from hive_contracts.approvals import ApprovalKind, ApprovalState
from hive_contracts.envelope import Envelope
from hive_contracts.permissions import PatternProposed
from hive_supervisor.configs.patterns import added


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'bash_patterns = ["git *"]\n'),
        ('# mine\nmodel = "opus"\n', 'bash_patterns = ["git *"]\n# mine\nmodel = "opus"\n'),
        (
            'bash_patterns = ["ls *"]  # few\nmodel = "opus"\n',
            'bash_patterns = ["ls *", "git *"]  # few\nmodel = "opus"\n',
        ),
        ('bash_patterns = [\n  "a ] b",\n]\n', 'bash_patterns = ["a ] b", "git *"]\n'),
        ('bash_patterns = ["git *"]\n', 'bash_patterns = ["git *"]\n'),
        ("[limits]\nturn_tokens = 5\n", 'bash_patterns = ["git *"]\n[limits]\nturn_tokens = 5\n'),
    ],
)
def test_a_pattern_joins_those_that_are_there_and_the_rest_stays(before: str, after: str) -> None:
    assert added(before, "git *") == after


@given(
    st.lists(st.sampled_from(["git *", "a ] b", 'say "x"', "it's", "# no"]), max_size=3, unique=True),
    st.sampled_from(["npm *", "x ] y", 'echo "]"']),
)
def test_whatever_stands_there_the_file_means_the_same_and_one_pattern_more(patterns: list[str], new: str) -> None:
    text = "# first\n" + (f"bash_patterns = {patterns!r}\n" if patterns and "it's" not in patterns else "")
    before = parse(text)
    after = parse(added(text, new))
    assert after.bash_patterns == (*(before.bash_patterns or ()), new)
    assert after.model_copy(update={"bash_patterns": None}) == before.model_copy(update={"bash_patterns": None})


async def always(desk: Desk, pattern: str, question: str = "q-1") -> None:
    """As the broker passes an answer on."""
    fact = PatternProposed(agent=desk.agent, tool="Bash", pattern=pattern, question_id=question)
    command = Envelope.of(fact, source="broker", id=f"{question}:pattern", subject=desk.agent)
    await desk.hive.bus.append(streams.COMMANDS_SUPERVISOR, command)
    assert (await desk.hive.fact(CommandDone, correlation_id=command.id)).subject == desk.agent


@pytest.mark.system
def test_always_becomes_a_request_and_is_asked_anew_when_something_else_was_deployed(
    redis: RedisServer, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        clone = await desk.fetch()
        sha = clone.write(agent_toml='# kept\nmodel = "opus"\nbash_patterns = ["ls *"]\n')
        change = asked(await desk.ask(clone, sha))
        await always(desk, "git *")
        await always(desk, "git *", "q-2")
        (first,) = [one for one in desk.reader.pending() if one.kind is ApprovalKind.PERMISSION_PATTERN]
        assert (first.requester, first.pattern) == ("ada", "git *")
        asked(await desk.decide(change["approval"], sha))
        await desk.until(change["approval"], ApprovalState.DEPLOYED)
        refused = await desk.decide(first.id, first.commit)
        assert "asked for again as a-" in refused.data["reason"]
        (second,) = desk.reader.pending()
        files = desk.reader.agent_files(second.id)
        assert files
        assert files.after == '# kept\nmodel = "opus"\nbash_patterns = ["ls *", "git *"]\n'
        asked(await desk.decide(second.id, second.commit))
        await desk.until(second.id, ApprovalState.DEPLOYED)
        assert (await desk.hive.record("ada")).config.policy.bash_patterns == ("ls *", "git *")
        await always(desk, "git *", "q-3")
        assert desk.reader.pending() == [], "it has the pattern by now"

    at_a_desk(redis, tmp_path, story)
