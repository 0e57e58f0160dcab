"""A further pattern of shell commands in an `agent.toml`, with the rest of its text as it was written."""

import re
import tomllib
from typing import Final

import tomli_w

from hive_contracts.agent_file import FILE_NAME, AgentFile, parse
from hive_contracts.errors import HiveError
from hive_supervisor.configs.repository import ConfigRepository

_KEY: Final = re.compile(r"^bash_patterns\s*=\s*", re.MULTILINE)


def with_pattern(repository: ConfigRepository, sha: str, pattern: str, *, author: str) -> str:
    """A commit on `sha` in which `pattern` needs no asking; `sha` itself when it needs none already. Blocks."""
    text = repository.text(sha)
    changed = added(text, pattern)
    if changed == text:
        return sha
    files = repository.files(sha) | {FILE_NAME: changed.encode()}
    return repository.commit(files, parent=sha, author=author, message=f"Allow {pattern} without asking")


def added(text: str, pattern: str) -> str:
    """`text` is a valid file; so is what is returned."""
    before = parse(text)
    patterns = before.bash_patterns or ()
    if pattern in patterns:
        return text
    wanted = AgentFile.model_validate(before.model_dump() | {"bash_patterns": (*patterns, pattern)})
    listed = "[" + ", ".join(tomli_w.dumps({"x": one})[4:].strip() for one in wanted.bash_patterns or ()) + "]"
    changed = _replaced(text, listed)
    return changed if _reads_as(changed, wanted) else _written(text, wanted)


def _replaced(text: str, listed: str) -> str:
    found = _KEY.search(text)
    if found is None:
        return f"bash_patterns = {listed}\n{text}"
    end = next((i + 1 for i in range(found.end(), len(text)) if _is_array(text[found.end() : i + 1])), found.end())
    return text[: found.end()] + listed + text[end:]


def _is_array(text: str) -> bool:
    if not text.endswith("]"):
        return False
    try:
        return isinstance(tomllib.loads(f"x = {text}")["x"], list)
    except tomllib.TOMLDecodeError:
        return False


def _reads_as(text: str, wanted: AgentFile) -> bool:
    try:
        return parse(text) == wanted
    except HiveError:
        return False


def _written(text: str, wanted: AgentFile) -> str:
    """Anew, without its comments."""
    return tomli_w.dumps(tomllib.loads(text) | {"bash_patterns": list(wanted.bash_patterns or ())})
