"""`agent.toml` as a person or an agent writes it."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hive_contracts.agent_file import MAX_FILE_BYTES, AgentFile, InvalidAgentFile, decode, parse
from hive_contracts.models import AgentConfig, Effort, Network

WHOLE = """\
description = "reviews what others write"
model = "haiku"
effort = "high"
tools = ["Bash", "Read"]
bash_patterns = ["git *", "Bash(nix build .*)"]
permission_policy = "deny"
recipients = ["ada", "lin"]
network = "none"

[limits]
memory_mib = 512
cpus = 1.5
turn_seconds = 600

[environment]
TZ = "UTC"

[mcp_servers.search]
command = "search-mcp"
args = ["--fast"]
"""


def test_an_empty_file_is_the_hives_own_defaults() -> None:
    assert parse("") == AgentFile()
    assert parse("").config == AgentConfig()


def test_every_key_reaches_the_configuration() -> None:
    config = parse(WHOLE).config
    assert (config.model, config.effort, config.network) == ("haiku", Effort.HIGH, Network.NONE)
    assert config.policy.bash_patterns == ("git *", "nix build .*")
    assert config.recipients == ("ada", "lin")
    assert config.limits.memory_mib == 512
    assert config.environment == {"TZ": "UTC"}
    assert config.mcp_servers["search"].args == ("--fast",)
    unset = {name for name in AgentConfig.model_fields if name not in config.model_fields_set}
    assert unset == set()


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ("\nmodle = 'haiku'", 2, "modle", "no such key"),
        ("model = 'a b'", 1, "model", "is not a model's name"),
        ("tools = ['Read',\n  'nope']", 1, "tools.1", "is not the name of a built-in tool"),
        ("[limits]\n\nmemory_mib = 1", 3, "limits.memory_mib", "greater than or equal to 128"),
        ("limits.pids = 0", 1, "limits.pids", "greater than or equal to 32"),
        ("[limits]\ncores = 1", 2, "limits.cores", "no such key"),
        ("recipients = ['Ada']", 1, "recipients.0", "is not an agent name"),
        ("[mcp_servers.hyperhive]\ncommand = 'x'", 1, "mcp_servers.hyperhive", "the hive's own"),
        ("[mcp_servers.a]\nargs = []", 1, "mcp_servers.a", "either a command or a url"),
        ("# first\n[environment]\nHIVE_X = '1'", 3, "environment.HIVE_X", "hive's own"),
        ('[environment]\nA = "two\\nlines"', 2, "environment.A", "one line"),
        ("[environment]\nGITHUB_TOKEN = 'ghp'", 2, "environment.GITHUB_TOKEN", "looks like a secret"),
        ("network = 'lan'", 1, "network", "'none' or 'host'"),
        ("model = ", 1, "", "is not TOML"),
        ("a = 1\nb = [", 2, "", "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_reason(text: str, line: int, key: str, reason: str) -> None:
    with pytest.raises(InvalidAgentFile) as refused:
        parse(text)
    (problem,) = refused.value.problems
    assert (problem.line, problem.key) == (line, key)
    assert reason in problem.reason
    assert str(refused.value).startswith(f"agent.toml:{line}: ")


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    with pytest.raises(InvalidAgentFile) as refused:
        parse("nope = 1\nmodel = 'a b'\n[limits]\npids = 1")
    assert [problem.key for problem in refused.value.problems] == ["nope", "model", "limits.pids"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"#" * (MAX_FILE_BYTES + 1), "at most"), (b"a = 1\n\xff", "not UTF-8"), (b"a = " + b"[" * 5000, "is not TOML")],
)
def test_what_is_no_text_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidAgentFile, match=reason):
        decode(content)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_file_or_refused(content: bytes) -> None:
    try:
        decode(content)
    except InvalidAgentFile as refused:
        assert refused.problems


KEYS = st.sampled_from([*AgentFile.model_fields, "nope", "mcp_servers.a.command", "limits.pids", "environment.A-B"])
VALUES = st.sampled_from(["1", "''", "'x'", "[]", "['a']", "{}", "true", "1e400", "nan", "'\\u0000'", "1979-05-27"])


@given(st.lists(st.tuples(KEYS, VALUES), max_size=6))
@example([("limits.cpus", "nan")])
def test_any_values_are_taken_whole_or_refused_with_a_line_of_the_file(pairs: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in pairs)
    try:
        found = parse(text)
    except InvalidAgentFile as refused:
        assert all(1 <= problem.line <= max(1, len(pairs)) for problem in refused.problems)
    else:
        assert found.config
        assert tomllib.loads(text).keys() <= AgentFile.model_fields.keys()
