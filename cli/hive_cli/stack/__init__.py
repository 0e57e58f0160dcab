"""`hive up`: checks, Redis, the services as child processes, and an orderly end."""
