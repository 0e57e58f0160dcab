"""`hive questions`, `answer`, `cancel-question`."""

from typing import Any
from urllib.parse import quote

import click

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import coloured, dim, print_json, print_more, print_table, printable, say, when
from hive_contracts.questions import check_answer


@command("questions", example="hive questions\nhive questions --all --json")
@click.option("--all", "everything", is_flag=True, help="Those of everybody, closed ones too, newest first.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@json_option
def questions(*, everything: bool, limit: int, as_json: bool) -> None:
    """Show the questions that wait for your answer."""
    found = hive_client().get("/api/v1/questions", waiting=None if everything else "true", limit=limit)
    if as_json:
        print_json(found)
    elif everything and found["questions"]:
        headers = ("TIME", "FROM", "TO", "STATE", "ID", "QUESTION")
        print_table(headers, [_row(question) for question in found["questions"]])
        print_more(found)
    elif found["questions"]:
        for question in found["questions"]:
            _print_question(question)
        say(f"Answer one: hive answer {found['questions'][0]['id']} 'your answer'")
    else:
        say(
            "Nobody has asked anything."
            if everything
            else "No question waits for you. See older ones: hive questions --all"
        )


def _row(question: dict[str, Any]) -> tuple[str, ...]:
    answer = f" → {question['answer']}" if question["answer"] else ""
    wanted = question.get("permission")
    asked = f"{wanted['tool']}: {wanted['command']}" if wanted else question["question"]
    sides = question["asker"], question["to"], question["state"], question["id"]
    return when(question["asked_at"]), *sides, f"{asked}{answer}"


def _print_question(question: dict[str, Any]) -> None:
    until = f", until {when(question['expires_at'])}" if question["expires_at"] else ""
    say(f"{coloured(question['id'])}  {dim(when(question['asked_at']))}  {printable(question['asker'])} asks{until}")
    say("\n".join(f"  {line}" for line in printable(question["question"]).splitlines()))
    if wanted := question.get("permission"):
        say("\n".join(f"    {line}" for line in printable(wanted["command"]).splitlines()))
        if wanted["pattern"]:
            say(f"  always proposes the pattern {printable(wanted['pattern'])} for its configuration")
    for option in question["options"]:
        say(f"  - {printable(option)}")


@command("answer", example="hive answer q-0123456789abcdef 'Clementine'")
@click.argument("question_id", metavar="ID")
@click.argument("text")
@json_option
def answer(question_id: str, text: str, *, as_json: bool) -> None:
    """Answer the question ID with TEXT: one of its options, or your own words.

    Where an agent asks for permission, exactly 'once' or 'always' permits; anything else means no and is told to it.
    """
    found = hive_client().post(_path(question_id, "answer"), {"answer": check_answer(text)})
    _print_done(f"{question_id} answered", found, as_json=as_json)


@command("cancel-question", example="hive cancel-question q-0123456789abcdef")
@click.argument("question_id", metavar="ID")
@json_option
def cancel_question(question_id: str, *, as_json: bool) -> None:
    """Take the question ID back; its asker is told '[cancelled]'."""
    found = hive_client().post(_path(question_id, "cancel"))
    _print_done(f"{question_id} cancelled", found, as_json=as_json)


def _path(question_id: str, verb: str) -> str:
    return f"/api/v1/questions/{quote(question_id, safe='')}/{verb}"


def _print_done(sentence: str, found: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        say(sentence)
