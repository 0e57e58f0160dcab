"""The HTTP API under /api/v1, for the command line and other programs; one module a noun."""
