"""The dashboard: the operator's pages and HTTP API. Reads streams and stores, writes commands."""
