"""A hive as systemd's units, on a machine without Nix: what is written, and how it gets there and away again."""
