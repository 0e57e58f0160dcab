"""What a chaos run found, for people and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hive_cli.chaos.driver import Ledger
from hive_cli.chaos.killer import WEIGHTS, Kill
from hive_cli.chaos.oracle import DEAD, Evidence, Verdict
from hive_cli.chaos.plan import Plan
from hive_cli.output import duration, print_table, say

SHOWN: Final = 10
"""So many sentences of one kind are printed; all are in the JSON."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from a kill until its component works again, over `measured` kills."""

    kills: int
    measured: int
    never: int
    p50_s: float | None
    p99_s: float | None


@dataclass(slots=True)
class Report:
    """`problems`: heading → sentences; empty when everything held."""

    seed: int
    agents: int
    seconds: float
    planned: int
    attempts: int
    acknowledged: int
    recorded: int
    handled: int
    dead: int
    recovery: dict[str, Recovery]
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        counts = {heading: len(sentences) for heading, sentences in self.problems.items()}
        return {"passed": self.passed, **asdict(self), "counts": counts}

    def show(self) -> None:
        kills = sum(one.kills for one in self.recovery.values())
        say(f"seed {self.seed}: {self.planned} messages among {self.agents} agents, {kills} kills")
        say(f"took {duration(self.seconds)} ({self.seconds:.0f} s), {self.planned / self.seconds:.1f} messages/s\n")
        for label, value in self._figures():
            say(f"  {label:<34} {value:>7}")
        say()
        rows = [_row(kind, one) for kind, one in self.recovery.items()]
        print_table(("KILLED", "KILLS", "WORKS AGAIN p50", "p99"), rows)
        for heading, sentences in self.problems.items():
            say(f"\n{heading}: {len(sentences)}")
            for sentence in sentences[:SHOWN]:
                say(f"  {sentence}")
        say(f"\n{'passed' if self.passed else 'FAILED'}")

    def _figures(self) -> list[tuple[str, int]]:
        return [
            ("tries of the operator to send", self.attempts),
            ("acknowledged to the operator", self.acknowledged),
            ("recorded, agents' own sends included", self.recorded),
            ("handled exactly once", self.handled),
            ("dead letters", self.dead),
            *((heading, len(self.problems.get(heading, ()))) for heading in ("lost", "duplicated", "reordered")),
        ]


def make(  # noqa: PLR0913 - all that is known of a run
    *,
    seed: int,
    agents: int,
    seconds: float,
    plan: Plan,
    ledger: Ledger,
    kills: Sequence[Kill],
    evidence: Evidence,
    verdict: Verdict,
    also: dict[str, list[str]],
) -> Report:
    """`also`: further headings with what was found under them; empty ones are left out."""
    found = {**asdict(verdict), "refused": list(ledger.refused.values()), **also}
    states = Counter(str(message.state) for message in evidence.messages)
    return Report(
        seed=seed,
        agents=agents,
        seconds=seconds,
        planned=len(plan.messages),
        attempts=ledger.attempts.total(),
        acknowledged=len(ledger.accepted),
        recorded=len(evidence.messages),
        handled=states["acked"],
        dead=states[DEAD],
        recovery={kind: _recovery([kill for kill in kills if kill.kind == kind]) for kind in WEIGHTS},
        problems={heading: list(sentences) for heading, sentences in found.items() if sentences},
    )


def _recovery(kills: Sequence[Kill]) -> Recovery:
    times = sorted(kill.back_s for kill in kills if kill.back_s is not None)
    never = sum(kill.asked and kill.back_s is None for kill in kills)
    return Recovery(len(kills), len(times), never, _quantile(times, 0.5), _quantile(times, 0.99))


def _quantile(times: Sequence[float], share: float) -> float | None:
    return round(times[min(len(times) - 1, int(share * len(times)))], 3) if times else None


def _row(kind: str, one: Recovery) -> tuple[str, ...]:
    return (kind, str(one.kills), *("–" if value is None else f"{value:.2f} s" for value in (one.p50_s, one.p99_s)))
