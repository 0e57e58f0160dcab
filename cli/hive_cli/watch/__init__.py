"""`hive watch`: what is, drawn again and again on a terminal; what changes, a line each, in a pipe."""
