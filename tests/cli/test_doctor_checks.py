"""The command line's own checks, each against the real thing that it looks at."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.cli.fake_api import fake_api
from tests.support.redis_server import ADMIN_PASSWORD, RedisServer

from hive_cli.doctor.registry import CHECKS
from hive_cli.doctor.site import Site
from hive_cli.paths import DataDir
from hive_cli.stack import lock
from hive_cli.stack.leftovers import ProcessBook
from hive_runtime import acl
from hive_runtime.checkup import Finding, Report, State, examine
from hive_runtime.passwords import PasswordFiles
from hive_runtime.process import die_with_parent
from hive_runtime.records.approvals import ApprovalWriter
from hive_supervisor.doctor.registry import CHECKS as THEIRS
from hive_supervisor.runtimes.base import IDS


def look(data: Path, *names: str, fix: bool = False, **environ: str) -> Report:
    return examine(CHECKS, Site(DataDir(data), {"PATH": os.environ["PATH"], **environ}), only=names, fix=fix)


def one(data: Path, name: str, what: str = "", **environ: str) -> Finding:
    found = look(data, name, fix=False, **environ).findings
    return next(finding for finding in found if finding.what == (what or finding.what))


def url(redis: RedisServer) -> str:
    return f"unix://admin:{ADMIN_PASSWORD}@{redis.door}"


def test_names_are_unique_over_both_registries_and_say_what_they_look_at() -> None:
    about = [(check.name, check.about) for check in CHECKS] + [(check.name, check.about) for check in THEIRS]
    assert len(dict(about)) == len(about)
    assert all(text for _, text in about)


def test_a_good_server_of_ones_own_passes_every_look(redis: RedisServer, tmp_path: Path) -> None:
    found = look(tmp_path, "redis", HIVE_REDIS_URL=url(redis)).findings
    assert {finding.what: finding.state for finding in found} == dict.fromkeys(
        ("Redis", "persistence", "memory policy", "users"), State.OK
    )


@pytest.mark.parametrize(
    ("option", "value", "what"),
    [("appendonly", "no", "persistence"), ("maxmemory-policy", "allkeys-lru", "memory policy")],
)
def test_a_server_that_loses_messages_is_wrong(
    redis: RedisServer, tmp_path: Path, option: str, value: str, what: str
) -> None:
    _configure(redis, "CONFIG", "SET", option, value)
    found = one(tmp_path, "redis", what, HIVE_REDIS_URL=url(redis))
    assert found.state is State.WRONG
    assert option in found.fix or value in found.fix


def test_a_server_that_lets_anybody_in_is_wrong(redis: RedisServer, tmp_path: Path) -> None:
    _configure(redis, "ACL", "SETUSER", "default", "on", "nopass")
    assert one(tmp_path, "redis", "users", HIVE_REDIS_URL=url(redis)).state is State.WRONG


def test_a_server_that_does_not_answer_is_wrong(tmp_path: Path) -> None:
    found = one(tmp_path, "redis", HIVE_REDIS_URL=f"unix://{tmp_path}/none.sock")
    assert found.state is State.WRONG
    assert found.fix


@pytest.fixture
def peopled(redis: RedisServer, tmp_path: Path) -> Path:
    """The data directory of a hive with ada, whose users are as its supervisor makes them."""
    (tmp_path / "secrets").mkdir(mode=0o700)
    _agent(tmp_path, "ada", "scripted")
    files = PasswordFiles(tmp_path / "secrets")
    for user in (*acl.SERVICE_RULES, "agent-ada"):
        _set_user(redis, user, *acl.rules_of(user, *files.valid(user)))
    return tmp_path


def test_users_as_they_should_be_pass(redis: RedisServer, peopled: Path) -> None:
    found = look(peopled, "users", HIVE_REDIS_URL=url(redis)).findings
    assert [(one.state, one.text.split(",")[0]) for one in found] == [(State.OK, "4 as they should be")]
    assert not [user for user in _run(redis, "ACL", "USERS") if user.startswith("hive-probe")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("DELUSER", "agent-ada"), "agent-ada is not there"),
        (("SETUSER", "agent-ada", "nopass"), "agent-ada needs no password"),
        (("SETUSER", "agent-ada", "~*", "+@all"), "agent-ada has other rights"),
        (("SETUSER", "hive-broker", "-xadd"), "hive-broker has other rights"),
        (("SETUSER", "agent-ada", ">another"), "agent-ada accepts other passwords"),
        (("SETUSER", "agent-ada", "resetpass"), "agent-ada accepts other passwords"),
        (("SETUSER", "hive-dashboard", "off"), "hive-dashboard is switched off"),
        (("SETUSER", "hive-probe-0", "reset"), "hive-probe-0 was left by a doctor"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[1:]),
)
def test_a_user_that_is_not_as_it_should_be_is_named_and_made_anew(
    redis: RedisServer, peopled: Path, words: tuple[str, ...], says: str
) -> None:
    _run(redis, "ACL", *words)
    found = look(peopled, "users", HIVE_REDIS_URL=url(redis)).findings
    assert [(one.text.startswith(says), one.mendable) for one in found] == [(True, True)]
    report = look(peopled, "users", fix=True, HIVE_REDIS_URL=url(redis))
    assert [finding.state for finding in report.findings] == [State.OK]
    assert len(report.mended) == 1


def test_the_user_of_an_agent_that_is_not_there_is_deleted_and_one_of_the_operators_is_not(
    redis: RedisServer, peopled: Path
) -> None:
    _set_user(redis, "agent-gone", *acl.agent_rules("gone", "known"))
    _set_user(redis, "agent-smith", "reset", "on", ">mine", "~own:*", "+@all")
    assert one(peopled, "users", HIVE_REDIS_URL=url(redis)).text.startswith("agent-gone is of an agent")
    assert look(peopled, "users", fix=True, HIVE_REDIS_URL=url(redis)).mended == ["users: agent-gone is deleted"]
    assert {"agent-smith", "admin"} <= set(_run(redis, "ACL", "USERS"))


def test_anybody_elses_user_without_a_password_is_wrong_and_left_alone(redis: RedisServer, peopled: Path) -> None:
    _set_user(redis, "metrics", "reset", "on", "nopass", "+info")
    report = look(peopled, "users", fix=True, HIVE_REDIS_URL=url(redis))
    assert [(one.state, one.mendable, one.text) for one in report.findings] == [
        (State.WRONG, False, "metrics needs no password")
    ]
    assert "metrics" in _run(redis, "ACL", "USERS")


def test_an_agent_that_is_cut_off_is_not_let_in_by_the_doctor(redis: RedisServer, peopled: Path) -> None:
    _run(redis, "ACL", "SETUSER", "agent-ada", "off")
    report = look(peopled, "users", fix=True, HIVE_REDIS_URL=url(redis))
    assert [(one.state, one.mendable) for one in report.findings] == [(State.NOTE, False)]
    assert "off" in _run(redis, "ACL", "GETUSER", "agent-ada")["flags"]


def _set_user(redis: RedisServer, name: str, *rules: str) -> None:
    words = [word for rule in rules for word in ([rule] if rule.startswith("(") else rule.split())]
    _run(redis, "ACL", "SETUSER", name, *words)


def _configure(redis: RedisServer, *words: str) -> None:
    _run(redis, *words)


def _run(redis: RedisServer, *words: str) -> Any:
    admin: Any = Redis.from_url(redis.address.url, username="admin", password=ADMIN_PASSWORD, decode_responses=True)
    command, rest = (" ".join(words[:2]), words[2:]) if words[0] == "ACL" else (words[0], words[1:])
    with closing(admin):
        return admin.execute_command(command, *rest)


def test_stores_are_whole_damaged_or_newer(tmp_path: Path) -> None:
    ApprovalWriter(tmp_path / "approvals.sqlite").close()
    assert one(tmp_path, "stores").text == "1 stores are whole"
    with closing(sqlite3.connect(tmp_path / "approvals.sqlite")) as db:
        db.execute("PRAGMA user_version=99")
    assert "newer hyperhive" in one(tmp_path, "stores").text
    (tmp_path / "broker.sqlite").write_bytes(b"this is no database, and never was one" * 100)
    found = look(tmp_path, "stores").findings
    assert [finding.state for finding in found] == [State.WRONG, State.WRONG]
    assert found[0].text.startswith("broker.sqlite")


def test_a_store_that_was_set_aside_is_named(tmp_path: Path) -> None:
    (tmp_path / "broker.sqlite.broken-20260101T000000.000000Z").touch()
    found = one(tmp_path, "stores")
    assert (found.state, found.text.split()[0]) == (State.NOTE, "broker.sqlite.broken-20260101T000000.000000Z")


def test_secrets_that_the_services_of_another_user_read_by_their_group_are_left_so(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    for folder in (data.run, data.secrets):
        folder.mkdir(mode=0o750)
    data.secrets.chmod(0o750)
    data.api_token.touch()
    data.api_token.chmod(0o640)
    assert one(tmp_path, "secrets").state is State.WRONG
    data.hive_json.write_text('{"address": "http://127.0.0.1:7000", "manager": "systemd"}')
    assert one(tmp_path, "secrets").state is State.OK
    data.api_token.chmod(0o644)
    look(tmp_path, "secrets", fix=True)
    assert data.api_token.stat().st_mode & 0o777 == 0o640


def test_secrets_that_others_may_read_are_wrong_and_mended(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "api-token").touch(mode=0o600)
    assert one(tmp_path, "secrets").state is State.OK
    (secrets / "api-token").chmod(0o644)
    (secrets / "elsewhere").symlink_to("/etc/hostname")
    os.mkfifo(secrets / "no-file")
    (secrets / "no-file").chmod(0o666)
    assert one(tmp_path, "secrets").mendable
    report = look(tmp_path, "secrets", fix=True)
    assert [finding.state for finding in report.findings] == [State.OK]
    assert (secrets / "api-token").stat().st_mode & 0o777 == 0o600
    assert len(report.mended) == 1


def test_what_a_killed_hive_left_is_removed_and_that_of_a_running_one_is_not(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.run.mkdir()
    data.hive_json.write_text("{}")
    (tmp_path / "x.partial").touch()
    with lock.held(data):
        assert look(tmp_path, "leftovers", fix=True).mended == []
    assert len(look(tmp_path, "leftovers", fix=True).mended) == 2
    assert one(tmp_path, "leftovers").state is State.OK
    assert not data.hive_json.exists()


def test_a_clock_behind_what_was_written_is_wrong(tmp_path: Path) -> None:
    assert one(tmp_path, "clock").state is State.OK
    (tmp_path / "broker.sqlite").touch()
    os.utime(tmp_path / "broker.sqlite", (time.time() + 3600,) * 2)
    assert one(tmp_path, "clock").state is State.WRONG


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk; run it as root")
@pytest.mark.parametrize(("size_mb", "state"), [(32, "wrong"), (500, "note")])
def test_a_disk_that_is_nearly_full_is_told_before_and_after_it_is_too_late(
    tmp_path: Path, size_mb: int, state: str
) -> None:
    hive = f"{shlex.quote(sys.executable)} -m hive_cli --data-dir {tmp_path} doctor disk --json"
    script = f"mount -t tmpfs -o size={size_mb}m none {tmp_path} && {hive}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["state"], done.returncode) == (state, int(state == "wrong"))
    assert found["fix"].startswith("free some")


def test_a_server_whose_memory_is_full_is_wrong(redis: RedisServer, tmp_path: Path) -> None:
    _configure(redis, "CONFIG", "SET", "maxmemory", "1mb")
    found = one(tmp_path, "redis", "memory policy", HIVE_REDIS_URL=url(redis))
    assert (found.state, found.fix.split(",")[0]) == (State.WRONG, "raise maxmemory")


def test_a_claude_that_is_too_old_or_fails_is_told_with_what_to_do(tmp_path: Path) -> None:
    claude = tmp_path / "claude"
    for line, words in (("echo 1.0.88", "is too old"), ("exit 3", "failed with exit status 3")):
        claude.write_text(f"#!/bin/sh\n{line}\n")
        claude.chmod(0o755)
        found = one(tmp_path / "data", "engine", HIVE_CLAUDE=str(claude))
        assert found.state is State.NOTE
        assert words in found.text
        assert "hive setup claude" in found.fix


def test_a_process_of_a_hive_that_was_killed_is_named_and_ended(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.run.mkdir()
    left = subprocess.Popen(["sleep", "600"], preexec_fn=die_with_parent(signal.SIGKILL))
    try:
        ProcessBook(data.processes).started("broker", left.pid)
        text = f"process {left.pid} is the broker of a hive that was killed"
        assert [finding.text for finding in look(tmp_path, "leftovers").findings] == [text]
        with lock.held(data):
            assert look(tmp_path, "leftovers", fix=True).mended == []
        assert len(look(tmp_path, "leftovers", fix=True).mended) == 1
        assert left.wait(timeout=20) == -signal.SIGKILL
    finally:
        left.kill()
        left.wait()
    assert one(tmp_path, "leftovers").state is State.OK


def test_agents_without_a_sign_in_are_named_with_the_command(tmp_path: Path) -> None:
    _agent(tmp_path, "ada", "claude")
    found = one(tmp_path, "sign-in")
    assert (found.state, found.fix) == (State.NOTE, "hive login ada")
    assert one(tmp_path, "sign-in", ANTHROPIC_API_KEY="k").state is State.OK


def _agent(data: Path, name: str, engine: str, *, base: int = 0x4001_0000) -> None:
    from hive_supervisor.store import MIGRATIONS  # noqa: PLC0415

    with closing(sqlite3.connect(data / "supervisor.sqlite")) as db:
        for script in MIGRATIONS:
            db.executescript(script)
        query = (
            "INSERT INTO agents (name, role, engine, description, desired, created_at, id_base) VALUES (?,?,?,?,?,?,?)"
        )
        db.execute(query, (name, "agent", engine, "", "running", 0, base))
        db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        db.commit()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives agents ids of their own; run it as root")
def test_ids_that_are_somebody_elses_are_wrong(tmp_path: Path) -> None:
    from hive_supervisor.config import SupervisorSettings  # noqa: PLC0415
    from hive_supervisor.doctor.site import Site as Theirs  # noqa: PLC0415
    from hive_supervisor.images.config import ImageSettings  # noqa: PLC0415

    def ids() -> list[Finding]:
        site = Theirs(tmp_path, SupervisorSettings(), ImageSettings(), {})
        return examine(THEIRS, site, only=("ids",)).findings

    assert [finding.state for finding in ids()] == [State.OK]
    _agent(tmp_path, "ada", "claude", base=60_000)
    assert any("the user nobody" in finding.text for finding in ids())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives agents ids of their own; run it as root")
def test_ids_that_were_not_claimed_for_the_hive_are_claimed(tmp_path: Path) -> None:
    _agent(tmp_path, "ada", "claude", base=0x5000_0000)
    (tmp_path / "hive.id").write_text("this-hive")
    claimed = json.dumps({"data_dir": str(tmp_path), "first": 0x4000_0000})
    doctor = f"{shlex.quote(sys.executable)} -m hive_cli --data-dir {tmp_path} doctor ids --json"
    ids = "/var/lib/hyperhive/ids"
    script = f"mount -t tmpfs none /var/lib; mkdir -p {ids}; echo '{claimed}' > {ids}/this-hive; "
    script += f"{doctor}; {doctor} --fix; cat {ids}/this-hive"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True)
    before, after, record = _documents(done.stdout)
    assert [(one["state"], one["mendable"]) for one in before["findings"]] == [("wrong", True)]
    assert "those of ada, from 1342177280 on, are not claimed" in before["findings"][0]["text"]
    assert after["mended"] == ["ids: the user ids of ada are claimed for this hive"]
    assert [one["state"] for one in after["findings"]] == ["ok"]
    assert record == {"data_dir": str(tmp_path), "first": 0x4000_0000, "also": [0x5000_0000 - IDS]}


def _documents(text: str) -> Iterator[Any]:
    while text := text.strip():
        found, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        yield found


def test_what_a_killed_restore_left_beside_the_data_directory_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".hive.restoring-0"
    left.mkdir()
    assert len(look(tmp_path / "hive", "leftovers", fix=True).mended) == 1
    assert not left.exists()


def test_the_address_of_a_hive_that_something_else_starts_is_no_leftover(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.run.mkdir()
    data.hive_json.write_text('{"address": "http://127.0.0.1:7000", "manager": "systemd"}')
    assert look(tmp_path, "leftovers", fix=True).mended == []
    assert data.hive_json.exists()


def test_who_runs_claude_is_what_the_running_hive_says(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    with fake_api(data.root) as api, lock.held(data):
        agents = [{"name": name, "engine": "claude", "desired": "running"} for name in ("ada", "lin")]
        api.answers["GET", "/api/v1/agents"] = (200, {"agents": agents})
        (data.secrets / "model-key-ada").write_text("k")
        assert [finding.fix for finding in look(data.root, "sign-in").findings] == ["hive login lin"]


def test_a_hive_that_systemd_does_not_start_has_no_units(tmp_path: Path) -> None:
    assert one(tmp_path, "units").state is State.OK


@pytest.mark.parametrize(("answer", "state"), [("active", State.OK), ("failed", State.WRONG), ("inactive", State.NOTE)])
def test_units_that_something_else_than_hive_made_are_asked_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: State
) -> None:
    (programs := tmp_path / "bin").mkdir()
    for name, words in (("systemctl", answer), ("journalctl", '{"reason": "two versions apart"}')):
        (programs / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    data = DataDir(tmp_path)
    data.run.mkdir()
    data.hive_json.write_text('{"manager": "systemd"}')
    found = one(tmp_path, "units")
    assert found.state is state
    assert ("has failed: two versions apart" in found.text) is (answer == "failed")
