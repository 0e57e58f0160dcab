"""`hive debug soak`: a hive of its own under steady traffic, and what of it grows that should not."""
