"""The supervisor's part of `hive doctor`: `python -m hive_supervisor.doctor`."""
