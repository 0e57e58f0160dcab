"""`hive cancel`, `pause`, `resume`, `nap`, `wake`, `compact`, `new-session`: what a running agent is told."""

import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from hive_cli.command import agent_argument, command, hive_client, json_option
from hive_cli.errors import UsageProblem
from hive_cli.output import print_json, say
from hive_contracts.control import MAX_NAP_S
from hive_contracts.names import check_agent_name

LOGIN_S: Final = 120.0
COMPACT_S: Final = 930.0
"""A model reads a whole conversation and sums it up."""


@command("cancel", example="hive cancel ada")
@agent_argument("name")
@json_option
def cancel(name: str, *, as_json: bool) -> None:
    """Cancel the turn that the agent NAME is in: its messages are done with, and their senders are told."""
    _tell(name, "cancel", f"{name}'s turn is cancelled.", as_json=as_json)


_ALL = click.option("--all", "everyone", is_flag=True, help="Every agent that runs.")


@command("pause", example="hive pause ada\nhive pause --all")
@agent_argument("name", required=False)
@_ALL
@json_option
def pause(name: str | None, *, everyone: bool, as_json: bool) -> None:
    """Pause the agent NAME: its turn ends, then it takes up nothing further."""
    done = "{0} is paused; messages wait in its inbox. Go on: hive resume {0}"
    _tell_each(name, "pause", done, everyone=everyone, as_json=as_json)


@command("resume", example="hive resume ada\nhive resume --all")
@agent_argument("name", required=False)
@_ALL
@json_option
def resume(name: str | None, *, everyone: bool, as_json: bool) -> None:
    """Resume the agent NAME: it takes up messages again."""
    _tell_each(name, "resume", "{0} takes up messages again.", everyone=everyone, as_json=as_json)


def _tell_each(name: str | None, verb: str, done: str, *, everyone: bool, as_json: bool) -> None:
    """NAME, or with --all those that run and that it concerns; the first that refuses ends it."""
    if everyone == bool(name):
        raise UsageProblem("give either NAME or --all")
    if name:
        _tell(name, verb, done.format(name), as_json=as_json)
        return
    client = hive_client()
    concerned = [one["name"] for one in client.get("/api/v1/agents")["agents"] if _concerns(verb, one)]
    views = []
    for one in concerned:
        views.append(client.post(f"/api/v1/agents/{quote(one)}/{verb}").data)
        if not as_json:
            say(done.format(one))
    if as_json:
        print_json({"agents": views})
    elif not concerned:
        say(f"There is nobody to {verb}.")


def _concerns(verb: str, agent: Mapping[str, Any]) -> bool:
    state = (agent.get("state") or {}).get("state") if agent["container"] == "running" else None
    return state is not None and (state == "paused") is (verb == "resume")


@command("nap", example="hive nap ada 3600")
@agent_argument("name")
@click.argument("seconds", type=click.FloatRange(0, MAX_NAP_S, min_open=True), default=3600)
@json_option
def nap(name: str, seconds: float, *, as_json: bool) -> None:
    """Let the agent NAME sleep for SECONDS (else an hour), after its turn; an urgent message wakes it."""
    done = f"{name} naps for {seconds:g} s. Wake it: hive wake {name}"
    _tell(name, "nap", done, as_json=as_json, body={"seconds": seconds})


@command("wake", example="hive wake ada")
@agent_argument("name")
@json_option
def wake(name: str, *, as_json: bool) -> None:
    """Wake the agent NAME from its nap, or from its wait for another try."""
    _tell(name, "wake", f"{name} is awake.", as_json=as_json)


@command("compact", example="hive compact ada --notes")
@agent_argument("name")
@click.option("--notes", is_flag=True, help="Shorten notes.md, its memory, instead of the conversation.")
@json_option
def compact(name: str, *, notes: bool, as_json: bool) -> None:
    """Shorten the conversation of the agent NAME, or its notes; in a turn, when that is over."""
    check_agent_name(name)
    path = f"/api/v1/agents/{quote(name)}/compact"
    data = hive_client().patient(COMPACT_S).post(path, {"notes": notes}).data
    if as_json:
        print_json(data)
    else:
        say(_compacted(name, "notes" if notes else "conversation", data["result"]))


def _compacted(name: str, what: str, result: Mapping[str, Any]) -> str:
    for unit in ("tokens", "bytes"):
        if f"{unit}_after" in result:
            before, after = result[f"{unit}_before"], result[f"{unit}_after"]
            return f"{name}'s {what}: {before:,} → {after:,} {unit}."
    return f"{name} is in a turn; its {what} will be shortened when that is over."


@command("login", example="hive login ada\nhive login ada --code -")
@agent_argument("name")
@click.option("--code", help="What the sign-in page showed; - reads it from standard input.")
@json_option
def login(name: str, *, code: str | None, as_json: bool) -> None:
    """Sign the engine of the agent NAME in: first without --code, for the link, then with it."""
    check_agent_name(name)
    client, path = hive_client().patient(LOGIN_S), f"/api/v1/agents/{quote(name)}"
    if code is None:
        data = client.post(f"{path}/login").data
        words = f"Sign in here: {data['url']}\nThen: hive login {name} --code CODE"
    else:
        text = sys.stdin.readline() if code == "-" else code
        data = client.post(f"{path}/login-code", {"code": text.strip()}).data
        words = f"{name} is signed in and goes on."
    if as_json:
        print_json(data)
    else:
        say(words)


@command("new-session", example="hive new-session ada")
@agent_argument("name")
@json_option
def new_session(name: str, *, as_json: bool) -> None:
    """Begin the next turn of the agent NAME with an empty conversation; it is told to read its notes."""
    _tell(name, "new-session", f"{name} begins its next turn with an empty conversation.", as_json=as_json)


def _tell(name: str, verb: str, done: str, *, as_json: bool, body: Mapping[str, Any] | None = None) -> None:
    check_agent_name(name)
    view = hive_client().post(f"/api/v1/agents/{quote(name)}/{verb}", body).data
    if as_json:
        print_json(view)
    else:
        say(done)
