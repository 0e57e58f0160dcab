"""Running a program of the supervisor's package that answers in JSON, a line at a time, and showing how far it is."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from hive_cli.errors import ApiProblem
from hive_cli.output import cut
from hive_cli.paths import DataDir
from hive_runtime.errors import SettingsError
from hive_runtime.process import die_with_parent


class ToolFailed(ApiProblem):
    """The tool said no, in its own words and with its own code and status."""


def run_tool(module: str, data: DataDir, words: Sequence[str] = (), *, quiet: bool) -> Any:
    """What it found. Progress goes to standard error, unless `quiet`. Raises `SettingsError`, `ToolFailed`."""
    command = [sys.executable, "-m", module, "--data-dir", str(data.root), *words]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent(signal.SIGTERM)
    ) as process:
        try:
            last = _follow(process.stdout or (), None if quiet else Steps())
        except BaseException:
            process.terminate()
            raise
    if last.get("code") == SettingsError.code:
        raise SettingsError(last["error"])
    if "error" in last:
        raise ToolFailed(last["error"], http_status=last["status"], problem_code=last["code"])
    if "done" not in last:
        raise ToolFailed(f"python -m {module} ended with status {process.returncode}; try again", http_status=500)
    return last["done"]


def _follow(lines: Iterable[str], steps: "Steps | None") -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in lines:
        last = json.loads(line)
        if steps and "step" in last:
            steps.step(f"[{last['step']}/{last['of']}] {last['text']}")
        elif steps and "detail" in last:
            steps.detail(last["detail"])
    if steps:
        steps.end()
    return last


class Steps:
    """A line for each step; on a terminal its end shows what is being done just now."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._text = ""

    def step(self, text: str) -> None:
        self.end()
        self._text = text
        self._show(text)

    def detail(self, text: str) -> None:
        if self._tty:
            self._show(f"{self._text}: {text}" if self._text else text)

    def end(self) -> None:
        if self._tty and self._text:
            click.echo(f"\r\033[K{self._text}", err=True)
        self._text = ""

    def _show(self, text: str) -> None:
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\033[K{cut(text, width)}", err=True, nl=False)
        else:
            click.echo(text, err=True)
