"""Book, tags, `main`, drafts and agents: what disagrees is found, and what can be mended is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.supervisor.test_approvals import Desk, asked, at_a_desk
from tests.support.redis_server import RedisServer

from hive_contracts.approvals import ApprovalState, Decision
from hive_contracts.models import AgentConfig
from hive_runtime.records.approvals import ApprovalWriter
from hive_supervisor.config import SupervisorSettings
from hive_supervisor.doctor import configurations
from hive_supervisor.doctor.site import Site
from hive_supervisor.images.config import ImageSettings
from hive_supervisor.store import SupervisorStore

pytestmark = pytest.mark.system


def looked(data_dir: Path) -> list[str]:
    """What is wrong."""
    return [one.text for one in configurations.look(site(data_dir)) if one.is_fatal]


def site(data_dir: Path) -> Site:
    return Site(data_dir, SupervisorSettings(), ImageSettings(), os.environ)


@pytest.fixture
def history(redis: RedisServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hive's data after one deployment, one denial and one request that waits: made once, then copied."""
    left = tmp_path_factory.getbasetemp() / "history"
    if not left.exists():
        _live(redis, tmp_path_factory.mktemp("lived"), left)
    shutil.copytree(left, tmp_path / "data")
    return tmp_path / "data"


def _live(redis: RedisServer, data_dir: Path, left: Path) -> None:

    async def story(desk: Desk) -> None:
        for model, decision in (("opus", Decision.APPROVE), ("haiku", Decision.DENY), ("fable", None)):
            clone = await desk.fetch()
            sha = clone.write(agent_toml=f'model = "{model}"\n')
            found = asked(await desk.ask(clone, sha))
            if decision:
                asked(await desk.decide(found["approval"], sha, decision))
            if decision is Decision.APPROVE:
                await desk.until(found["approval"], ApprovalState.DEPLOYED)

    at_a_desk(redis, data_dir, story)
    shutil.copytree(data_dir, left)


def test_what_a_hive_left_agrees(history: Path) -> None:
    assert looked(history) == []
    assert list(configurations.mend(site(history))) == []


def drop_denied(data_dir: Path, desk: Desk) -> None:
    (denied,) = [one for one in desk.reader.everything() if one.state is ApprovalState.DENIED]
    (desk.repository.path / "refs" / "tags" / "denied" / denied.id).unlink()


def pin_unknown(data_dir: Path, desk: Desk) -> None:
    desk.repository.pin("a-unknown", str(desk.repository.main()))
    os.utime(desk.repository.path / "refs" / "tags" / "proposal" / "a-unknown", (0, 0))


def configure_otherwise(data_dir: Path, _: Desk) -> None:
    store = SupervisorStore(data_dir / "supervisor.sqlite")
    with store.unit() as unit:
        unit.configure("ada", AgentConfig(model="elsewhere"))
    store.close()


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (drop_denied, "without its tag denied"),
        (pin_unknown, "is in no book"),
        (configure_otherwise, "runs with another configuration than main has"),
    ],
)
def test_what_can_be_mended_is(history: Path, harm: Callable[[Path, Desk], None], text: str) -> None:
    harm(history, _desk(history))
    (found,) = looked(history)
    assert text in found
    (mended,) = configurations.mend(site(history))
    assert text in mended
    assert looked(history) == []


def test_a_tag_that_says_otherwise_is_left_to_a_person(history: Path) -> None:
    desk = _desk(history)
    writer = ApprovalWriter(history / "approvals.sqlite")
    (waiting,) = writer.in_state(ApprovalState.PENDING)
    (history / "configs" / "ada.git" / "refs" / "tags" / "deployed" / waiting.id).write_text(f"{waiting.commit}\n")
    writer.close()
    assert looked(history) == [f"{waiting.id} is pending, and tagged deployed"]
    assert list(configurations.mend(site(history))) == []
    assert desk.repository.main() != waiting.commit


def _desk(data_dir: Path) -> Desk:
    """Of a hive that does not run any more."""
    return Desk(_Left(data_dir), data_dir)  # type: ignore[arg-type]


class _Left:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
