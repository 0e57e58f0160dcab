-- supervisor.sqlite. Times are milliseconds since 1970, UTC.
CREATE TABLE agents (
  number INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again: the agent's user id is counted from it
  name TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL,
  engine TEXT,                                -- NULL: the hive's own choice
  description TEXT NOT NULL,
  desired TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE commands (                       -- answered commands, so that a repeated one is answered alike
  id TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  code TEXT NOT NULL,                         -- '' for done
  reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
