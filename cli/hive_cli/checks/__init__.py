"""`hive test`: system packages, then the checks one after the other."""
