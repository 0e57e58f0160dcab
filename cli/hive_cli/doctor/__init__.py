"""The command line's part of `hive doctor`; the supervisor's is `hive_supervisor.doctor`."""
