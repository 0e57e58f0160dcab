-- agents/<name>/events.sqlite, from version 1 to 2: how far hive:{<name>}:live is recorded.
CREATE TABLE position (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  entry_id TEXT NOT NULL
) STRICT;
