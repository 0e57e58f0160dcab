"""The hourly sweep over stores and streams: what is old and done goes; what is not done never does."""
