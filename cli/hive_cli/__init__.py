"""The `hive` command: starts the stack (`hive up`), and is otherwise a client of the dashboard's HTTP API."""
