"""One module a noun; `hive_cli.app.COMMANDS` says which verb is where."""
