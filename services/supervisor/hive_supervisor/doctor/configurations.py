"""Whether approvals, tags, drafts and what agents run with agree."""

from collections.abc import Iterator
from dataclasses import dataclass

from hive_contracts.agents import Desired
from hive_contracts.models import AgentConfig
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.records.approvals import ApprovalReader
from hive_runtime.store import read_only
from hive_supervisor.approvals.agreement import Disagreement, Known, disagreements
from hive_supervisor.configs.configs import Configs
from hive_supervisor.doctor.site import Site


def look(site: Site) -> Iterator[Finding]:
    found = list(_disagreements(site))
    for one in found:
        fix = (
            "hive doctor configurations --fix" if one.mend else "see hive approvals --all, hive drafts and hive config"
        )
        yield Finding(EVERYTHING, "configurations", State.WRONG, one.text, fix, mendable=one.mend is not None)
    if not found:
        yield Finding(EVERYTHING, "configurations", State.OK, "approvals, tags, drafts and agents agree")


def mend(site: Site) -> Iterator[str]:
    for one in _disagreements(site):
        if one.mend:
            one.mend()
            yield f"{one.about}: {one.text}"


def _disagreements(site: Site) -> Iterator[Disagreement]:
    book = ApprovalReader(site.data_dir / "approvals.sqlite")
    agents = _agents(site)
    configs = Configs(site.data_dir / "configs", _AsKept(agents), book)
    yield from disagreements(configs, book.everything(), book.drafts(), agents)


@dataclass(frozen=True, slots=True)
class _AsKept:
    """The agents as a store says that they are."""

    agents: dict[str, Known]

    def wanted(self, name: str) -> Desired | None:
        return self.agents[name].desired if name in self.agents else None

    def config(self, name: str) -> AgentConfig | None:
        agent = self.agents.get(name)
        return agent.config if agent and agent.desired.is_there else None

    def kept(self, name: str) -> AgentConfig | None:
        agent = self.agents.get(name)
        return agent.config if agent and agent.desired is Desired.DESTROYED else None


def _agents(site: Site) -> dict[str, Known]:
    with read_only(site.data_dir / "supervisor.sqlite") as db:
        rows = db.execute("SELECT name, desired, config FROM agents").fetchall() if db else []
    return {row["name"]: Known(Desired(row["desired"]), AgentConfig.model_validate_json(row["config"])) for row in rows}
