-- supervisor.sqlite as hyperhive 0.1.0 of November 2026 made it: its schema, word for word, and some rows.
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

-- supervisor.sqlite, from version 1 to 2: what an agent's engine is given, and the operator's override of its model.
ALTER TABLE agents ADD COLUMN config TEXT NOT NULL DEFAULT '{}';  -- AgentConfig as JSON
ALTER TABLE agents ADD COLUMN model_override TEXT;                -- NULL: none
ALTER TABLE agents ADD COLUMN model_set_at INTEGER;

-- supervisor.sqlite, from version 2 to 3: the ids that an agent has on the machine.
ALTER TABLE agents ADD COLUMN id_base INTEGER;  -- the first of 65,536; never another agent's, for number never is
UPDATE agents SET id_base = 0x40000000 + number * 65536;

-- supervisor.sqlite, from version 3 to 4: what the next supervisor must know of each container.
ALTER TABLE agents ADD COLUMN life TEXT NOT NULL DEFAULT '{}';  -- Life as JSON

INSERT INTO agents (name, role, engine, description, desired, created_at, config, id_base) VALUES
  ('hm1nd', 'manager', NULL, '', 'running', 1764400000000, '{}', 1073807360),
  ('ada', 'agent', 'scripted', 'from before', 'running', 1764400000000, '{}', 1073872896);
PRAGMA user_version = 4;
