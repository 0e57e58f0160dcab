"""The stores that one service writes and another reads: schema, writer and read-only reader side by side.

They stand here and not in the broker so that no service has to know another's tables.
"""
