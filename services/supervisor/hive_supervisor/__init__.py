"""The supervisor: makes, watches and restarts agents' containers, and their Redis users. One per host."""
