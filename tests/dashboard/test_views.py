"""Templates and the dataclasses that they are given."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from jinja2 import meta, nodes

from hive_contracts.agents import AgentRecord, AgentState, ContainerStatus, Desired, Engine, TurnState
from hive_dashboard import views
from hive_dashboard.registry import AgentView
from hive_dashboard.render import Renderer
from hive_dashboard.views.badge import badge_of
from hive_dashboard.words import count, duration, money

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODULES = [import_module(f"{views.__name__}.{module.name}") for module in iter_modules(views.__path__)]
VIEWS = [
    value
    for module in MODULES
    for value in vars(module).values()
    if hasattr(value, "TEMPLATE") and value.__module__ == module.__name__
]
RENDERER = Renderer(clock=lambda: NOW)


def names_used(template: str) -> set[str]:
    """What a template and those it extends take from their context."""
    environment = RENDERER.environment
    assert environment.loader is not None
    tree = environment.parse(environment.loader.get_source(environment, template)[0])
    imported = {
        names[1] for node in tree.find_all(nodes.FromImport) for names in node.names if isinstance(names, tuple)
    }
    imported |= {name for node in tree.find_all(nodes.FromImport) for name in node.names if isinstance(name, str)}
    used = meta.find_undeclared_variables(tree) - imported
    for other in meta.find_referenced_templates(tree):
        if other and not other.startswith("parts/"):
            used |= names_used(other)
    return used - set(environment.globals)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS, ids=[view.__name__ for view in VIEWS])
def test_a_template_uses_exactly_the_fields_of_its_dataclass(view: Any) -> None:
    assert names_used(view.TEMPLATE) == {item.name for item in fields(view)}


def test_every_template_has_its_dataclass_or_is_a_part() -> None:
    found = {name for name in RENDERER.environment.list_templates() if not name.startswith("parts/")}
    assert found - {"base.html"} == {view.TEMPLATE for view in VIEWS}


@pytest.mark.parametrize("part", [n for n in RENDERER.environment.list_templates() if n.startswith("parts/")])
def test_a_part_takes_everything_as_arguments(part: str) -> None:
    assert names_used(part) == set()


def agent(**facts: Any) -> AgentView:
    base = {"name": "a", "engine": Engine.SCRIPTED, "container_since": NOW, "created_at": NOW}
    state = facts.pop("state", None)
    return AgentView(**AgentRecord(**(base | facts)).model_dump(), state=state)


@pytest.mark.parametrize(
    ("facts", "label", "tone"),
    [
        ({"container": ContainerStatus.STOPPED}, "stopped", "off"),
        ({"container": ContainerStatus.CRASHED}, "crashed", "bad"),
        ({"container": ContainerStatus.STARTING}, "starting", "wait"),
        ({"container": ContainerStatus.RUNNING}, "starting", "wait"),
        ({"container": ContainerStatus.RUNNING, "desired": Desired.STOPPED}, "stopping", "wait"),
    ],
)
def test_a_badge_says_what_the_container_does_where_the_harness_cannot(
    facts: dict[str, Any], label: str, tone: str
) -> None:
    badge = badge_of(agent(**facts))
    assert (badge.label, badge.tone) == (label, tone)


@pytest.mark.parametrize("state", TurnState)
def test_every_state_of_a_harness_has_a_badge(state: TurnState) -> None:
    account = AgentState(agent="a", state=state, since=NOW)
    badge = badge_of(agent(container=ContainerStatus.RUNNING, state=account))
    assert badge.label == state.value.replace("_", " ")


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=5, seconds=30), "5 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=3), "3 d"),
    ],
)
def test_an_age_is_relative_with_the_exact_time_on_hover(ago: timedelta, words: str) -> None:
    html = RENDERER.environment.from_string("{{ time | age }}").render(time=NOW - ago)
    assert f">{words}</time>" in html
    assert f'title="{NOW - ago:%Y-%m-%d %H:%M:%S} UTC"' in html


def test_figures_are_short() -> None:
    assert [duration(ms) for ms in (80, 12_300, 75_000, 7_500_000)] == ["0.1 s", "12 s", "1 min 15 s", "2 h 5 min"]
    assert [count(n) for n in (999, 1500, 2_300_000)] == ["999", "1.5k", "2.3M"]


def test_money_is_never_said_to_be_nothing_when_it_is_little() -> None:
    assert [money(usd) for usd in (0, 0.00002, 0.0421, 2.5)] == ["$0.00", "<$0.0001", "$0.0421", "$2.50"]
