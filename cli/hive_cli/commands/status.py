"""`hive status`."""

from typing import Any

from hive_cli.command import command, hive_client, json_option
from hive_cli.output import bold, coloured, dim, duration, print_json, say, say_under


@command("status", example="hive status\nhive status --json")
@json_option
def status(*, as_json: bool) -> None:
    """Show how the hive is: its services, Redis, agents, and what needs attention."""
    client = hive_client()
    found = client.get("/api/v1/status")
    if as_json:
        print_json(found | {"address": client.address})
        return
    say(f"{bold('hyperhive')} {found['version']} at {client.address}, up {duration(found['uptime_seconds'])}")
    for label, text in (*_services(found), *_facts(found)):
        say_under(f"  {label:<11}", text)
    for warning in found.get("warnings", []):
        say_under(f"  {coloured('warning')}    ", warning)


def _services(found: dict[str, Any]) -> list[tuple[str, str]]:
    redis = found["redis"]
    rows = [("redis", f"{coloured(redis['status'])} {dim(redis['detail']) if redis.get('detail') else ''}".rstrip())]
    if found.get("drain", {}).get("active"):
        rows.append(("drain mode", f"{coloured('on')} {dim(found['drain']['reason'])}"))
    for service in found["services"]:
        word = coloured("ok") if service["alive"] else coloured("away")
        rows.append((service["service"], f"{word} {dim('pid ' + str(service['pid']))}"))
    return rows


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    agents = found["agents"]
    rows = [("agents", f"{agents['total']}, {agents['running']} running, {agents['thinking']} thinking")]
    for label, count, then in (
        ("quarantined", agents.get("quarantined", 0), "see `hive agents`, then `hive start NAME`"),
        ("behind", agents.get("needs_update", 0), "run `hive rebuild --all`"),
    ):
        if count:
            rows.append((label, f"{count} {dim(then)}"))
    info = found.get("info")
    if info:
        rows.append(("engine", f"{info['engine']}: {info['engine_reason']}".rstrip(": ")))
        rows.append(
            ("runtime", f"{info['runtime']}, {info['isolation']}: {info.get('runtime_reason', '')}".rstrip(": "))
        )
    return rows
