"""Images: the read-only roots that agents' containers are made of."""
