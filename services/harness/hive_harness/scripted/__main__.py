"""`python -m hive_harness.scripted --mcp-config FILE [--resume ID] [--model NAME]`, started like `claude -p`; or with
`--alone`, for one question without tools and session.

One JSON object a line on standard input begins a turn, as Claude Code reads it. Sessions are kept in the folder
`scripted-sessions` of the working directory: one file each, with the number of its turns.
"""

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import Any, Final

from hive_harness.prompt import Wake, parse
from hive_harness.scripted.listening import Interrupted, Listening
from hive_harness.scripted.mcp_client import SERVER, McpClient
from hive_harness.scripted.performer import OPERATOR, Failed, Performer
from hive_harness.scripted.speech import MODEL, Speech
from hive_harness.scripted.upkeep import answer_alone, keep_up

SESSIONS: Final = Path("scripted-sessions")
BUILT_IN: Final = ["Bash", "Edit", "Write"]


def main() -> int:
    options = _options()
    speech = Speech(options.resume or str(uuid.uuid4()), options.model)
    session = SESSIONS / f"{Path(options.resume).name if options.resume else speech.session_id}.json"
    if options.resume and not session.exists():
        print(f"No conversation found with session ID: {options.resume}", file=sys.stderr)  # noqa: T201
        speech.cannot_resume()
        return 1
    if options.alone:
        return _answer_alone(speech)
    client = McpClient(options.mcp_config)
    tools, status = _connect(client)
    performer = Performer(client, speech, permission_tool=options.permission_prompt_tool)
    listening = Listening()
    for line in listening.lines():
        if text := _text_of(line):
            turn = _count_turn(session)
            speech.begin([*BUILT_IN, *tools], status, text, turn=turn)
            if keep_up(text, speech, turn=turn):
                speech.end("done", steps=1)
            else:
                _turn(performer, speech, text, listening)
    return 0


def _answer_alone(speech: Speech) -> int:
    for line in sys.stdin:
        if text := _text_of(line):
            speech.begin([], "disabled", text, turn=1)
            answer_alone(text, speech)
    return 0


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="hive_harness.scripted")
    parser.add_argument("--mcp-config", type=Path)
    parser.add_argument("--permission-prompt-tool", default="", help="asked before each shell command")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--resume")
    parser.add_argument("--model", default=MODEL)
    return parser.parse_args()


def _connect(client: McpClient) -> tuple[list[str], str]:
    try:
        client.connect()
        return [f"mcp__{SERVER}__{name}" for name in client.tools()], "connected"
    except OSError as error:
        print(f"MCP server {SERVER}: {error}", file=sys.stderr)  # noqa: T201
        return [], "failed"


def _turn(performer: Performer, speech: Speech, text: str, listening: Listening) -> None:
    wake = parse(text) or Wake("", OPERATOR, text)
    try:
        with listening.turn():
            steps = performer.perform(wake)
    except Failed as error:
        speech.fail(str(error), steps=1)
    except Interrupted:
        speech.leave_off()
    else:
        speech.end("done", steps=steps)


def _text_of(line: str) -> str | None:
    """The prompt in a line of input, without the context that may precede it; None for a line that is none."""
    try:
        content = json.loads(line)["message"]["content"]
    except (ValueError, KeyError, TypeError):
        return None
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [block["text"] for block in blocks if block.get("type") == "text"]
    return texts[-1] if texts else None


def _count_turn(session: Path) -> int:
    turns = int(json.loads(session.read_text())["turns"]) + 1 if session.exists() else 1
    session.parent.mkdir(exist_ok=True)
    session.write_text(json.dumps({"turns": turns}))
    return turns


if __name__ == "__main__":
    sys.exit(main())
