-- What happened that the operator is to see, until it is dismissed, and how far `hive:events` was read for it. Times are
-- milliseconds since 1970; `over` is 1 once it has ended.
CREATE TABLE alerts (
  key TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  agent TEXT NOT NULL,
  peer TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  count INTEGER NOT NULL,
  since INTEGER NOT NULL,
  last INTEGER NOT NULL,
  over INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE read_up_to (
  stream TEXT PRIMARY KEY,
  entry TEXT NOT NULL
) STRICT, WITHOUT ROWID;
