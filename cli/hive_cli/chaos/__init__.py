"""`hive debug chaos`: a hive of its own, traffic with known contents, processes killed with -9, and an oracle.

The oracle is Jepsen's total-queue: what was attempted, what was acknowledged and what was handled, as multisets, after
a final drain. `docs/reliability.md` says what is promised and what the largest run found.
"""
