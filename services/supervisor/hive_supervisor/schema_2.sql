-- supervisor.sqlite, from version 1 to 2: what an agent's engine is given, and the operator's override of its model.
ALTER TABLE agents ADD COLUMN config TEXT NOT NULL DEFAULT '{}';  -- AgentConfig as JSON
ALTER TABLE agents ADD COLUMN model_override TEXT;                -- NULL: none
ALTER TABLE agents ADD COLUMN model_set_at INTEGER;
