"""New passwords for everyone while agents talk: real processes, and a supervisor killed in the middle."""

import itertools
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry
from tests.support.away import answers
from tests.support.hive import Hive, hive
from tests.support.redis_server import redis_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

SERVICES = ("hive-broker", "hive-dashboard", "hive-supervisor")


def passwords(running: Hive) -> dict[str, str]:
    files = (running.data_dir / "secrets").glob("redis-*")
    return {path.name.removeprefix("redis-"): path.read_text().strip() for path in files}


def let_in(running: Hive, user: str, password: str, path: Path | None = None) -> bool:
    address = str(path or running.data_dir / "run" / "redis" / "redis.sock")
    with suppress(AuthenticationError):
        Redis(unix_socket_path=address, username=user, password=password, retry=Retry(NoBackoff(), 0)).ping()
        return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


@contextmanager
def traffic(running: Hive) -> Iterator[list[str]]:
    """The operator writes to two agents in turn, who each tell the other and answer; yields what was sent."""
    sent: list[str] = []
    over = threading.Event()

    def talk() -> None:
        for number in itertools.count():
            mark = f"m{number}."
            to, other = ("ada", "lin") if number % 2 else ("lin", "ada")
            with suppress(
                httpx.HTTPError
            ):  # the dashboard may be between two connections; what it did not confirm is not counted
                running.send(to, f"!send {other} word of {mark}\n!send operator {mark}")
                sent.append(mark)
            if over.wait(0.3):
                return

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join(60)


def all_answered_once(running: Hive, sent: list[str]) -> None:
    wait_until(lambda: set(sent) <= set(running.answers()), within_s=90)
    answers = [body for body in running.answers() if body in set(sent)]
    assert sorted(answers) == sorted(sent)
    for name in ("ada", "lin"):
        told = running.api("GET", f"/agents/{name}/inbox", params={"limit": 200})["messages"]
        bodies = [message["body"] for message in told]
        assert len(bodies) == len(set(bodies))
        assert {message["state"] for message in told} == {"acked"}


def has_everything_of(running: Hive) -> str:
    """Every log, every stream and hash, and every event store's bytes."""
    text = "".join(path.read_text(errors="replace") for path in (running.data_dir / "logs").rglob("*.log"))
    text += running.output + command_lines()
    found = passwords(running)
    address = str(running.data_dir / "run" / "redis" / "redis.sock")
    server = Redis(unix_socket_path=address, username=SERVICES[2], password=found[SERVICES[2]], decode_responses=True)
    for key in server.keys("hive:*"):
        if (kind := server.type(key)) == "stream":
            text += repr(server.xrange(key))
        elif kind == "hash":
            text += repr(server.hgetall(key))
    return text + "".join(path.read_bytes().decode(errors="replace") for path in running.data_dir.rglob("*.sqlite*"))


def is_over(running: Hive) -> bool:
    with suppress(httpx.HTTPError):
        rotation = running.api("GET", "/credentials")["rotation"]
        return bool(rotation and rotation["ended_at"])
    return False


def check_all_replaced(running: Hive, before: dict[str, str]) -> None:
    after = passwords(running)
    assert after.keys() == before.keys()
    for user, old in before.items():
        assert after[user] != old
        assert let_in(running, user, after[user])
        assert not let_in(running, user, old), user
    shown = has_everything_of(running)
    for password in {*before.values(), *after.values()}:
        assert password not in shown
    saved = (running.data_dir / "redis" / "users.acl").read_text()
    assert all(line.count("#") == 1 for line in saved.splitlines() if line.startswith("user agent-"))


def test_everyone_gets_a_new_password_while_agents_talk_and_nothing_is_lost_or_repeated() -> None:
    with hive() as running:
        for name in ("ada", "lin"):
            running.cli("spawn", name)
        running.cli("spawn", "kim")
        running.cli("stop", "kim")
        before = passwords(running)
        with traffic(running) as sent:
            wait_until(lambda: len(sent) > 2, within_s=30)
            report = json.loads(running.cli("debug", "rotate-credentials", "--json"))
            so_far = len(sent)
            wait_until(lambda: len(sent) > so_far + 2, within_s=30)
        assert (
            set(report["done"]) == set(before) == {*SERVICES, *(f"agent-{n}" for n in ("hm1nd", "ada", "lin", "kim"))}
        )
        all_answered_once(running, sent)
        check_all_replaced(running, before)
        running.cli("debug", "rotate-credentials", "nobody", status=3)
        assert "agent-ada has a new password" in running.cli("debug", "rotate-credentials", "ada")


def test_a_turn_is_waited_for_and_a_killed_supervisor_goes_on_with_the_rotation() -> None:
    with hive() as running:
        for name in ("ada", "lin"):
            running.cli("spawn", name)
        before = passwords(running)
        running.send("ada", "!sleep 6\n!send operator slept")
        wait_until(lambda: running.api("GET", "/agents/ada/state").get("state") == "thinking", within_s=30)
        supervisor = running.pid("supervisor")
        running.api("POST", "/credentials", json={})
        wait_until((running.data_dir / "secrets" / "redis-agent-ada.old").exists, within_s=30)
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: is_over(running), within_s=90)
        wait_until(lambda: running.answers().count("slept") == 1, within_s=60)
        assert running.api("GET", "/credentials")["rotation"]["cut_short"] == []
        check_all_replaced(running, before)
        assert running.answers().count("slept") == 1


def test_on_a_redis_of_your_own_the_users_get_new_passwords_and_a_restarted_server_keeps_them() -> None:
    port = free_port()
    with redis_server("--port", str(port), "--bind", "127.0.0.1") as server:
        address = server.address
        url = f"redis://{address.username}:{address.password}@127.0.0.1:{port}/0"
        with hive("--engine", "scripted", "--redis", url) as running:
            running.cli("spawn", "ada")
            before = passwords(running)
            report = json.loads(running.cli("debug", "rotate-credentials", "--json"))
            assert set(report["done"]) == set(before)
            after = passwords(running)
            for user, old in before.items():
                assert after[user] != old
                assert let_in(running, user, after[user], server.directory / "redis.sock")
                assert not let_in(running, user, old, server.directory / "redis.sock")
            assert address.password
            assert address.password not in (running.data_dir / "rotation.json").read_text()
            assert let_in(running, "admin", address.password, server.directory / "redis.sock")

            server.kill()
            server.start()
            for user in after:
                wait_until(partial(let_in, running, user, after[user], server.directory / "redis.sock"), within_s=30)
                assert not let_in(running, user, before[user], server.directory / "redis.sock")
            running.send("ada", "!send operator with the new one")
            wait_until(lambda: "with the new one" in answers(running), within_s=60)
