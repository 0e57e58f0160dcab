"""Configs as git: bare repositories on the host, and what may come into them."""
