"""From view dataclasses to HTML. Every expression of every template is cleaned and escaped; only what `markdown` made,
by rules of its own, is not escaped again."""

import hashlib
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from types import CodeType
from typing import Any, Final, cast

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from hive_contracts.agents import TurnOutcome
from hive_contracts.approvals import ApprovalView
from hive_contracts.drafts import DraftView
from hive_contracts.messages import MessageView, kinds_of
from hive_contracts.outcomes import CONSEQUENCES
from hive_dashboard.charts import Chart
from hive_dashboard.control import sign_in_host, steering_of
from hive_dashboard.look import LEET, Look, Theme
from hive_dashboard.needs import Need
from hive_dashboard.registry import AgentView
from hive_dashboard.text import clean, one_line
from hive_dashboard.threads import Thread
from hive_dashboard.turns import Ending, Row, Turn
from hive_dashboard.views.badge import badge_of
from hive_dashboard.views.compose import ComposeForm, reply_form
from hive_dashboard.views.home import Totals, is_busy
from hive_dashboard.words import count, dollars, duration, money, relative

STATIC: Final = Path(str(files("hive_dashboard"))) / "static"
HUES: Final = 8
SPARK_HEIGHT: Final = 16


class _Compiled(BytecodeCache):
    """Each template is compiled once a process, however many renderers it makes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        checksum, code = self._known.get(bucket.key, ("", None))
        bucket.code = code if checksum == bucket.checksum else None

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code:
            self._known[bucket.key] = (bucket.checksum, bucket.code)


_COMPILED: Final = _Compiled()


class Renderer:
    """`clock` gives the time that ages are measured against. Safe for one thread."""

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._static: dict[str, str] = {}
        self.environment = Environment(
            loader=PackageLoader("hive_dashboard"),
            bytecode_cache=_COMPILED,
            auto_reload=False,
            autoescape=True,
            finalize=_finalize,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals["static"] = self._static_address
        self.environment.filters |= {
            "age": self._age,
            "left": self._left,
            "exactly": exactly,
            "badge": badge_of,
            "sign_in_host": sign_in_host,
            "steering": steering_of,
            "tone": tone,
            "duration": duration,
            "hue": hue,
            "money": money,
            "dollars": dollars,
            "count": count,
            "one_line": one_line,
            "between": between,
            "spark": spark,
            "kinds": kinds_of,
            "busy": is_busy,
            "heading": heading,
        }

    def page(self, view: Any) -> str:
        context = {item.name: getattr(view, item.name) for item in fields(view)}
        return self.environment.get_template(view.TEMPLATE).render(context)

    def card(self, agent: AgentView) -> str:
        return self._macro("agents", "card", agent)

    def cards(self, agents: tuple[AgentView, ...]) -> str:
        return self._macro("agents", "cards", agents)

    def totals(self, totals: Totals) -> str:
        return self._macro("agents", "totals", totals)

    def need(self, need: Need) -> str:
        """An item of the queue, with its form."""
        return self._macro("needs", "need", need)

    def need_face(self, need: Need) -> str:
        """What is in it, anew."""
        return self._macro("needs", "face", need, "", "/")

    def settled(self, need: Need) -> str:
        """What became of it, for its place in the queue."""
        return self._macro("needs", "settled", need)

    def queue(self, chart: Chart | None) -> str:
        return self._macro("charts", "queue", chart)

    def outcome(self, approval: ApprovalView) -> str:
        """What became of it, or the form that decides."""
        return self._macro("approval", "outcome", approval)

    def drafts(self, drafts: tuple[DraftView, ...]) -> str:
        return self._macro("drafts", "draft_list", drafts)

    def head(self, agent: AgentView) -> str:
        return self._macro("agents", "head", agent)

    def controls(self, agent: AgentView) -> str:
        return self._macro("agents", "controls", agent, "")

    def steering(self, agent: AgentView) -> str:
        return self._macro("agents", "steering", agent, "")

    def last_turn(self, agent: AgentView) -> str:
        return self._macro("agents", "last_turn", agent)

    def options(self, names: tuple[str, ...]) -> str:
        return self._macro("compose", "options", names, "")

    def compose(self, form: ComposeForm, csrf: str) -> str:
        return self._macro("compose", "compose", form, csrf)

    def flow(self, messages: list[MessageView]) -> str:
        return "".join(self._macro("messages", "row", message) for message in messages)

    def state(self, message: MessageView) -> str:
        return self._macro("messages", "state", message)

    def thread(self, thread: Thread) -> str:
        """A conversation of the operator's inbox, with its actions."""
        return self._macro("messages", "thread", thread, reply_form(thread.received))

    def letter(self, message: MessageView) -> str:
        """A message in its conversation."""
        return self._macro("messages", "said", message)

    def letter_status(self, message: MessageView) -> str:
        return self._macro("messages", "letter_status", message, "")

    def mail(self, messages: tuple[MessageView, ...]) -> str:
        """An agent's inbox."""
        return self._macro("messages", "mail", messages)

    def banners(self, warnings: tuple[str, ...]) -> str:
        return self._macro("shell", "banners", warnings)

    def turn(self, turn: Turn, agent: str) -> str:
        return self._macro("turns", "turn", turn, agent)

    def row(self, row: Row, agent: str) -> str:
        return self._macro("turns", "row", row, agent)

    def partial(self, row: Row) -> str:
        return self._macro("turns", "partial", row)

    def ending(self, ending: Ending) -> str:
        return self._macro("turns", "ended", ending)

    def _macro(self, part: str, name: str, *values: object) -> str:
        macro = getattr(self.environment.get_template(f"parts/{part}.html").module, name)
        return str(cast(Callable[..., str], macro)(*values)).strip()

    def _static_address(self, name: str) -> str:
        """With a version in it, so that browsers may keep the file for ever."""
        if name not in self._static:
            path = STATIC / name
            version = hashlib.sha256(path.read_bytes()).hexdigest()[:10] if path.exists() else "missing"
            self._static[name] = f"/static/{name}?v={version}"
        return self._static[name]

    def _age(self, time: datetime | None) -> Markup | str:
        """A `<time>` that says how long ago, with the exact time on hover."""
        if time is None:
            return ""
        time = _aware(time)
        exact = f"{time:%Y-%m-%d %H:%M:%S} UTC"
        words = relative((self._clock() - time).total_seconds())
        return Markup('<time datetime="{}" title="{}" data-age>{}</time>').format(
            time.isoformat(timespec="milliseconds"), exact, words
        )

    def _left(self, time: datetime | None) -> Markup | str:
        """A `<time>` that says how long until then."""
        if time is None:
            return ""
        time = _aware(time)
        words = relative((time - self._clock()).total_seconds())
        return Markup('<time datetime="{}" title="{}" data-left>{}</time>').format(
            time.isoformat(timespec="milliseconds"), f"{time:%Y-%m-%d %H:%M:%S} UTC", words
        )


def tone(outcome: TurnOutcome) -> str:
    """How a turn's end is coloured: ok, note or bad."""
    return CONSEQUENCES[outcome].tone


def _finalize(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return clean(value) if isinstance(value, str) else clean(str(value))


def _aware(time: datetime) -> datetime:
    """A container may leave the zone out, or name one in which the year runs over."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (OverflowError, ValueError):
        return time.replace(tzinfo=UTC)


def exactly(time: datetime) -> str:
    return f"{_aware(time):%d %b %H:%M} UTC"


def between(start: datetime, end: datetime) -> str:
    return duration(int((_aware(end) - _aware(start)).total_seconds() * 1000))


def spark(turns: tuple[int, ...]) -> str:
    """The bars of a small chart, as the path of an SVG that is `SPARK_HEIGHT` high and 3 wide a bar."""
    most = max((*turns, 1))
    bars = ((place * 3, max(2, round(SPARK_HEIGHT * turns / most))) for place, turns in enumerate(turns) if turns)
    return "".join(f"M{x} {SPARK_HEIGHT}v-{height}h2v{height}z" for x, height in bars)


def heading(words: str, look: Look) -> Markup | str:
    """A heading as the chosen theme has it; what screen readers say stays plain."""
    leet = LEET.get(words) if look.theme is Theme.VIBEC0RE else None
    return Markup('<span aria-hidden="true">{}</span><span class="sr">{}</span>').format(leet, words) if leet else words


def hue(name: str) -> str:
    """A class that gives everyone a colour of their own."""
    if name in {"operator", "system"}:
        return f"hue-{name}"
    return f"hue-{int.from_bytes(hashlib.blake2b(name.encode(), digest_size=2).digest()) % HUES}"
