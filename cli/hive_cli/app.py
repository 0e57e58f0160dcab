"""The group of all commands. Each is imported only when it is called, so that `hive --help` is quick."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

from hive_cli.command import HiveGroup, data_dir_option
from hive_runtime import VERSION

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("up", "Start the hive in the foreground."),
    "down": ("up", "Stop the running hive."),
    "status": ("status", "Show how the hive is."),
    "watch": ("watch", "Watch the hive live in the terminal."),
    "agents": ("agents", "List the agents."),
    "spawn": ("agents", "Make an agent and start it."),
    "stats": ("stats", "Show the figures of an agent's turns."),
    "start": ("agents", "Start an agent."),
    "stop": ("agents", "Stop an agent; its state is kept."),
    "restart": ("agents", "Stop an agent and start it again."),
    "rebuild": ("rebuild", "Bring an agent's container up to date."),
    "cancel": ("control", "Cancel the turn that an agent is in."),
    "model": ("agents", "Show or override the model of an agent."),
    "destroy": ("endings", "Stop an agent for good; with --purge wipe all that it has."),
    "kept": ("endings", "List what is kept of destroyed agents."),
    "revive": ("endings", "Bring a destroyed agent back."),
    "pause": ("control", "Pause an agent: its turn ends, then it takes up nothing further."),
    "resume": ("control", "Resume an agent: it takes up messages again."),
    "nap": ("control", "Let an agent sleep for a while."),
    "wake": ("control", "Wake an agent from its nap, or from its wait for another try."),
    "login": ("control", "Sign an agent's engine in."),
    "compact": ("control", "Shorten an agent's conversation, or its notes."),
    "new-session": ("control", "Begin an agent's next turn with an empty conversation."),
    "send": ("messages", "Send a message to an agent."),
    "inbox": ("messages", "Show an inbox, newest first."),
    "trace": ("messages", "Show a message's life and its conversation."),
    "dead-letters": ("dead_letters", "List the messages that were given up."),
    "redrive": ("dead_letters", "Put a dead letter back into its recipient's inbox."),
    "alerts": ("alerts", "List floods, stopped conversations and refused sends, or dismiss one."),
    "approvals": ("approvals", "Show the requests that wait for your decision."),
    "approval": ("approvals", "Show what an approval would change."),
    "approve": ("approvals", "Approve a commit."),
    "deny": ("approvals", "Deny a commit, or ask for changes."),
    "drafts": ("configs", "List the agents that are being drafted, discard one or take it over."),
    "config": ("configs", "Show or change what an agent is given."),
    "secret": ("secret", "Set, remove or list the secrets that agents may have."),
    "rollback": ("configs", "Deploy an earlier configuration of an agent again."),
    "questions": ("questions", "Show the questions that wait for your answer."),
    "answer": ("questions", "Answer a question."),
    "cancel-question": ("questions", "Take a question back."),
    "logs": ("logs", "Show the log of a service or an agent."),
    "retention": ("retention", "Remove what is old and done, or show what would go."),
    "backup": ("backup", "Write one consistent archive of the hive, running or not."),
    "restore": ("backup", "Make the hive of a backup again, in an empty data directory."),
    "image": ("image", "Make, list and remove the images that agents' containers are made of."),
    "install": ("install", "Install the hive as services of this machine, kept in /var/lib/hyperhive, and start it."),
    "uninstall": ("install", "Stop the installed hive and remove what `hive install` made; the data directory stays."),
    "setup": ("setup", "Install what hyperhive can use but does not bring."),
    "sign-in": ("sign_in", "Print a new one-time sign-in link."),
    "token": ("access", "Make, list and revoke tokens for the HTTP API and for browsers."),
    "audit": ("access", "Show what was done, by whom, and what came of it."),
    "doctor": ("doctor", "Check what this machine has and lacks for running a hive."),
    "completion": ("completion", "Print what makes a shell complete the verbs."),
    "test": ("test", "Check formatting, types and imports, and run the tests."),
}
"""Verb → module in `hive_cli.commands`, which has an attribute of the verb's name, and its line in `hive --help`."""

HIDDEN: Final[Mapping[str, tuple[str, str]]] = {
    "debug": ("debug", "For those who work on hyperhive."),
    "prepare": ("prepare", "Make the data directory ready for services that something else starts."),
    "demo": ("demo", "Add two scripted agents and their story to the running hive."),
}
"""As `COMMANDS`, but not in `hive --help`."""


class LazyGroup(HiveGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name) or HIDDEN.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"hive_cli.commands.{entry[0]}")
        found = getattr(module, cmd_name.replace("-", "_"))
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    name="hive",
    params=[data_dir_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  $ hive up\n  $ hive send hm1nd 'Say hello to the others'\n\n"
    "\b\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 timed out, 6 no hive running.",
)
@click.version_option(VERSION, prog_name="hyperhive")
@click.pass_context
def app(context: click.Context) -> None:
    """A hive of coding agents on a machine you own."""
    if os.environ.get("NO_COLOR"):
        context.color = False
