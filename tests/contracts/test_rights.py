"""What a changed agent.toml means, in words: nothing widens in silence, and nothing is marked that does not."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import hive_contracts.rights
from hive_contracts.agent_file import AgentFile, parse
from hive_contracts.rights import Right, Risk, rights, settings

MARKS = {Risk.WIDER: "+", Risk.SAME: "=", Risk.NARROWER: "-"}


def told(before: str, after: str) -> list[str]:
    return [MARKS[right.risk] + right.words for right in rights(parse(before), parse(after))]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("bash_patterns = ['ls']", "bash_patterns = ['ls', 'git *']", [
            "+may now run any `git` command without asking",
        ]),
        ("bash_patterns = ['git *']", "bash_patterns = ['git log *', 'make test']", [
            "+may now run any `git log` command without asking", "+may now run `make test` without asking",
            "-may no longer run any `git` command without asking",
        ]),
        ("bash_patterns = ['ls']", "", ["+may now run any shell command without asking"]),
        ("bash_patterns = ['ls']", "bash_patterns = ['*']", ["+may now run any shell command without asking"]),
        ("", "bash_patterns = ['*']", ["=has other patterns of shell commands, which make no difference here"]),
        ("", "bash_patterns = ['nix build .*']", ["-runs only these without asking: any command like `nix build .*`"]),
        ("", "bash_patterns = []", ["-runs no shell command without asking"]),
        ("bash_patterns = ['a', 'b']", "bash_patterns = ['b', 'a']", [
            "=has its patterns of shell commands in another order",
        ]),
        ("bash_patterns = ['ls']", "bash_patterns = ['ls']\npermission_policy = 'allow'", [
            "+may now run any shell command without asking", "+may do all that its tools can, without asking",
        ]),
        ("permission_policy = 'allow'", "permission_policy = 'deny'", [
            "-is refused what its settings do not allow, and you are not asked",
        ]),
        ("tools = ['Read']", "tools = ['Read', 'Bash']\nbash_patterns = ['ls']", [
            "+may now run shell commands (Bash)", "+may now run `ls` without asking",
        ]),
        ("tools = ['Read', 'Edit']", "tools = ['Edit', 'Strange']", [
            "+may now use this tool (Strange)", "-may no longer read files (Read)",
        ]),
        ("tools = ['Read', 'Edit']", "tools = ['Edit', 'Read']", ["=has its tools listed in another order"]),
        ("recipients = ['ada']", "recipients = ['ada', 'lin']", ["+may now write to lin"]),
        ("recipients = ['ada', 'lin']", "recipients = ['lin']", ["-may no longer write to ada"]),
        ("recipients = ['ada']", "", ["+may now write to every agent"]),
        ("", "recipients = ['ada']", ["-may write only to ada, you and the manager"]),
        ("", "recipients = []", ["-may write only to you and the manager"]),
        ("network = 'none'", "network = 'host'", ["+may now use the network, as the host does"]),
        ("", "network = 'host'", ["+may now use the network, as the host does"]),
        ("", "network = 'none'", ["-may use no network"]),
        ("network = 'none'", "", ["+has the network that the hive gives every agent"]),
        ("network = 'host'", "", ["-has the network that the hive gives every agent"]),
        ("[environment]\nTZ = 'UTC'", "[environment]\nTZ = 'CET'\nHTTP_PROXY = 'x'", [
            "+gets TZ=CET instead of UTC", "+gets the variable HTTP_PROXY=x",
        ]),
        ("secrets = ['A_KEY']", "secrets = ['B_KEY']\npackages = ['jq']", [
            "+is given the secret B_KEY", "+has the package jq in its container",
            "-is no longer given the secret A_KEY",
        ]),
        ("packages = ['jq', 'git']", "packages = ['git']", ["-no longer needs jq"]),
        ("packages = ['jq', 'git']", "packages = ['git', 'jq']", ["=has its packages listed in another order"]),
        ("environment.TZ = 'UTC'", "", ["-no longer gets the variable TZ"]),
        ("limits.memory_mib = 2048", "limits.memory_mib = 4096", ["+gets 4 GiB of memory instead of 2 GiB"]),
        ("limits.memory_mib = 2048", "limits.memory_mib = 512", ["-gets 512 MiB of memory instead of 2 GiB"]),
        ("limits.pids = 100", "", ["+gets the hive's own limit at once instead of 100 processes"]),
        ("limits.turn_tokens = 9", "limits.turn_tokens = 0", [
            "+gets any number of tokens in a turn instead of 9 tokens",
        ]),
        ("limits.turn_tokens = 0", "limits.turn_tokens = 9", [
            "-gets 9 tokens in a turn instead of any number of tokens",
        ]),
        ("", "mcp_servers.web = {url = 'https://x.example/mcp'}", [
            "+may now use the MCP server web, which is at https://x.example/mcp",
        ]),
        ("mcp_servers.s = {command = 'a'}", "mcp_servers.s = {command = 'b', args = ['-x'], env = ['KEY']}", [
            "+has another MCP server s: it runs `b -x`, and sees the variables KEY, before it runs `a`",
        ]),
        ("mcp_servers.s = {command = 'a'}", "", ["-no longer uses the MCP server s"]),
        ("model = 'haiku'", "model = 'opus'\neffort = 'high'", [
            "=uses opus instead of haiku", "=thinks with high instead of the model's own effort",
        ]),
        ("", "restart = 'never'\ndescription = 'new'", [
            "=is described as “new”", "=stays down after its first crash",
        ]),
        ("", "", []),
    ],
)  # fmt: skip
def test_a_change_is_told_in_plain_words(before: str, after: str, words: list[str]) -> None:
    assert told(before, after) == words


def test_of_a_new_agent_all_is_told_and_only_the_unusual_is_marked() -> None:
    usual = rights(None, AgentFile())
    assert {right.risk for right in usual} == {Risk.SAME}
    assert "may now run any shell command without asking" in [right.words for right in usual]
    found = rights(None, parse("network = 'host'\nrecipients = ['ada']\nenvironment.A = 'b'"))
    assert [right.key for right in found if right.risk is Risk.WIDER] == ["network", "environment.A"]


class Later(AgentFile):
    """As a version to come may have it, before anybody wrote words for its new key."""

    novel: int = 0


def test_a_key_without_words_of_its_own_is_told_as_wider() -> None:
    assert rights(Later(), Later(novel=1)) == (Right("novel", "has another novel: 1 instead of 0", Risk.WIDER),)


def test_every_key_has_words_of_its_own() -> None:
    assert {*AgentFile.model_fields} - {"bash_patterns"} == {*hive_contracts.rights._WORDS}


def test_long_values_are_cut_and_stay_on_one_line() -> None:
    (right,) = rights(AgentFile(), AgentFile(environment={"A": "x" * 4000}))
    assert len(right.words) < 300
    assert right.words.endswith("…")


def test_settings_stand_side_by_side() -> None:
    before = parse("model = 'haiku'\n[limits]\npids = 100")
    after = parse("tools = ['Bash']\nmodel = 'haiku'\n[environment]\nTZ = 'UTC'")
    found = [(one.key, one.before, one.after, one.changed) for one in settings(before, after)]
    assert found == [
        ("model", '"haiku"', '"haiku"', False),
        ("tools", "", '["Bash"]', True),
        ("environment.TZ", "", '"UTC"', True),
        ("limits.pids", "100", "", True),
    ]
    assert [one.before for one in settings(None, after)] == ["", "", ""]


few = examples(deadline=None)
names = st.sampled_from(["ada", "lin", "bob"])
files = st.builds(
    AgentFile,
    model=st.sampled_from([None, "haiku", "opus"]),
    tools=st.lists(st.sampled_from(["Bash", "Read", "Edit", "WebFetch"]), unique=True).map(tuple),
    bash_patterns=st.none() | st.lists(st.sampled_from(["git *", "ls", "*", "make *"]), unique=True).map(tuple),
    permission_policy=st.sampled_from(["ask", "deny", "allow"]),
    recipients=st.none() | st.lists(names, unique=True).map(tuple),
    network=st.sampled_from([None, "none", "host"]),
    restart=st.sampled_from(["manager", "always", "never"]),
    environment=st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"])),
    secrets=st.lists(st.sampled_from(["A_KEY", "B_KEY"]), unique=True).map(tuple),
    packages=st.lists(st.sampled_from(["git", "jq"]), unique=True).map(tuple),
    limits=st.fixed_dictionaries({}, optional={"memory_mib": st.sampled_from([128, 4096]), "pids": st.just(64)}),
    mcp_servers=st.dictionaries(
        st.sampled_from(["s", "t"]), st.sampled_from([{"command": "x"}, {"command": "y"}, {"url": "https://x.example"}])
    ),
)


@few
@given(files, files)
def test_nothing_changes_in_silence(before: AgentFile, after: AgentFile) -> None:
    told_keys = {right.key.split(".")[0] for right in rights(before, after)}
    changed = {key for key in AgentFile.model_fields if getattr(before, key) != getattr(after, key)}
    assert changed <= told_keys
    assert (before == after) == (told_keys == set())


def sets_of(file: AgentFile) -> dict[str, set[Any]]:
    """What it may, as sets: an independent account of what is wide."""
    shell = "Bash" in file.tools
    every = shell and (file.permission_policy == "allow" or file.bash_patterns is None or "*" in file.bash_patterns)
    unasked = {"git *", "ls", "*", "make *"} if every else set(file.bash_patterns or ()) if shell else set()
    return {
        "tools": set(file.tools),
        "bash_patterns": unasked,
        "recipients": {"ada", "lin", "bob", "anybody"} if file.recipients is None else set(file.recipients),
        "mcp_servers": {(name, server.model_dump_json()) for name, server in file.mcp_servers.items()},
        "environment": set(file.environment.items()),
        "secrets": set(file.secrets),
        "packages": set(file.packages),
        "permission_policy": set(range(["deny", "ask", "allow"].index(file.permission_policy))),
    }


@few
@given(files, files)
def test_what_widens_is_marked_and_what_only_narrows_is_not(before: AgentFile, after: AgentFile) -> None:
    marked = {right.key.split(".")[0] for right in rights(before, after) if right.risk is Risk.WIDER}
    old, new = sets_of(before), sets_of(after)
    for key in old:
        assert (key in marked) == bool(new[key] - old[key]), key


@few
@given(files, files)
def test_every_difference_is_a_setting(before: AgentFile, after: AgentFile) -> None:
    found = settings(before, after)
    assert len({one.key for one in found}) == len(found)
    if any(one.changed for one in found):
        assert before != after or before.model_fields_set != after.model_fields_set


def test_a_setting_reads_as_in_the_file() -> None:
    text = "model = 'a'\neffort = 'high'\ntools = ['Bash', 'Read']\nlimits.cpus = 1.5"
    written = "\n".join(f"{one.key} = {one.after}" for one in settings(None, parse(text)))
    assert tomllib.loads(written) == tomllib.loads(text)
