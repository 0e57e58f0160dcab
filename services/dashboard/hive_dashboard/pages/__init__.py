"""The operator's pages: whole HTML at real addresses, and the forms on them."""
