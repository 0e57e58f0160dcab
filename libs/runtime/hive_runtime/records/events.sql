-- agents/<name>/events.sqlite. Times are milliseconds since 1970, UTC.
CREATE TABLE events (
  number INTEGER PRIMARY KEY,
  entry_id TEXT NOT NULL UNIQUE,        -- of hive:{<name>}:live
  envelope_id TEXT NOT NULL UNIQUE,     -- a repeated append is recorded once
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  data TEXT NOT NULL                    -- JSON
) STRICT;
CREATE INDEX events_by_time ON events (at);
