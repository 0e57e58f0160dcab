"""Does what directives say, and tells it as a model's tool calls and texts."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hive_harness.prompt import Wake
from hive_harness.scripted.directives import (
    Bash,
    Broken,
    Call,
    Crash,
    Directive,
    Edit,
    Fail,
    Hang,
    Say,
    Send,
    Sleep,
    UseTokens,
    Write,
    directives,
)
from hive_harness.scripted.mcp_client import SERVER, Answer, McpClient
from hive_harness.scripted.speech import Speech

OPERATOR: Final = "operator"
ECHO: Final = "echo: "
MAX_BODY_BYTES: Final = 4096
BASH_TIMEOUT_S: Final = 600


class Failed(Exception):
    """The turn is to end with a failure of kind `str(error)`."""


class Performer:
    """`permission_tool` is asked before each shell command; none when it is empty."""

    def __init__(self, client: McpClient, speech: Speech, *, permission_tool: str = "") -> None:
        self._client = client
        self._speech = speech
        self._permission_tool = permission_tool

    def perform(self, wake: Wake) -> int:
        """Act on one message; the number of steps taken. Raises `Failed`."""
        todo = directives(wake.body)
        for directive in todo:
            self._do(directive, wake)
        if todo:
            return len(todo)
        if wake.sender == OPERATOR:
            self._tool("send", {"to": OPERATOR, "body": _echo(wake.body), "in_reply_to": wake.message_id})
        else:
            self._speech.say(f"{wake.sender} wrote; nothing to do.")
        return 1

    def _do(self, directive: Directive, wake: Wake) -> None:  # noqa: C901, PLR0912 - one case for each directive
        match directive:
            case Send(to, text):
                self._tool("send", {"to": to, "body": text, "in_reply_to": wake.message_id})
            case Call(tool, arguments):
                self._tool(tool, arguments)
            case Bash(command):
                self._local("Bash", {"command": command}, lambda: self._refusal(command) or _bash(command))
            case Write(path, text):
                self._local("Write", {"file_path": path, "content": text}, lambda: _write(path, text))
            case Edit(path, old, new):
                arguments = {"file_path": path, "old_string": old, "new_string": new}
                self._local("Edit", arguments, lambda: _edit(path, old, new))
            case Say(text):
                self._speech.say(text)
            case Sleep(seconds):
                time.sleep(seconds)
            case UseTokens(input_tokens, output_tokens):
                self._speech.input_tokens, self._speech.output_tokens = input_tokens, output_tokens
            case Fail(kind):
                raise Failed(kind)
            case Crash():
                os._exit(1)
            case Hang():
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it hears nothing, as what hangs
                while True:
                    time.sleep(3600)
            case Broken(line, reason):
                self._speech.say(f"Cannot do {line!r}: {reason}.")

    def _tool(self, name: str, arguments: dict[str, object]) -> None:
        call_id = self._speech.call(f"mcp__{SERVER}__{name}", arguments)
        try:
            answer = self._client.call(name, arguments)
        except OSError as error:
            answer = Answer(f"the hive does not answer: {error}", is_error=True)
        self._speech.result_of(call_id, answer.text, is_error=answer.is_error)

    def _refusal(self, command: str) -> Answer | None:
        """None when the command may run."""
        if not self._permission_tool:
            return None
        arguments: dict[str, object] = {"tool_name": "Bash", "input": {"command": command}}
        try:
            decided = json.loads(self._client.call(self._permission_tool, arguments).text)
        except (OSError, ValueError) as error:
            return Answer(f"nobody could be asked: {error}", is_error=True)
        return None if decided["behavior"] == "allow" else Answer(decided["message"], is_error=True)

    def _local(self, name: str, arguments: dict[str, object], perform: Callable[[], Answer]) -> None:
        call_id = self._speech.call(name, arguments)
        answer = perform()
        self._speech.result_of(call_id, answer.text, is_error=answer.is_error)


def _echo(body: str) -> str:
    """Cut so that it is no longer than a message may be."""
    return ECHO + body.encode()[: MAX_BODY_BYTES - len(ECHO)].decode("utf-8", "ignore")


def _bash(command: str) -> Answer:
    """In a group of its own, as Claude Code starts one; all of it ends when the turn is interrupted."""
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    ) as process:
        try:
            output, _ = process.communicate(timeout=BASH_TIMEOUT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return Answer(f"no end within {BASH_TIMEOUT_S} s", is_error=True)
            raise
    text = output.decode("utf-8", "replace").strip()
    return Answer(text or f"exit status {process.returncode}", is_error=process.returncode != 0)


def _write(path: str, text: str) -> Answer:
    try:
        Path(path).write_text(text + "\n")
    except OSError as error:
        return Answer(str(error), is_error=True)
    return Answer(f"wrote {path}", is_error=False)


def _edit(path: str, old: str, new: str) -> Answer:
    try:
        text = Path(path).read_text()
        if text.count(old) != 1:
            return Answer(f"{path} holds the old text {text.count(old)} times, not once", is_error=True)
        Path(path).write_text(text.replace(old, new))
    except (OSError, UnicodeDecodeError) as error:
        return Answer(str(error), is_error=True)
    return Answer(f"edited {path}", is_error=False)
