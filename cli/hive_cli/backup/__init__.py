"""`hive backup` and `hive restore`. What a backup holds and why it is consistent: docs/backup.md."""
