-- agents/<name>/events.sqlite, from version 2 to 3: figures of the agent's turns. Times are milliseconds since 1970, UTC.
CREATE TABLE stats (
  number INTEGER PRIMARY KEY,
  agent TEXT NOT NULL,
  ts INTEGER NOT NULL,
  key TEXT NOT NULL,
  value REAL NOT NULL,
  turn_id TEXT NOT NULL,
  UNIQUE (turn_id, key)                 -- a turn that is told twice counts once
) STRICT;
CREATE INDEX stats_by_key ON stats (key, ts);
CREATE INDEX stats_by_time ON stats (ts);
