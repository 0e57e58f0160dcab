"""`hive debug soak`: short, and its judgement of what grew."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from hive_cli.soak.sample import Sample, Use, growth

BEFORE = Sample(
    {"broker": Use(60, 30), "harness": Use(50, 15)},
    processes=20,
    entries=1000,
    stores=5,
    longest_log=4,
    agents=4,
    sent=100,
)


@pytest.mark.system
@pytest.mark.timeout(240)
def test_nothing_of_a_busy_hive_grows() -> None:
    command = [sys.executable, "-m", "hive_cli", "debug", "soak", "--agents", "3", "--minutes", "0.35", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=220)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    assert done.returncode == 0
    assert report["sent"] > 0
    assert report["engines_ended"] > 0
    assert {"broker", "dashboard", "supervisor", "redis", "harness", "engine"} == set(report["end"]["uses"])


def test_what_stays_within_its_limits_is_no_growth() -> None:
    assert growth(BEFORE, BEFORE) == []
    uses = {"broker": Use(70, 40), "harness": Use(60, 23), "engine": Use(900, 900)}
    after = replace(BEFORE, uses=uses, processes=22, entries=1200, stores=6.3, longest_log=8)
    assert growth(BEFORE, after) == []


def test_connections_may_follow_the_agents_and_stores_the_agents_and_messages() -> None:
    before = replace(BEFORE, agents=20)
    after = replace(before, uses={"broker": Use(60, 48)}, stores=5 + 1 + 2 + 2, sent=1100)
    assert growth(before, after) == []
    assert growth(replace(before, agents=4), replace(after, agents=4, sent=100)) == [
        "file handles of broker grew from 30.0 to 48.0",
        "stores, MB grew from 5.0 to 10.0",
    ]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (replace(BEFORE, uses={"broker": Use(99, 30)}), "memory of broker, MB grew from 60.0 to 99.0"),
        (replace(BEFORE, uses={"harness": Use(50, 40)}), "file handles of harness grew from 15.0 to 40.0"),
        (replace(BEFORE, processes=30), "processes grew from 20.0 to 30.0"),
        (replace(BEFORE, entries=2000), "stream entries grew from 1000.0 to 2000.0"),
        (replace(BEFORE, stores=50), "stores, MB grew from 5.0 to 50.0"),
        (replace(BEFORE, longest_log=64), "longest log of a store, MB grew from 4.0 to 64.0"),
    ],
)
def test_each_kind_of_growth_is_told(after: Sample, said: str) -> None:
    assert growth(BEFORE, after) == [said]
