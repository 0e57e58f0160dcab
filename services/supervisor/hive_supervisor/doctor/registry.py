"""The supervisor's checks, in the order in which one would mend what they find."""

from typing import Final

from hive_runtime.checkup import Check
from hive_supervisor.doctor import configurations, containers, ids, machine
from hive_supervisor.doctor.site import Site

CHECKS: Final[tuple[Check[Site], ...]] = (
    Check("user", "who the hive runs as", machine.user),
    Check("systemd", "systemd, D-Bus, systemd-nspawn and user namespaces", machine.nspawn),
    Check("limits", "whether limits on containers hold", machine.limits),
    Check("image", "the image that containers are made of", machine.image),
    Check("bubblewrap", "the sandbox of the process runtime", machine.sandbox),
    Check("runtimes", "which back-ends can run here", machine.back_ends),
    Check("ids", "the user ids of agents, apart from everybody else's", ids.look, ids.mend),
    Check("containers", "that each container is of an agent that there is", containers.look, containers.mend),
    Check(
        "configurations",
        "whether approvals, tags, drafts and what agents run with agree",
        configurations.look,
        configurations.mend,
    ),
)
