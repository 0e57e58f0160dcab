-- agents/ada/events.sqlite as hyperhive 0.1.0 of November 2026 made it: its schema, word for word, and some rows.
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

-- agents/<name>/events.sqlite, from version 1 to 2: how far hive:{<name>}:live is recorded.
CREATE TABLE position (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  entry_id TEXT NOT NULL
) STRICT;

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

INSERT INTO events (entry_id, envelope_id, at, type, turn_id, seq, data) VALUES
  ('1764500000010-0', 'e-1', 1764500000010, 'turn.started', 't-1', 0, '{"turn_id": "t-1", "seq": 0}');
PRAGMA user_version = 3;
