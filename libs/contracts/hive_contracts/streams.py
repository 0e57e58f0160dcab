"""Every Redis key that hyperhive uses: its name, who writes it, who reads it.

hive:{<a>}:outbox        stream  harness of <a>, or dashboard → broker (`broker`), which deletes what it acked
hive:{<a>}:inbox         stream  broker → harness of <a> (`harness`); deleted with its ack
hive:{<a>}:control       stream  dashboard, broker, supervisor → harness of <a> (`harness`), or dashboard
hive:{<a>}:live          stream  harness of <a> → broker (`recorder`), dashboard
hive:{<a>}:keys          stream  dashboard → harness of <a>: what is typed into its terminal, while one is open
hive:{<a>}:screen        stream  harness of <a> → dashboard: what its terminal shows, while one is open
hive:{<a>}:state         hash    `state`, `lease`: harness of <a>; `container`: supervisor → host side
hive:{<a>}:dedup:<key>   string  broker: the inbox entry that this send already made, its trace and hop
hive:commands:<service>  stream  dashboard, broker → that service (group of its name)
hive:events              stream  broker, supervisor, dashboard → dashboard; broker (`record`, `notify`)
hive:dead                stream  broker → dashboard
hive:agents              hash    supervisor: name → AgentRecord → broker, dashboard
hive:brokers             hash    each broker: its place, which runs out → the other brokers
hive:crashes             hash    broker: name → CrashSeries, while crashes of that agent are counted → broker
hive:services            hash    each service: name → ServiceBeat → dashboard
hive:info                hash    supervisor: `info` → HiveInfo → dashboard
hive:retention           hash    supervisor: `report` → RetentionSwept of the last sweep → dashboard
hive:owner               string  `hive up`: the id of the hive that this server carries

`<a>` is an agent's name or `operator`; the braces are literal and keep one principal's keys in one hash slot.
"""

from typing import Final

EVENTS: Final = "hive:events"
DEAD: Final = "hive:dead"
COMMANDS_BROKER: Final = "hive:commands:broker"
COMMANDS_SUPERVISOR: Final = "hive:commands:supervisor"
AGENTS: Final = "hive:agents"
SERVICES: Final = "hive:services"
BROKERS: Final = "hive:brokers"
CRASHES: Final = "hive:crashes"
INFO: Final = "hive:info"
RETENTION: Final = "hive:retention"
CREDENTIALS: Final = "hive:credentials"
OWNER: Final = "hive:owner"

GROUP_BROKER: Final = "broker"
GROUP_HARNESS: Final = "harness"
GROUP_RECORDER: Final = "recorder"
GROUP_RECORD: Final = "record"
GROUP_NOTIFY: Final = "notify"
GROUP_SUPERVISOR: Final = "supervisor"

STATE_FIELD: Final = "state"
LEASE_FIELD: Final = "lease"
CONTAINER_FIELD: Final = "container"
INFO_FIELD: Final = "info"
REPORT_FIELD: Final = "report"


def outbox(name: str) -> str:
    return f"hive:{{{name}}}:outbox"


def inbox(name: str) -> str:
    return f"hive:{{{name}}}:inbox"


def control(name: str) -> str:
    return f"hive:{{{name}}}:control"


def live(name: str) -> str:
    return f"hive:{{{name}}}:live"


def keys(name: str) -> str:
    return f"hive:{{{name}}}:keys"


def screen(name: str) -> str:
    return f"hive:{{{name}}}:screen"


def state(name: str) -> str:
    return f"hive:{{{name}}}:state"


def dedup(name: str, key: str) -> str:
    return f"hive:{{{name}}}:dedup:{key}"
